// Facts 2.x: NMIs, their blocking and their latch.

import { describe, expect, it } from "vitest";
import { IF, NT, type Setup, type World, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";

/** A machine at the first instruction of its NMI handler. */
function inNmi(setup: Setup = {}): World {
  const w = world({ program: SPIN, ...setup });
  w.inject("nmi");
  w.step();
  expect(w.at).toBe("on_nmi");
  expect(w.nmiBlocked).toBe(true);
  return w;
}

const FAR = ".data\nfar_target: .quad landed\n.word 0x10\n.text\n";

describe("2 NMI", () => {
  it("2.1 vector 2, no error code, whatever IF is, RIP of the next instruction", () => {
    const w = world({ program: "cli\nnext: nop" });
    const rsp = w.rsp;
    w.step();
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(2);
    expect(w.rsp).toBe(rsp - 40n);
    expect(w.frame()).toMatchObject({ rip: w.symbol("next"), rsp });
    expect(w.frame().flags & IF).toBe(0n);
  });

  it("2.2 delivery blocks NMIs; one that is blocked is held, not lost", () => {
    const w = inNmi();
    w.inject("nmi");
    expect(w.trail(3)).toEqual(["on_nmi", "on_nmi+1", "#2"]);
  });

  it("2.3 the latch holds one: two arrivals while blocked give one delivery", () => {
    const w = inNmi();
    w.inject("nmi");
    expect(w.may("nmi")).toBe(false);
    w.inject("nmi");
    expect(w.trail(7)).toEqual(["on_nmi", "on_nmi+1", "#2", "on_nmi", "on_nmi+1", "again", "next"]);
    expect(w.nmiPending).toBe(false);
  });

  it("2.4 the latch is free again once delivery has started", () => {
    const w = inNmi();
    expect(w.nmiPending).toBe(false);
    expect(w.may("nmi")).toBe(true);
  });

  it("2.4 4.24 an NMI whose delivery faults is gone: an ordinary #PF, NMIs blocked until the next IRET", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    w.write("cpu_tss+36", w.symbol("ist1_stack")); // the page below is not mapped
    w.inject("nmi");
    w.step();
    expect(w.delivered).toBe(14);
    expect(w.nmiBlocked).toBe(true);
    expect(w.nmiPending).toBe(false);
    expect(w.reg("cr2")).toBe(w.symbol("ist1_stack") - 8n);
    expect(w.frame({ error: true })).toMatchObject({ error: 2n, rip: w.symbol("again") });
    expect(w.trail(5)).toEqual(["on_pf", "on_pf+1", "on_pf+5", "again", "next"]);
    expect(w.nmiBlocked).toBe(false);
  });

  it.each([
    ["bp", "on_bp"],
    ["pf", "on_pf"],
    ["db", "on_db"],
    ["mce", "on_mc"],
  ])("2.5 any IRET unblocks NMIs, also that of a %s nested in the handler", (event, handler) => {
    const w = inNmi();
    w.inject(event);
    expect(w.at).toBe(handler);
    expect(w.nmiBlocked).toBe(true);
    w.run("on_nmi");
    expect(w.nmiBlocked).toBe(false);
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(2);
    expect(w.frame().rip).toBe(w.symbol("on_nmi"));
  });

  it("2.5 2.10 also an IRET at CPL 3, after SYSRET, which does not", () => {
    const w = inNmi({
      cpl: 3,
      program:
        "again: jmp again\nleft: pushq $0x2b\npush %rsp\npushfq\npushq $0x33\nlea after(%rip), %rax\npush %rax\nback: iretq\nafter: nop",
      kernel:
        "on_nmi: mov $left, %ecx\nmov $0x202, %r11d\nmov user_stack_top_word(%rip), %rsp\nsysretq\n.data\nuser_stack_top_word: .quad user_stack_top - 64\n.text\n",
    });
    w.run("left");
    expect(w.cpl).toBe(3);
    w.run("back");
    expect(w.nmiBlocked).toBe(true);
    w.run("after");
    expect(w.nmiBlocked).toBe(false);
  });

  const FAULTING: Setup = { kernel: "on_nmi: movq $0, 8(%rsp)\nleave_nmi: iretq" };

  it("2.6 IRET unblocks NMIs even if it faults", () => {
    const w = inNmi(FAULTING);
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ error: 0n, rip: w.symbol("leave_nmi") });
    expect(w.nmiBlocked).toBe(false);
  });

  it("2.6 AMD's rule: only on completion", () => {
    const w = inNmi({ ...FAULTING, cpu: "amd" });
    expect(w.untilDelivery()).toBe(13);
    expect(w.nmiBlocked).toBe(true);
    const ok = inNmi({ cpu: "amd" });
    expect(ok.run("again").nmiBlocked).toBe(false);
  });

  it("2.7 a pending NMI is taken after the IRET, with what it loaded", () => {
    const w = inNmi({ kernel: "on_nmi: orl $1, 16(%rsp)\nleave_nmi: iretq" });
    const rsp = w.frame().rsp;
    w.inject("nmi");
    expect(w.trail(3)).toEqual(["on_nmi", "leave_nmi", "#2"]);
    expect(w.frame()).toMatchObject({ rip: w.symbol("again"), rsp, cs: 0x10n, ss: 0x18n });
    expect(w.frame().flags & 1n).toBe(1n);
  });

  it("2.7 2.6 or, when the IRET faults, at the first instruction of the fault's handler", () => {
    const w = inNmi(FAULTING);
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(13);
    expect(w.untilDelivery()).toBe(2);
    expect(w.frame().rip).toBe(w.symbol("on_gp"));
  });

  it.each([
    ["iretl", 32],
    ["iretw", 32],
    ["iretl", 64],
    ["iretw", 64],
    ["iretq", 64],
  ] as const)("2.8 every operand size: %s in %i-bit mode, whatever it leads to", (iret, mode) => {
    const w = inNmi({ mode, kernel: `on_nmi: ${iret}` });
    w.step();
    expect(w.nmiBlocked).toBe(false);
  });

  it("2.8 and compatibility mode", () => {
    const w = inNmi({
      cpl: 3,
      program: SPIN,
      kernel:
        "on_nmi: pushq $0x2b\npushq $0x10000800\npushq $2\npushq $0x23\npushq $compat\njmp *jump(%rip)\n.data\njump: .quad go\n.text\ngo: mov $compat, %ecx\nmov $2, %r11d\nmov $0x10000800, %esp\nsysretl",
      memory: { flat: { size: 4096, address: 0x1000_0000, user: true, executable: true } },
      scenario: { define: { compat: 0x1000_0000 } },
    });
    w.write("flat", 0xcfn, 1);
    for (let n = 0; n < 12 && w.rip !== 0x1000_0000n; n++) w.step();
    expect(w.rip).toBe(0x1000_0000n);
    expect(w.reg("cs")).toBe(0x23n);
    expect(w.nmiBlocked).toBe(true);
    w.step();
    expect(w.nmiBlocked).toBe(false);
  });

  it.each([
    ["RET", "pushq $landed\nret"],
    ["RETF", "pushq $0x10\npushq $landed\nlretq"],
    ["POPF", "pushfq\npopfq\njmp landed"],
    ["far JMP", "mov $far_target, %rax\n.byte 0x48, 0xff, 0x28"],
    ["far CALL", "mov $far_target, %rax\n.byte 0x48, 0xff, 0x18"],
    ["STI", "sti\njmp landed"],
    ["CLI", "cli\njmp landed"],
    ["SYSCALL", "syscall"],
  ])("2.10 %s does not unblock NMIs", (_name, code) => {
    const w = inNmi({ kernel: `${FAR}on_nmi: ${code}\nlanded: nop\n`, tables: { syscall: "landed" } });
    w.run("landed");
    expect(w.nmiBlocked).toBe(true);
  });

  it("2.10 SYSEXIT does not unblock NMIs", () => {
    const w = inNmi({
      cpl: 3,
      program: "again: jmp again\nlanded: nop",
      kernel: "on_nmi: mov $landed, %edx\nmovabs $user_stack_top - 64, %rcx\nsysexitq",
      tables: { sysenter: "on_nmi", "sysenter-stack": "kernel" },
    });
    w.run("landed");
    expect(w.nmiBlocked).toBe(true);
  });

  it("2.11 15.8 POPF and RETF return from an exception nested in the handler and keep NMIs blocked", () => {
    const w = inNmi({
      kernel: `on_nmi: nop
        int3
      back: nop
        iretq
      on_bp: mov 24(%rsp), %rdx      # RSP of the handler
        mov 0(%rsp), %rax
        mov 8(%rsp), %rcx
        mov 16(%rsp), %rbx
        lea -24(%rdx), %rsp
        mov %rbx, 0(%rsp)
        mov %rax, 8(%rsp)
        mov %rcx, 16(%rsp)
        popfq
        lretq`,
    });
    const rsp = w.rsp;
    expect(w.untilDelivery()).toBe(3);
    w.inject("nmi");
    w.run("back");
    expect(w.rsp).toBe(rsp);
    expect(w.nmiBlocked).toBe(true);
    expect(w.nmiPending).toBe(true);
    expect(w.trail(3)).toEqual(["back", "back+1", "#2"]);
  });

  it("2.12 INT 2 and an interrupt with vector 2 do not block NMIs; their IRET unblocks them", () => {
    const w = world({ program: "int $2\nnext: nop" });
    w.step();
    expect(w.at).toBe("on_nmi");
    expect(w.nmiBlocked).toBe(false);
    const events = { nmi: "anywhere", two: { event: "intr", vector: 2 } };
    const v = world({ program: SPIN, scenario: { events }, idt: { nmi: { type: "trap" } } });
    v.inject("two");
    expect(v.untilDelivery()).toBe(2);
    expect(v.nmiBlocked).toBe(false);
    v.inject("nmi");
    expect(v.untilDelivery()).toBe(2);
    expect(v.nmiBlocked).toBe(true);
    v.inject("two");
    expect(v.untilDelivery()).toBe(2); // nested in the NMI's handler, since the gate left IF set
    expect(v.nmiBlocked).toBe(true);
    v.step(2);
    expect(v.nmiBlocked).toBe(false);
  });

  it("2.14 blocking holds back neither #MC, #DB, #BP nor INTR", () => {
    for (const [event, vector] of [
      ["mce", 18],
      ["db", 1],
      ["bp", 3],
      ["intr", 0x20],
    ] as const) {
      const w = inNmi({ idt: { nmi: { type: "trap" } } });
      w.inject(event);
      if (w.delivered < 0) w.step();
      expect(w.delivered).toBe(vector);
    }
  });

  it("2.15 with a trap gate INTR nests in the handler, and its IRET unblocks NMIs; an interrupt gate holds it back", () => {
    const w = inNmi({ idt: { nmi: { type: "trap" } } });
    w.inject("intr");
    expect(w.untilDelivery()).toBe(0x20);
    w.run("on_nmi");
    expect(w.nmiBlocked).toBe(false);
    const v = inNmi();
    v.inject("intr");
    expect(v.trail(2)).toEqual(["on_nmi", "on_nmi+1"]);
  });

  it("5.7 2.6 IRET with NT=1 in long mode is #GP(0), and has unblocked NMIs", () => {
    const w = inNmi({ kernel: "on_nmi: iretq" });
    w.set("rflags", w.flags | NT);
    const rsp = w.rsp;
    w.step();
    expect(w.delivered).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ error: 0n, rip: w.symbol("on_nmi"), rsp });
    expect(w.nmiBlocked).toBe(false);
  });

  it("2.9 5.6 a task return is not in the model, and is said to be so", () => {
    const w = inNmi({ mode: 32 });
    w.set("eflags", w.flags | NT);
    w.step();
    expect(() => w.step()).toThrow("unsupported (TASK)");
    expect(w.nmiBlocked).toBe(false);
  });

  it("2.7 2.5 also when the IRET leads to CPL 3", () => {
    const w = inNmi({ cpl: 3, idt: { nmi: { ist: 1 } } });
    const frame = w.frame();
    w.inject("nmi");
    expect(w.trail(3)).toEqual(["on_nmi", "on_nmi+1", "#2"]);
    expect(w.frame()).toEqual(frame);
  });

  it("4.26 no event is recognised between the first push and the handler's first instruction", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    w.set("dr0", w.symbol("ist1_stack_top") - 8n); // the first word that delivery pushes, on writes
    w.set("dr7", 0x1_0401n);
    w.inject("nmi");
    w.inject("intr");
    expect(w.trail(2)).toEqual(["#2", "#1"]);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp: w.symbol("ist1_stack_top") - 40n });
    expect(w.frame({ at: w.symbol("ist1_stack_top") - 40n })).toMatchObject({ rip: w.symbol("again"), ss: 0x18n });
  });
});
