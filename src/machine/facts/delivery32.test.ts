// Facts 5.x: delivery in 32-bit protected mode.

import { describe, expect, it } from "vitest";
import { AC, CF, DF, ID, IF, IOPL3, NT, RF, type Setup, TF, VM, type World, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";
/** free selectors of the GDT */
const [FREE, CONFORMING] = [0xe0, 0xe8];

function machine(setup: Setup = {}): World {
  return world({ mode: 32, program: SPIN, ...setup });
}

function deliver(w: World, event: string): number {
  w.inject(event);
  if (w.delivered < 0) w.step();
  return w.delivered;
}

describe("5.1 gates", () => {
  it("5.1 a vector is beyond the limit if its 8 bytes are not all within: #GP(vector * 8 + 2 + EXT)", () => {
    const w = machine();
    w.set("idtr_limit", 0x20n * 8n + 6n);
    expect(deliver(w, "intr")).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ error: 0x103n, rip: w.symbol("again"), cs: 0x60n });
    const v = machine();
    v.set("idtr_limit", 0x20n * 8n + 7n);
    expect(deliver(v, "intr")).toBe(0x20);
  });

  it.each([0, 0xc, 4, 0x1e])("5.1 a gate of type 0x%x is #GP", (type) => {
    const w = machine();
    w.gate("nmi", { type });
    expect(deliver(w, "nmi")).toBe(13);
    expect(w.frame({ error: true }).error).toBe(0x13n);
  });

  it("5.6 a task gate is not in the model, and is said to be so", () => {
    const w = machine();
    w.gate("nmi", { type: 5 });
    w.inject("nmi");
    expect(() => w.step()).toThrow("unsupported (TASK)");
  });

  it("5.1 a 16-bit gate pushes words", () => {
    const w = machine();
    const base = w.symbol("on_nmi") & ~0xfffn;
    w.descriptor(FREE, 0x9b, 0xc, base);
    w.gate("nmi", { type: 6, selector: FREE, offset: w.symbol("on_nmi") - base });
    const { rsp, flags } = w;
    expect(deliver(w, "nmi")).toBe(2);
    expect(w.rsp).toBe(rsp - 6n);
    expect(w.read(w.rsp, 2)).toBe(w.symbol("again") & 0xffffn);
    expect(w.read(w.rsp + 2n, 2)).toBe(0x60n);
    expect(w.read(w.rsp + 4n, 2)).toBe(flags);
    expect(w.rip).toBe(w.symbol("on_nmi") - base);
    expect(w.trail(1)).toHaveLength(1);
  });

  it.each([
    ["INT n", "int $0x20", 0x102n],
    ["INT3", "int3", 0x1an],
  ])("5.1 4.2 %s with gate.DPL < CPL is #GP, EXT=0", (_name, code, error) => {
    const w = machine({ cpl: 3, program: code, idt: { bp: { dpl: 0 } } });
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true }).error).toBe(error);
  });

  it("5.1 4.3 a gate that is not present is #NP", () => {
    const w = machine();
    w.gate("nmi", { present: false });
    expect(deliver(w, "nmi")).toBe(11);
    expect(w.frame({ error: true }).error).toBe(0x13n);
  });

  it.each([
    ["null", 0, 13, 1n],
    ["beyond the GDT's limit", 0x1000, 13, 0x1001n],
    ["data", 0x68, 13, 0x69n],
    ["DPL > CPL", 0x73, 13, 0x71n],
    ["not present", FREE, 11, 0xe1n],
  ] as const)("5.1 4.4 the gate's code segment is %s: vector %i", (_name, selector, vector, error) => {
    const w = machine();
    w.descriptor(FREE, 0x1b, 0xc);
    w.gate("nmi", { selector });
    const { rsp } = w;
    expect(deliver(w, "nmi")).toBe(vector);
    expect(w.frame({ error: true })).toMatchObject({ error, rip: w.symbol("again") });
    expect(w.rsp).toBe(rsp - 16n);
  });
});

