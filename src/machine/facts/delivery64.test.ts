// Facts 4.1 to 4.21: delivery through the IDT in 64-bit mode.

import { describe, expect, it } from "vitest";
import { AC, CF, DF, ID, IF, IOPL3, NT, RF, type Setup, TF, type World, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";
const NON_CANONICAL = 0x8000_0000_0000n;

/** Injects an event, and gives the vector that the CPU delivers then. */
function deliver(w: World, event: string): number {
  w.inject(event);
  if (w.delivered < 0) w.step();
  return w.delivered;
}

/** Expects the event's delivery to raise an exception with that error code, at the boundary where it struck. */
function expectFault(w: World, event: string, vector: number, error: bigint): void {
  const { rip, rsp } = w;
  expect(deliver(w, event)).toBe(vector);
  expect(w.frame({ error: true })).toMatchObject({ error, rip, rsp });
}

describe("4.1 to 4.5 the gate and its code segment", () => {
  it("4.1 4.20 a vector beyond the IDT's limit is #GP(vector * 8 + 2 + EXT)", () => {
    const w = world({ program: SPIN });
    w.set("idtr_limit", 0x20n * 16n + 14n);
    expectFault(w, "intr", 13, 0x103n);
    const v = world({ program: SPIN });
    v.set("idtr_limit", 0x20n * 16n + 15n);
    expect(deliver(v, "intr")).toBe(0x20);
  });

  it.each([5, 6, 7, 0xc, 0, 0x1e])("4.1 a gate of type 0x%x is #GP in 64-bit mode", (type) => {
    const w = world({ program: SPIN });
    w.gate("nmi", { type });
    expectFault(w, "nmi", 13, 0x13n);
  });

  it.each([
    ["INT n", "int $0x20", 0x102n],
    ["INT3", "int3", 0x1an],
  ])("4.2 %s through a gate with DPL < CPL is #GP(vector * 8 + 2), EXT=0", (_name, code, error) => {
    const w = world({ cpl: 3, program: `here: ${code}`, idt: { bp: { dpl: 0 } } });
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ error, rip: w.symbol("here") });
  });

  it("4.2 INT n with gate.DPL = 3 goes through", () => {
    const w = world({ cpl: 3, program: "int $0x20", idt: { 32: { dpl: 3 } } });
    expect(w.untilDelivery()).toBe(0x20);
  });

  it("4.2 INT1 and hardware events skip the test of the gate's DPL", () => {
    const w = world({ cpl: 3, program: ".byte 0xf1\nnop" });
    expect(w.untilDelivery()).toBe(1);
    const v = world({ cpl: 3, program: SPIN });
    expect(deliver(v, "nmi")).toBe(2);
  });

  it.each([
    ["nmi", 0x13n],
    ["intr", 0x103n],
    ["mce", 0x93n],
    ["bp", 0x1an],
    ["db", 0x0bn],
  ])("4.3 4.20 a gate that is not present: #NP for %s with error code 0x%x", (event, error) => {
    const w = world({ program: SPIN });
    for (const vector of ["nmi", 0x20, "mc", "bp", "db"]) w.gate(vector, { present: false });
    expectFault(w, event, 11, error);
  });

  it.each([
    ["INT n", "int $0x30", 0x182n],
    ["INT1", ".byte 0xf1", 0x0bn],
    ["#UD", "ud2", 0x33n],
  ])("4.20 EXT is 1 but for INT n, INT3 and INTO: %s", (_name, code, error) => {
    const w = world({ program: `here: ${code}` });
    for (const vector of [1, 6, 0x30]) w.gate(vector, { type: 0xe, present: false });
    expect(w.untilDelivery()).toBe(11);
    expect(w.frame({ error: true })).toMatchObject({ error, rip: w.symbol("here") });
  });

  it("4.3 DPL is looked at before P", () => {
    const w = world({ cpl: 3, program: "int $0x20" });
    w.gate(0x20, { present: false });
    expect(w.untilDelivery()).toBe(13);
  });

  const SEGMENTS = [
    ["null", 0, 13, 1n],
    ["null with RPL 3", 3, 13, 1n],
    ["beyond the GDT's limit", 0x1000, 13, 0x1001n],
    ["data", 0x18, 13, 0x19n],
    ["DPL > CPL", 0x33, 13, 0x31n],
    ["32-bit code", 0x08, 13, 0x09n],
    ["L and D both set", 0x60, 13, 0x61n],
    ["not present", 0x68, 11, 0x69n],
    ["not present, 32-bit: L is tested first", 0x70, 13, 0x71n],
    ["a system descriptor", 0x40, 13, 0x41n],
    ["in an LDT that is not there", 0x14, 13, 0x15n],
  ] as const;
  it.each(
    SEGMENTS,
  )("4.4 the gate's code segment is %s (0x%x): vector %i, error 0x%x", (_name, selector, vector, error) => {
    const w = world({ program: SPIN });
    w.descriptor(0x60, 0x9b, 0xe);
    w.descriptor(0x68, 0x1b, 0xa);
    w.descriptor(0x70, 0x1b, 0xc);
    w.gate("nmi", { selector });
    expectFault(w, "nmi", vector, error);
  });

  it("4.5 the target's CPL is CS.DPL, or for a conforming segment the CPL as it was", () => {
    const w = world({ cpl: 3, program: SPIN });
    deliver(w, "nmi");
    expect(w.cpl).toBe(0);
    expect(w.reg("cs")).toBe(0x10n);
    const v = world({ cpl: 3, program: SPIN, scenario: { cr4: 0xf8 } });
    v.descriptor(0x60, 0x9f, 0xa);
    v.gate("nmi", { selector: 0x60 });
    const rsp = v.rsp;
    expect(deliver(v, "nmi")).toBe(2);
    expect(v.cpl).toBe(3);
    expect(v.reg("cs")).toBe(0x63n);
    expect(v.rsp).toBe((rsp & ~0xfn) - 40n);
    expect(v.reg("ss")).toBe(0x2bn);
  });

  it("4.5 a gate's RPL is of no account", () => {
    const w = world({ program: SPIN });
    w.gate("nmi", { selector: 0x13 });
    expect(deliver(w, "nmi")).toBe(2);
    expect(w.reg("cs")).toBe(0x10n);
  });
});

