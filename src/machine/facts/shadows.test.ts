// Facts 3.x: the shadows of MOV SS, POP SS and STI.

import { describe, expect, it } from "vitest";
import { Status } from "../../engine/abi.js";
import { IF, type Setup, TF, type World, world } from "./harness.js";

const EXECUTE_0 = 0x401n;
/** breakpoint 0 on reads and writes of two bytes */
const WATCH_0 = 0x7_0401n;
const BS = 0x4000n;

/** `load` loads SS from a word that a test may watch. */
const SLOT = ".data\nss_slot: .word 0x18, 0\n.text\n";
const LOAD = "load: mov ss_slot(%rip), %ss\n";

function watched(code: string, setup: Setup = {}): World {
  const w = world({ program: `${LOAD}${code}`, ...setup, kernel: `${SLOT}${setup.kernel ?? ""}` });
  w.set("dr0", w.symbol("ss_slot"));
  w.set("dr7", WATCH_0);
  return w;
}

describe("3 interrupt shadows", () => {
  const MOV_SS = "mov $0x18, %eax\nload: mov %eax, %ss\nin_shadow: nop\nafter: nop\nlast: nop";

  it.each([
    ["intr", 0x20],
    ["nmi", 2],
  ])("3.1 3.2 MOV SS holds %s back at the boundary right after it, and only there", (event, vector) => {
    const w = world({ program: MOV_SS }).run("in_shadow");
    w.inject(event);
    expect(w.trail(2)).toEqual(["in_shadow", `#${vector}`]);
    expect(w.frame().rip).toBe(w.symbol("after"));
  });

  it("3.1 a pending event before MOV SS is not affected", () => {
    const w = world({ program: MOV_SS }).run("load");
    w.inject("nmi");
    expect(w.trail(1)).toEqual(["#2"]);
  });

  it("3.1 the single-step trap of MOV SS is dropped, not deferred", () => {
    const w = world({ program: MOV_SS }).run("load");
    w.set("rflags", w.flags | TF);
    expect(w.trail(3)).toEqual(["load", "in_shadow", "#1"]);
    expect(w.frame().rip).toBe(w.symbol("after"));
    expect(w.reg("dr6") & 0x400fn).toBe(BS);
  });

  it("3.1 a code breakpoint on the instruction in the shadow is suppressed", () => {
    const w = world({ program: `${MOV_SS}\njmp in_shadow`, registers: { dr0: "in_shadow", dr7: EXECUTE_0 } }).run(
      "load",
    );
    expect(w.trail(5)).toEqual(["load", "in_shadow", "after", "last", "last+1"]);
    expect(w.trail(1)).toEqual(["#1"]); // it is armed all the same
  });

  it("3.1 a data breakpoint hit by the SS load is held until after the next instruction", () => {
    const w = watched("in_shadow: nop\nafter: nop");
    expect(w.trail(3)).toEqual(["load", "in_shadow", "#1"]);
    expect(w.frame().rip).toBe(w.symbol("after"));
    expect(w.reg("dr6") & 0x400fn).toBe(1n);
  });

  it("3.1 faults of the instruction in the shadow are not held back", () => {
    const w = world({ program: "mov $0x18, %eax\nmov %eax, %ss\nin_shadow: ud2" });
    expect(w.untilDelivery()).toBe(6);
    expect(w.frame().rip).toBe(w.symbol("in_shadow"));
  });

  it("3.2 the shadow ends with any delivery", () => {
    const w = world({ program: "mov $0x18, %eax\nmov %eax, %ss\nin_shadow: ud2" }).run("in_shadow");
    w.inject("nmi");
    expect(w.trail(2)).toEqual(["in_shadow", "#6", "#2"]);
    expect(w.frame().rip).toBe(w.symbol("on_ud"));
    const v = world({ program: MOV_SS }).run("in_shadow");
    v.inject("mce"); // #MC is not held back
    expect(v.delivered).toBe(18);
    v.inject("nmi");
    expect(v.trail(1)).toEqual(["#2"]);
  });

  it("3.3 of SS loads in a row only the first opens a shadow", () => {
    const w = world({ program: "mov $0x18, %eax\nload: mov %eax, %ss\nsecond: mov %eax, %ss\nthird: mov %eax, %ss" });
    w.run("second").inject("nmi");
    expect(w.trail(2)).toEqual(["second", "#2"]);
    expect(w.frame().rip).toBe(w.symbol("third"));
  });

  it.each([
    ["LSS", "load: lss pointer(%rip), %eax", 64],
    ["MOV DS", "load: mov %ecx, %ds", 64],
    ["MOV ES", "load: mov %ecx, %es", 64],
  ] as const)("3.4 %s has no shadow", (_name, code, mode) => {
    const w = world({
      mode,
      program: `mov $0x18, %ecx\n${code}\nafter: nop`,
      kernel: ".data\npointer: .long 5\n.word 0x18\n.text\n",
    });
    w.run("after").inject("nmi");
    expect(w.trail(1)).toEqual(["#2"]);
  });

  it("3.4 POP SS is #UD in 64-bit mode", () => {
    const w = world({ program: ".byte 0x17" });
    expect(w.untilDelivery()).toBe(6);
  });

  it("3.4 3.1 in 32-bit mode POP SS opens a shadow and POP DS does not", () => {
    const w = world({ mode: 32, program: "push $0x68\npop %ss\nin_shadow: nop\nafter: nop" }).run("in_shadow");
    w.inject("nmi");
    expect(w.trail(2)).toEqual(["in_shadow", "#2"]);
    const v = world({ mode: 32, program: "push $0x68\npop %ds\nnext: nop" }).run("next");
    v.inject("nmi");
    expect(v.trail(1)).toEqual(["#2"]);
  });

  const STI = "cli\nenable: sti\nin_shadow: nop\nafter: nop";

  it("3.5 STI holds INTR back for one boundary if IF was 0", () => {
    const w = world({ program: STI }).run("enable");
    w.inject("intr");
    expect(w.trail(3)).toEqual(["enable", "in_shadow", "#32"]);
    expect(w.frame().rip).toBe(w.symbol("after"));
  });

  it("3.5 STI with IF already 1 has no shadow", () => {
    const w = world({ program: "enable: sti\nnext: nop" }).run("next");
    w.inject("intr");
    expect(w.trail(1)).toEqual(["#32"]);
  });

  it("3.5 an NMI may be taken between STI and the next instruction, or held: both can be explored", () => {
    const w = world({ program: STI }).run("in_shadow");
    w.inject("nmi");
    expect(w.machine.engine.mayHold()).toBeTruthy();
    w.machine.engine.hold();
    expect(w.trail(2)).toEqual(["in_shadow", "#2"]);
    expect(w.frame().rip).toBe(w.symbol("after"));

    const v = world({ program: STI }).run("in_shadow");
    v.inject("nmi");
    expect(v.trail(1)).toEqual(["#2"]);
    expect(v.frame().rip).toBe(v.symbol("in_shadow"));
  });

  it("3.5 3.1 there is no such choice after MOV SS, nor where nothing is pending, nor once the shadow is over", () => {
    const w = world({ program: MOV_SS }).run("in_shadow");
    w.inject("nmi");
    expect(w.machine.engine.mayHold()).toBeFalsy();
    const v = world({ program: STI }).run("in_shadow");
    expect(v.machine.engine.mayHold()).toBeFalsy();
    v.run("after").inject("nmi");
    expect(v.machine.engine.mayHold()).toBeFalsy();
  });

  it("3.6 between STI and CLI no INTR is recognised", () => {
    const w = world({ program: "cli\nenable: sti\ncli\nafter: nop\nnop" }).run("enable");
    w.inject("intr");
    expect(w.trail(4).some((what) => what.startsWith("#"))).toBe(false);
  });

  it("3.6 STI and HLT lose no wake-up: a pending INTR is taken after HLT", () => {
    const w = world({ program: "cli\nenable: sti\nhlt\nafter: nop" }).run("enable");
    w.inject("intr");
    expect(w.untilDelivery()).toBe(0x20);
    expect(w.frame().rip).toBe(w.symbol("after"));
    expect(w.run("after").step()).toBe(Status.OK);
  });

  it("3.7 STI's shadow does not suppress #DB of TF", () => {
    const w = world({ program: STI }).run("enable");
    w.set("rflags", w.flags | TF);
    expect(w.trail(2)).toEqual(["enable", "#1"]);
    expect(w.frame().rip).toBe(w.symbol("in_shadow"));
  });

  it("3.8 an SS load in STI's shadow opens its own: INTR waits for both in the model", () => {
    const w = world({ program: "mov $0x18, %eax\ncli\nenable: sti\nmov %eax, %ss\nin_shadow: nop\nafter: nop" });
    w.run("enable").inject("intr");
    expect(w.untilDelivery()).toBe(0x20);
    expect(w.frame().rip).toBe(w.symbol("after"));
  });

  it.each([
    ["POPF", "pushq $0x202\npopfq\nnext: nop"],
    ["IRET", "mov %rsp, %rax\npushq $0x18\npush %rax\npushq $0x202\npushq $0x10\npushq $next\niretq\nnext: nop"],
    ["SYSRET", "mov $next, %rcx\nmov $0x202, %r11d\nsysretq\nnext: nop"],
  ])("3.10 7.5 6.16 %s sets IF without a shadow", (_name, code) => {
    const w = world({ program: `cli\n${code}` });
    w.step();
    w.inject("intr");
    expect(w.untilDelivery()).toBe(0x20);
    expect(w.frame().rip).toBe(w.symbol("next"));
  });

  it("3.11 3.12 the model's choice after MOV SS: NMIs are held back, on either vendor", () => {
    const w = world({ program: MOV_SS, cpu: "amd" }).run("in_shadow");
    w.inject("nmi");
    expect(w.trail(2)).toEqual(["in_shadow", "#2"]);
  });
});