describe("5.2 5.3 5.9 frames", () => {
  it.each([0n, 1n, 2n, 3n, 7n])("5.2 same privilege: EFLAGS, CS, EIP; no SS:ESP and no alignment (ESP - %i)", (off) => {
    const w = machine();
    const rsp = w.rsp - off;
    w.set("esp", rsp);
    const { flags } = w;
    expect(deliver(w, "nmi")).toBe(2);
    expect(w.rsp).toBe(rsp - 12n);
    expect(w.frame()).toMatchObject({ rip: w.symbol("again"), cs: 0x60n, flags });
    expect(w.reg("ss")).toBe(0x68n);
  });

  it("5.2 with an error code below", () => {
    const w = machine({ program: "xor %eax, %eax\nhere: mov %eax, (%eax)" });
    const { rsp } = w;
    expect(w.untilDelivery()).toBe(14);
    expect(w.rsp).toBe(rsp - 16n);
    expect(w.frame({ error: true })).toMatchObject({ error: 2n, rip: w.symbol("here"), cs: 0x60n });
  });

  it("5.2 what stands above a frame of the same privilege is the interrupted stack itself", () => {
    const w = machine({ program: "push $0x1234\nnext: nop" });
    w.run("next");
    const { rsp } = w;
    deliver(w, "nmi");
    expect(w.rsp + 12n).toBe(rsp);
    expect(w.frame().rsp).toBe(0x1234n);
  });

  it.each([
    ["nmi", 2, 20n],
    ["pf", 14, 24n],
  ])("5.3 inner privilege: SS:ESP of the TSS; SS, ESP, EFLAGS, CS, EIP are pushed (%s)", (event, vector, size) => {
    const w = machine({ cpl: 3 });
    const { rsp, flags } = w;
    expect(deliver(w, event)).toBe(vector);
    expect(w.rsp).toBe(w.symbol("kernel_stack_top") - size);
    const saved = event === "pf" ? flags | RF : flags;
    expect(w.frame({ error: event === "pf" })).toMatchObject({
      rip: w.symbol("again"),
      cs: 0x73n,
      flags: saved,
      rsp,
      ss: 0x7bn,
    });
    expect(w.reg("ss")).toBe(0x68n);
    expect(w.cpl).toBe(0);
  });

  it.each([
    ["null", 0, 10, 1n],
    ["beyond the GDT's limit", 0x1000, 10, 0x1001n],
    ["RPL that is not the new CPL", 0x6b, 10, 0x69n],
    ["DPL that is not the new CPL", 0x78, 10, 0x79n],
    ["code", 0x60, 10, 0x61n],
    ["data that is not writable", FREE, 10, 0xe1n],
    ["not present", 0xf0, 12, 0xf1n],
    ["too small for the frame", 0xf8, 12, 0xf9n],
  ] as const)("5.3 the TSS's SS is %s (0x%x): vector %i, error 0x%x", (_name, selector, vector, error) => {
    const w = machine({ cpl: 3 });
    w.descriptor(FREE, 0x91, 0xc);
    w.descriptor(0xf0, 0x13, 0xc);
    w.descriptor(0xf8, 0x93, 0x4, 0n, 0xffn);
    // the fault's own handler must not need that stack: a conforming segment leaves CPL and stack alone
    w.descriptor(CONFORMING, 0x9f, 0xc);
    for (const gate of [10, 12]) w.gate(gate, { selector: CONFORMING });
    w.write(w.reg("tr_base") + 8n, BigInt(selector), 2);
    const { rsp } = w;
    expect(deliver(w, "nmi")).toBe(vector);
    expect(w.rsp).toBe(rsp - 16n);
    expect(w.frame({ error: true })).toMatchObject({ error, rip: w.symbol("again"), cs: 0x73n });
    expect(w.reg("cs")).toBe(BigInt(CONFORMING | 3));
  });

  it("5.3 a stack that no handler can use ends in shutdown", () => {
    const w = machine({ cpl: 3 });
    w.write(w.reg("tr_base") + 8n, 0n, 2);
    w.inject("nmi");
    w.step();
    expect(w.shutdown).toBe(true);
  });

  it("5.3 4.8 SS0:ESP0 beyond the TSS's limit is #TS(TR + EXT)", () => {
    const w = machine({ cpl: 3 });
    w.descriptor(CONFORMING, 0x9f, 0xc);
    w.gate(10, { selector: CONFORMING });
    w.set("tr_limit", 8n);
    expect(deliver(w, "nmi")).toBe(10);
    expect(w.frame({ error: true }).error).toBe(0x81n);
    const v = machine({ cpl: 3 });
    v.set("tr_limit", 9n);
    expect(deliver(v, "nmi")).toBe(2);
  });

  it("5.4 an entry beyond the limit of CS is #GP(EXT)", () => {
    const w = machine();
    w.descriptor(FREE, 0x9b, 0x4, 0n, 0xfffffn);
    w.gate("nmi", { selector: FREE });
    expect(deliver(w, "nmi")).toBe(13);
    expect(w.frame({ error: true })).toMatchObject({ error: 1n, rip: w.symbol("again") });
  });

  const ALL = 2n | CF | TF | DF | IF | IOPL3 | NT | RF | AC | ID | 0x8d4n;
  it.each([
    ["interrupt", ALL & ~(TF | RF | NT | IF)],
    ["trap", ALL & ~(TF | RF | NT)],
  ] as const)("5.4 4.15 a gate of type %s clears TF, RF, NT, and IF if an interrupt gate", (type, after) => {
    const w = machine({ idt: { nmi: { type } } });
    w.set("eflags", ALL);
    expect(deliver(w, "nmi")).toBe(2);
    expect(w.flags).toBe(after);
    expect(w.frame().flags).toBe(ALL);
  });

  it("5.9 IRET to the same CPL pops EIP, CS, EFLAGS and nothing else", () => {
    const w = machine({ program: "pushl $0x203\npushl $0x60\npushl $next\nback: iretl\nnext: nop" });
    w.run("back");
    const { rsp } = w;
    w.run("next");
    expect(w.rsp).toBe(rsp + 12n);
    expect(w.flags).toBe(0x203n);
    expect(w.reg("ss")).toBe(0x68n);
  });

  it("5.9 IRET to an outer CPL also pops ESP and SS", () => {
    const w = machine({ cpl: 3 });
    const { rsp } = w;
    deliver(w, "nmi");
    w.run("again");
    expect(w.cpl).toBe(3);
    expect(w.rsp).toBe(rsp);
    expect(w.reg("ss")).toBe(0x7bn);
  });

  it("5.9 5.5 VM=1 in the image leads to virtual-8086 mode, which is not in the model and is said to be so", () => {
    const w = machine({ program: "pushl $0x20202\npushl $0x60\npushl $0\nback: iretl" }).run("back");
    expect(() => w.step()).toThrow("unsupported (MODE)");
    expect(VM).toBe(0x20000n);
  });

  it("4.22 4.25 two contributory faults are #DF here too, with error code 0", () => {
    const w = machine({ program: "xor %ecx, %ecx\ndiv %ecx" });
    w.gate(0, { present: false });
    expect(w.untilDelivery()).toBe(8);
    expect(w.frame({ error: true }).error).toBe(0n);
  });

  it("4.23 and three shut the CPU down", () => {
    const w = machine({ program: "xor %ecx, %ecx\ndiv %ecx" });
    w.gate(0, { present: false });
    w.gate(8, { present: false });
    w.step(2);
    expect(w.shutdown).toBe(true);
  });

  it("4.14 a fault while the frame is pushed leaves the stack pointer as it was", () => {
    const w = machine({ cpl: 3 });
    w.descriptor(CONFORMING, 0x9f, 0xc);
    w.gate(14, { selector: CONFORMING });
    w.write(w.reg("tr_base") + 4n, w.symbol("kernel_stack") + 8n);
    const { rsp } = w;
    expect(deliver(w, "nmi")).toBe(14);
    expect(w.frame({ error: true })).toMatchObject({ error: 2n, rip: w.symbol("again"), cs: 0x73n });
    expect(w.rsp).toBe(rsp - 16n);
    expect(w.reg("cr2")).toBe(w.symbol("kernel_stack") - 4n);
  });
});
