// Facts 15.x as far as they are statements about the CPU: what kernels rely on, or suffer from.

import { describe, expect, it } from "vitest";
import { DF, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";

describe("15 what Linux relies on", () => {
  it("15.2 an IST pointer lowered by a handler gives the next delivery fresh space", () => {
    const w = world({
      program: SPIN,
      kernel: "on_db: movabs $cpu_tss, %rax\nsubq $1024, 36(%rax)\nlowered: nop\naddq $1024, 36(%rax)\niretq",
      idt: { db: { ist: 1 } },
    });
    w.inject("db");
    const first = w.rsp;
    w.run("lowered").inject("db");
    expect(w.rsp).toBe(first - 1024n);
    expect(w.frame()).toMatchObject({ rip: w.symbol("lowered"), rsp: first });
    expect(w.frame({ at: first }).rip).toBe(w.symbol("again"));
  });

  it("15.5 user code can point RSP at the NMI stack, for SYSCALL keeps RSP; but FMASK clears DF", () => {
    const w = world({
      cpl: 3,
      program: "std\nsyscall",
      registers: { rsp: "ist1_stack_top-64" },
      kernel: "entry: nop\nnop",
      tables: { syscall: "entry" },
      idt: { nmi: { ist: 1 } },
    });
    w.step();
    expect(w.flags & DF).toBe(DF);
    w.run("entry").inject("nmi");
    w.step();
    expect(w.frame()).toMatchObject({ rip: w.symbol("entry"), cs: 0x10n, rsp: w.symbol("ist1_stack_top") - 64n });
    expect(w.frame().flags & DF).toBe(0n);
  });

  it("15.6 15.7 32-bit: a nested NMI pushes below the live frame", () => {
    const w = world({ mode: 32, program: SPIN });
    w.inject("nmi");
    w.step();
    const first = w.rsp;
    w.inject("bp");
    w.run("on_nmi").inject("nmi");
    w.step();
    expect(w.rsp).toBe(first - 12n);
    expect(w.frame({ at: first }).rip).toBe(w.symbol("again"));
    w.run("on_nmi").run("again");
  });

  it.each([
    "bp",
    "pf",
    "db",
  ])("15.7 64-bit: the IRET of a %s in the NMI handler lets the next NMI overwrite the IST frame", (event) => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    w.inject("nmi");
    w.step();
    const first = w.rsp;
    w.inject(event);
    w.run("on_nmi").inject("nmi");
    w.step();
    expect(w.rsp).toBe(first);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp: first });
    w.run("on_nmi");
    w.step(2);
    expect(w.at).toBe("on_nmi"); // the way back to the program is gone for good
  });

  it("15.9 a faulting IRET to user code faults in the kernel, with GS already the user's", () => {
    const w = world({
      cpl: 3,
      program: SPIN,
      kernel: "on_intr: movq $0, 32(%rsp)\nswapgs\nback: iretq",
      registers: { gs_base: 0x1234, kernel_gs_base: 0x5678 },
    });
    w.inject("intr");
    w.step();
    w.set("gs_base", 0x5678n);
    w.set("kernel_gs_base", 0x1234n);
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ rip: w.symbol("back"), cs: 0x10n, error: 0n });
    expect(w.reg("gs_base")).toBe(0x1234n);
    expect(w.cpl).toBe(0);
  });

  it("15.9 a faulting IRET on a read-only stack is #DF: #GP cannot be pushed there, nor can the #PF that follows", () => {
    const w = world({
      program: "movabs $alias, %rsp\nback: iretq",
      memory: { alias: { size: 4096, writable: false, data: ".quad again, 0, 2, 0, 0\nagain: .quad 0" } },
      idt: { df: { ist: 3 } },
    });
    w.run("back").step();
    expect(w.delivered).toBe(8);
    expect(w.rsp).toBe(w.symbol("ist3_stack_top") - 48n);
    expect(w.frame({ error: true }).rsp).toBe(w.symbol("alias"));
  });

  it("15.12 IF=0 keeps no NMI out of an exit path", () => {
    const w = world({ program: "cli\nchecked: nop\nsysretq" }).run("checked");
    w.inject("nmi");
    expect(w.trail(1)).toEqual(["#2"]);
    expect(w.frame().rip).toBe(w.symbol("checked"));
  });

  it("15.14 an INT3 written over an instruction is executed from then on, and gone when it is written back", () => {
    const w = world({
      program: `mov %cr0, %rax
        and $~0x10000, %eax
        mov %rax, %cr0
      site: nop
        movb $0xcc, site(%rip)
        jmp site`,
      kernel: "on_bp: movb $0x90, site(%rip)\ndecq (%rsp)\nback: iretq",
    });
    w.run("site");
    expect(w.trail(1)).toEqual(["site"]);
    expect(w.untilDelivery()).toBe(3);
    expect(w.frame().rip).toBe(w.symbol("site+1"));
    w.run("site");
    expect(w.trail(1)).toEqual(["site"]);
  });

  it.each([
    ["nmi", 2],
    ["mce", 18],
    ["db", 1],
  ])("15.15 11.3 %s hits CPL 0 code that still has the user's GS and CR3, and changes neither", (event, vector) => {
    const w = world({
      cpl: 3,
      program: "syscall",
      kernel: "entry: swapgs\nnop",
      tables: { syscall: "entry" },
      idt: { nmi: { ist: 1 }, mc: { ist: 2 }, db: { ist: 3 } },
    });
    w.set("gs_base", 0x1234n);
    const cr3 = w.reg("cr3");
    w.run("entry").inject(event);
    if (w.delivered < 0) w.step();
    expect(w.delivered).toBe(vector);
    expect(w.frame()).toMatchObject({ rip: w.symbol("entry"), cs: 0x10n });
    expect(w.reg("gs_base")).toBe(0x1234n);
    expect(w.reg("cr3")).toBe(cr3);
  });
});