describe("4.6 to 4.14 the stack", () => {
  it("4.6 an IST is taken always: re-entry overwrites the frame before", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 }, bp: { ist: 1 } } });
    const rsp = w.rsp;
    deliver(w, "nmi");
    const top = w.symbol("ist1_stack_top");
    expect(w.rsp).toBe(top - 40n);
    expect(w.frame().rsp).toBe(rsp);
    deliver(w, "bp");
    expect(w.rsp).toBe(top - 40n);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp: top - 40n });
    w.run("on_nmi");
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi") }); // the NMI's own way back is lost
  });

  it.each([1, 2, 3, 4, 5, 6, 7])("4.6 IST %i is at n * 8 + 28 in the TSS", (ist) => {
    const w = world({ program: SPIN });
    w.gate("nmi", { ist });
    w.write(w.symbol("cpu_tss") + BigInt(ist * 8 + 28), w.symbol("ist2_stack_top") - 0x100n);
    deliver(w, "nmi");
    expect(w.rsp).toBe(w.symbol("ist2_stack_top") - 0x128n);
  });

  it("4.7 from CPL 3 RSP is RSP0; at the same CPL it stays", () => {
    const w = world({ cpl: 3, program: SPIN });
    const rsp = w.rsp;
    deliver(w, "intr");
    expect(w.rsp).toBe(w.symbol("kernel_stack_top") - 40n);
    expect(w.frame()).toMatchObject({ rsp, ss: 0x2bn, cs: 0x33n, rip: w.symbol("again") });
    deliver(w, "nmi");
    expect(w.rsp).toBe(((w.symbol("kernel_stack_top") - 40n) & ~0xfn) - 40n);
    expect(w.frame()).toMatchObject({ rsp: w.symbol("kernel_stack_top") - 40n, rip: w.symbol("on_intr") });
  });

  it("4.8 a TSS slot beyond the limit is #TS(TR + EXT)", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    w.set("tr_limit", 42n);
    expectFault(w, "nmi", 10, 0x41n);
    const v = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    v.set("tr_limit", 43n);
    expect(deliver(v, "nmi")).toBe(2);
  });

  it("4.8 a new RSP that is not canonical is #SS(EXT) in the model", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    w.write("cpu_tss+36", NON_CANONICAL);
    expectFault(w, "nmi", 12, 1n);
  });

  it.each([
    0n,
    1n,
    7n,
    8n,
    15n,
  ])("4.9 4.10 RSP is aligned down before five pushes, and the old one is saved as it was (top - %i)", (off) => {
    const w = world({ program: SPIN });
    const rsp = w.rsp - off;
    w.set("rsp", rsp);
    deliver(w, "nmi");
    const top = rsp & ~0xfn;
    expect(w.rsp).toBe(top - 40n);
    expect(w.frame()).toMatchObject({ rip: w.symbol("again"), cs: 0x10n, rsp, ss: 0x18n });
  });

  it("4.9 also an IST pointer or RSP0 that is not aligned", () => {
    const w = world({ cpl: 3, program: SPIN, idt: { nmi: { ist: 1 } } });
    w.write("cpu_tss+36", w.symbol("ist1_stack_top") - 3n);
    w.write("cpu_tss+4", w.symbol("kernel_stack_top") - 1n);
    deliver(w, "intr");
    expect(w.rsp).toBe(w.symbol("kernel_stack_top") - 16n - 40n);
    deliver(w, "nmi");
    expect(w.rsp).toBe(w.symbol("ist1_stack_top") - 16n - 40n);
  });

  it("4.8 a same-level stack pointer that is not canonical is #SS(EXT) too, and #DF where #SS needs that stack", () => {
    const w = world({ program: SPIN, idt: { ss: { ist: 2 } } });
    w.set("rsp", NON_CANONICAL + 4096n);
    expectFault(w, "nmi", 12, 1n);
    const v = world({ program: SPIN, idt: { df: { ist: 3 } } });
    v.set("rsp", NON_CANONICAL + 4096n);
    expect(deliver(v, "nmi")).toBe(8);
    expect(v.frame({ error: true })).toMatchObject({ error: 0n, rsp: NON_CANONICAL + 4096n });
  });

  it("4.10 RSP is 8 mod 16 at the handler's entry without, and 0 with an error code", () => {
    const w = world({ program: SPIN });
    deliver(w, "nmi");
    expect(w.rsp & 0xfn).toBe(8n);
    deliver(w, "pf");
    expect(w.rsp & 0xfn).toBe(0n);
  });

  it("4.11 SS becomes null with the new CPL as RPL on a change of CPL, and stays otherwise, also with an IST", () => {
    const w = world({ cpl: 3, program: SPIN, idt: { nmi: { ist: 1 } } });
    deliver(w, "intr");
    expect(w.reg("ss")).toBe(0n);
    const v = world({ program: SPIN, idt: { nmi: { ist: 1 } } });
    deliver(v, "nmi");
    expect(v.reg("ss")).toBe(0x18n);
  });

  it("4.12 a gate's RIP that is not canonical is #GP(EXT)", () => {
    const w = world({ program: SPIN });
    w.gate("nmi", { offset: NON_CANONICAL });
    expectFault(w, "nmi", 13, 1n);
  });

  it("4.13 the frame is written as supervisor whatever the CPL: #PF has U=0; and SMAP applies whatever AC is", () => {
    const setup: Setup = {
      cpl: 3,
      program: SPIN,
      idt: { pf: { ist: 2 } },
      memory: { pages: { size: 4096, user: true } },
    };
    const w = world(setup);
    w.write("cpu_tss+4", w.symbol("pages") + 4096n);
    w.set("rflags", w.flags | AC);
    expect(deliver(w, "intr")).toBe(14);
    expect(w.frame({ error: true })).toMatchObject({ error: 3n, rip: w.symbol("again") });
    expect(w.reg("cr2")).toBe(w.symbol("pages") + 4088n);
    const v = world({ ...setup, scenario: { cr4: 0xf8 } }); // without SMAP
    v.write("cpu_tss+4", v.symbol("pages") + 4096n);
    expect(deliver(v, "intr")).toBe(0x20);
  });

  it("4.13 12.7 a push to a read-only stack is #PF with W=1, P=1, U=0", () => {
    const w = world({ program: SPIN, idt: { nmi: { ist: 1 } }, memory: { pages: { size: 4096, writable: false } } });
    w.write("cpu_tss+36", w.symbol("pages") + 4096n);
    expectFault(w, "nmi", 14, 3n);
  });

  it("4.14 a fault half way through the frame leaves RSP, CS, SS and RIP as before; words pushed already stay", () => {
    const w = world({ cpl: 3, program: SPIN, idt: { nmi: { ist: 1 }, pf: { ist: 2 } } });
    w.write("cpu_tss+36", w.symbol("ist1_stack") + 16n);
    const { rsp, rip } = w;
    expect(deliver(w, "nmi")).toBe(14);
    expect(w.frame({ error: true })).toMatchObject({ error: 2n, rip, cs: 0x33n, rsp, ss: 0x2bn });
    expect(w.read("ist1_stack+8")).toBe(0x2bn);
    expect(w.read("ist1_stack")).toBe(rsp);
    expect(w.reg("cr2")).toBe(w.symbol("ist1_stack") - 8n);
  });
});

