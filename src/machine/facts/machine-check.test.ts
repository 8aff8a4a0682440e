// Facts 9.x: machine checks.

import { describe, expect, it } from "vitest";
import { Prop, Reg, Status } from "../../engine/abi.js";
import { IF, type Setup, type World, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";
const MCE = 0x40;
const DEFAULT_CR4 = 0x31_00f8;
const MCIP = 4n;

/** Clears MCG_STATUS and returns. */
const CLEARING = `on_mc: push %rax
  push %rcx
  push %rdx
  mov $0x17a, %ecx
  xor %eax, %eax
  xor %edx, %edx
  wrmsr
cleared: pop %rdx
  pop %rcx
  pop %rax
  iretq`;

function machine(setup: Setup = {}): World {
  return world({ program: SPIN, ...setup });
}

describe("9 machine check", () => {
  it("9.1 vector 18, no error code, whatever IF and NMI blocking are", () => {
    const w = machine();
    w.inject("nmi");
    w.step();
    expect(w.flags & IF).toBe(0n);
    const { rsp } = w;
    w.inject("mce");
    expect(w.delivered).toBe(18);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp });
    expect(w.rsp).toBe((rsp & ~0xfn) - 40n);
    expect(w.nmiBlocked).toBe(true);
  });

  it("9.1 1.1 it comes before everything else, in every shadow", () => {
    const w = machine({ program: "mov $0x18, %eax\nmov %eax, %ss\nin_shadow: nop" }).run("in_shadow");
    w.inject("intr");
    w.inject("mce");
    expect(w.delivered).toBe(18);
    expect(w.frame().rip).toBe(w.symbol("in_shadow"));
  });

  it.each(["intel", "amd"] as const)("9.2 without CR4.MCE the CPU shuts down (%s)", (cpu) => {
    const w = machine({ cpu, scenario: { cr4: DEFAULT_CR4 & ~MCE } });
    w.inject("mce");
    expect(w.delivered).toBe(-1);
    expect(w.shutdown).toBe(true);
    expect(w.step()).toBe(Status.STOPPED);
  });

  it("9.3 9.4 delivery sets MCIP and, in the model, RIPV", () => {
    const w = machine();
    w.inject("mce");
    expect(w.machine.register(Reg.MCG_STATUS)).toBe(5n);
  });

  it.each(["intel", "amd"] as const)("9.3 9.9 another #MC while MCIP is set shuts the CPU down (%s)", (cpu) => {
    const w = machine({ cpu });
    w.inject("mce");
    w.step();
    w.inject("mce");
    expect(w.shutdown).toBe(true);
    const v = machine({ cpu, properties: [Prop.NO_SHUTDOWN] });
    v.inject("mce");
    expect(v.inject("mce")).toBe(Status.VIOLATION);
  });

  it("9.3 MCIP outlives the handler's IRET if it was not cleared", () => {
    const w = machine();
    w.inject("mce");
    w.run("again");
    w.inject("mce");
    expect(w.shutdown).toBe(true);
  });

  it("9.3 software clears it with WRMSR; then another is fine", () => {
    const w = machine({ kernel: CLEARING });
    w.inject("mce");
    w.run("cleared");
    expect(w.machine.register(Reg.MCG_STATUS) & MCIP).toBe(0n);
    w.inject("mce");
    expect(w.delivered).toBe(18);
    expect(w.frame().rip).toBe(w.symbol("cleared"));
  });

  it.each([1, 2, 4, 8])("9.3 WRMSR of %i to MCG_STATUS is #GP(0)", (value) => {
    const w = machine({ program: `mov $0x17a, %ecx\nmov $${value}, %eax\nxor %edx, %edx\nwrmsr` });
    expect(w.untilDelivery()).toBe(13);
    expect(w.frame({ error: true }).error).toBe(0n);
  });

  it("9.3 RDMSR shows it", () => {
    const w = machine({ kernel: "on_mc: mov $0x17a, %ecx\nrdmsr\nread: nop" });
    w.inject("mce");
    w.run("read");
    expect(w.reg("rax")).toBe(5n);
    expect(w.reg("rdx")).toBe(0n);
  });

  it("9.4 an event rule strikes while MCIP is set only where it says so", () => {
    const w = machine({ scenario: { events: { mce: "anywhere", again: { event: "mce", "while-mcip": true } } } });
    expect(w.may("mce")).toBe(true);
    w.inject("mce");
    expect(w.may("mce")).toBe(false);
    expect(w.may("again")).toBe(true);
  });

  it("9.5 it interrupts the NMI handler before its first instruction, and its IRET unblocks NMIs", () => {
    const w = machine({ idt: { nmi: { ist: 1 }, mc: { ist: 2 } } });
    w.inject("nmi");
    w.step();
    w.inject("mce");
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp: w.symbol("ist1_stack_top") - 40n });
    w.inject("nmi");
    w.step();
    expect(w.delivered).toBe(-1); // still blocked in the #MC handler
    w.run("on_nmi"); // the pending NMI comes at once, on the same IST
    w.step();
    expect(w.delivered).toBe(2);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_nmi"), rsp: w.symbol("ist1_stack_top") - 40n });
  });

  it("9.5 also the #DB handler", () => {
    const w = machine();
    w.inject("db");
    w.inject("mce");
    expect(w.frame().rip).toBe(w.symbol("on_db"));
  });

  it("9.6 1.5 an NMI interrupts the #MC handler at once", () => {
    const w = machine();
    w.inject("nmi");
    w.inject("mce");
    expect(w.trail(1)).toEqual(["#2"]);
    expect(w.frame().rip).toBe(w.symbol("on_mc"));
  });

  it("9.7 through an IST: a second #MC after MCIP was cleared, but before IRET, overwrites the frame", () => {
    const w = machine({ kernel: CLEARING, idt: { mc: { ist: 2 } } });
    w.inject("mce");
    const frame = w.rsp;
    expect(w.frame().rip).toBe(w.symbol("again"));
    w.run("cleared");
    w.inject("mce");
    expect(w.rsp).toBe(frame);
    expect(w.frame().rip).toBe(w.symbol("cleared"));
  });

  it("9.1 4.24 if its delivery faults it is gone, and MCIP stays set", () => {
    const w = machine();
    w.gate("mc", { present: false });
    w.inject("mce");
    expect(w.delivered).toBe(11);
    expect(w.frame({ error: true }).error).toBe(0x93n);
    expect(w.machine.register(Reg.MCG_STATUS) & MCIP).toBe(MCIP);
  });
});