describe("3.13 to 3.16 a watched MOV SS", () => {
  it("3.13 a faulting instruction in the shadow drops the pending #DB", () => {
    const w = watched("ud2");
    expect(w.trail(3)).toEqual(["load", "load+6", "#6", "on_ud"]);
  });

  it("3.13 3.2 while an NMI that the shadow held back comes at that fault's handler", () => {
    const w = watched("ud2").run("load+6");
    w.inject("nmi");
    expect(w.trail(2)).toEqual(["load+6", "#6", "#2"]);
    expect(w.frame().rip).toBe(w.symbol("on_ud"));
  });

  it.each([
    ["INT n", "int $0x30", "target", 0x30],
    ["INT3", "int3", "on_bp", 3],
  ])("3.14 3.16 %s enters its handler first, then #DB comes before its first instruction", (_name, code, entry, vector) => {
    const w = watched(code, { kernel: "target: nop\niretq\n", idt: { 48: { entry: "target" } } });
    expect(w.trail(3)).toEqual(["load", "load+6", `#${vector}`, "#1"]);
    expect(w.frame()).toMatchObject({ rip: w.symbol(entry), cs: 0x10n });
    expect(w.reg("dr6") & 0xfn).toBe(1n);
    w.run(entry);
    expect(w.delivered).toBe(-1);
    expect(w.trail(2)).toEqual([entry, `${entry}+1`]); // once, not twice
  });

  it("3.14 #BP and #DB on the same IST stack: the second frame destroys the first", () => {
    const w = watched("int3", { idt: { bp: { ist: 1 }, db: { ist: 1 } } });
    w.run("on_bp");
    const frame = w.rsp;
    expect(w.frame().rip).not.toBe(w.symbol("on_bp"));
    w.step();
    expect(w.delivered).toBe(1);
    expect(w.rsp).toBe(frame);
    expect(w.frame().rip).toBe(w.symbol("on_bp"));
  });

  /** At CPL 3 the slot is a user's. */
  function watchedUser(code: string, setup: Setup = {}): World {
    const w = world({
      cpl: 3,
      program: `load: mov slot, %ss\n${code}`,
      memory: { slot: { user: true, data: ".word 0x2b" } },
      kernel: "entry: nop\nnop",
      idt: { db: { ist: 1 } },
      tables: { syscall: "entry", sysenter: "entry", "sysenter-stack": "kernel" },
      ...setup,
    });
    w.set("dr0", w.symbol("slot"));
    w.set("dr7", WATCH_0);
    return w;
  }

  it("3.14 SYSCALL: #DB at the entry's first instruction, with the user's RSP and GS", () => {
    const w = watchedUser("syscall\nafter: nop");
    const rsp = w.rsp;
    w.set("gs_base", 0x1234n);
    w.run("entry");
    expect(w.delivered).toBe(-1);
    w.step();
    expect(w.delivered).toBe(1);
    expect(w.frame()).toMatchObject({ rip: w.symbol("entry"), cs: 0x10n, rsp });
    expect(w.reg("gs_base")).toBe(0x1234n);
  });

  it("3.14 SYSENTER likewise", () => {
    const w = watchedUser("sysenter\nafter: nop");
    w.run("entry").step();
    expect(w.delivered).toBe(1);
    expect(w.frame()).toMatchObject({ rip: w.symbol("entry"), rsp: w.symbol("kernel_stack_top") });
  });

  it("3.14 INTO likewise, in 32-bit mode", () => {
    const w = world({
      mode: 32,
      program: "load: mov ss_slot, %ss\ninto",
      kernel: ".data\nss_slot: .word 0x68\n.text\n",
    });
    w.set("dr0", w.symbol("ss_slot"));
    w.set("dr7", WATCH_0);
    w.set("eflags", w.flags | 0x800n);
    expect(w.untilDelivery()).toBe(4);
    expect(w.untilDelivery()).toBe(1);
    expect(w.frame().rip).toBe(w.symbol("on_of"));
  });

  it("3.15 INT1 enters #DB once; the watchpoint is not delivered on its own", () => {
    const w = watched(".byte 0xf1\nafter: nop");
    expect(w.trail(4)).toEqual(["load", "load+6", "#1", "on_db", "on_db+1"]);
    expect(w.at).toBe("after");
    expect(w.trail(1)).toEqual(["after"]);
  });

  it("3.15 a code breakpoint on the next instruction adds nothing: one #DB, after it", () => {
    const w = watched("in_shadow: nop\nafter: nop");
    w.set("dr1", w.symbol("in_shadow"));
    w.set("dr7", WATCH_0 | 4n);
    expect(w.trail(3)).toEqual(["load", "in_shadow", "#1"]);
    w.run("after");
    expect(w.trail(1)).toEqual(["after"]);
  });

  it("3.16 with INT 1 the handler runs twice", () => {
    const w = watched("int $1\nafter: nop");
    expect(w.trail(3)).toEqual(["load", "load+6", "#1", "#1"]);
    expect(w.frame().rip).toBe(w.symbol("on_db"));
    w.run("after");
  });

  it("3.16 MOV SS with TF and then INT1: DR6 without BS", () => {
    const w = world({ program: `${LOAD}.byte 0xf1\nafter: nop`, kernel: SLOT });
    w.set("rflags", w.flags | TF);
    expect(w.trail(2)).toEqual(["load", "load+6", "#1"]);
    expect(w.frame()).toMatchObject({ rip: w.symbol("after") });
    expect(w.reg("dr6") & BS).toBe(0n);
    expect(w.frame().flags & (TF | IF)).toBe(TF | IF);
  });

  it("3.16 MOV SS does not suppress a general-detect fault", () => {
    const w = world({ program: `${LOAD}in_shadow: mov %dr7, %rax\nafter: nop`, kernel: SLOT });
    w.set("dr7", 0x2400n);
    expect(w.untilDelivery()).toBe(1);
    expect(w.frame().rip).toBe(w.symbol("in_shadow"));
    expect(w.reg("dr6") & 0x2000n).toBe(0x2000n);
    expect(w.reg("dr7") & 0x2000n).toBe(0n);
  });
});