describe("4.15 to 4.18 flags and RIP", () => {
  const ALL = 2n | CF | TF | DF | IF | IOPL3 | NT | RF | AC | ID | 0x8d4n;

  it.each([
    ["interrupt", ALL & ~(TF | RF | NT | IF)],
    ["trap", ALL & ~(TF | RF | NT)],
  ] as const)("4.15 a gate of type %s clears TF, RF, NT, and IF if an interrupt gate; DF, AC, IOPL, ID and the rest stay", (type, after) => {
    const w = world({ program: SPIN, idt: { nmi: { type } } });
    w.set("rflags", ALL);
    expect(deliver(w, "nmi")).toBe(2);
    expect(w.flags).toBe(after);
    expect(w.frame().flags).toBe(ALL);
  });

  it.each([
    ["#UD", "ud2", 6, RF],
    ["#GP", "mov $0xfff8, %eax\nmov %eax, %ds", 13, RF],
    ["#PF", "xor %eax, %eax\nmov (%rax), %eax", 14, RF],
    ["#DE", "xor %ecx, %ecx\ndiv %ecx", 0, RF],
    ["INT3", "int3", 3, 0n],
    ["INT n", "int $0x20", 0x20, 0n],
    ["INT1", ".byte 0xf1", 1, 0n],
  ])("4.16 RF in the image of %s", (_name, code, vector, rf) => {
    const w = world({ program: `${code}\nnop` });
    const error = vector === 13 || vector === 14;
    expect(w.untilDelivery()).toBe(vector);
    expect(w.frame({ error }).flags & RF).toBe(rf);
  });

  it("4.16 INT3 and INT n push RF=0 even if RF was 1", () => {
    const w = world({ program: "int3" });
    w.set("rflags", w.flags | RF);
    w.step();
    expect(w.frame().flags & RF).toBe(0n);
  });

  it("4.16 a breakpoint placed on an instruction pushes RF=0 like the INT3 that it stands for", () => {
    const w = world({ program: SPIN });
    w.set("rflags", w.flags | RF);
    expect(deliver(w, "bp")).toBe(3);
    expect(w.frame().flags & RF).toBe(0n);
  });

  it("4.16 a code breakpoint pushes RF as it is, 0; a TF trap 0", () => {
    const w = world({ program: SPIN, registers: { dr0: "again", dr7: 0x401 } });
    w.step();
    expect(w.delivered).toBe(1);
    expect(w.frame().flags & RF).toBe(0n);
    const v = world({ program: SPIN });
    v.set("rflags", v.flags | TF);
    expect(v.untilDelivery()).toBe(1);
    expect(v.frame().flags & (RF | TF)).toBe(TF);
  });

  it.each(["nmi", "intr", "mce"])("4.16 %s pushes RF as it is", (event) => {
    for (const rf of [0n, RF]) {
      const w = world({ program: SPIN });
      w.set("rflags", w.flags | rf);
      deliver(w, event);
      expect(w.frame().flags & RF).toBe(rf);
    }
  });

  it("4.16 an interrupt between two REP iterations pushes RF=1, after the last one RF=0", () => {
    const w = world({
      program: "mov $2, %ecx\nlea buffer(%rip), %rdi\nfill: rep stosb\nafter: nop",
      kernel: ".data\nbuffer: .skip 16\n.text\n",
    });
    w.run("fill").step();
    deliver(w, "nmi");
    expect(w.frame().flags & RF).toBe(RF);
    w.run("fill").step();
    expect(w.at).toBe("after");
    deliver(w, "nmi");
    expect(w.frame().flags & RF).toBe(0n);
  });

  it.each([
    ["a fault: the instruction", "here: ud2\nafter: nop", 6, "here"],
    ["INT3: after it", "here: int3\nafter: nop", 3, "after"],
    ["CD 03: after it", "here: .byte 0xcd, 3\nafter: nop", 3, "after"],
    ["INT n: after it", "here: int $0x20\nafter: nop", 0x20, "after"],
    ["INT1: after it", "here: .byte 0xf1\nafter: nop", 1, "after"],
  ])("4.18 RIP saved for %s", (_name, program, vector, label) => {
    const w = world({ program });
    expect(w.untilDelivery()).toBe(vector);
    expect(w.near(w.frame().rip)).toBe(label);
  });
});

describe("4.19 error codes", () => {
  const NOT_PRESENT_STACK = 0x58;
  it.each([
    ["#DE", 0, "xor %ecx, %ecx\ndiv %ecx", undefined],
    ["#UD", 6, "ud2", undefined],
    ["#NP", 11, "mov $0x60, %eax\nmov %eax, %ds", 0x60n],
    ["#SS", 12, "mov $0x58, %eax\nmov %eax, %ss", 0x58n],
    ["#GP", 13, "mov $0xfff8, %eax\nmov %eax, %ds", 0xfff8n],
    ["#PF", 14, "xor %eax, %eax\nmov %eax, (%rax)", 2n],
  ])("4.19 %s (vector %i)", (_name, vector, code, error) => {
    const w = world({ program: `mov $5, %edx\n${code}` });
    w.descriptor(NOT_PRESENT_STACK, 0x13, 0xc);
    w.descriptor(0x60, 0x13, 0xc);
    const { rsp } = w;
    expect(w.untilDelivery()).toBe(vector);
    expect(w.rsp).toBe(rsp - (error === undefined ? 40n : 48n));
    const frame = w.frame({ error: error !== undefined });
    expect(frame.error).toBe(error);
    expect(frame.rsp).toBe(rsp);
  });

  it("4.19 #AC pushes 0", () => {
    const w = world({ cpl: 3, program: "mov -7(%rsp), %rax" });
    w.set("rflags", w.flags | AC);
    expect(w.untilDelivery()).toBe(17);
    expect(w.frame({ error: true })).toMatchObject({ error: 0n, cs: 0x33n });
  });

  it("4.19 INT n pushes none, whatever the vector", () => {
    for (const vector of [8, 10, 13, 14, 17]) {
      const w = world({ program: `int $${vector}\nafter: nop` });
      const { rsp } = w;
      expect(w.untilDelivery()).toBe(vector);
      expect(w.rsp).toBe(rsp - 40n);
      expect(w.near(w.frame().rip)).toBe("after");
    }
  });

  it("4.19 nor do external interrupts with those vectors", () => {
    const w = world({ program: SPIN, scenario: { events: { gp: { event: "intr", vector: 13 } } } });
    const { rsp } = w;
    expect(deliver(w, "gp")).toBe(13);
    expect(w.rsp).toBe(rsp - 40n);
  });

  it("4.20 bit 2 is TI: a selector in the LDT", () => {
    const w = world({ program: "mov $0x1f, %eax\nmov %eax, %ds" });
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true }).error).toBe(0x1cn);
  });

  it("4.21 12.1 #PF has its own code, in which the CPL counts and no EXT is", () => {
    const w = world({ cpl: 3, program: "xor %eax, %eax\nmov %eax, (%rax)" });
    expect(w.untilDelivery()).toBe(14);
    expect(w.frame({ error: true }).error).toBe(6n);
  });
});
