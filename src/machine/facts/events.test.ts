// Facts 1.x: event sources and their priority at a boundary.

import { describe, expect, it } from "vitest";
import { Status } from "../../engine/abi.js";
import { IF, RF, TF, type World, world } from "./harness.js";

const SPIN = "again: nop\nnext: nop\njmp again";
const EXECUTE_0 = 0x401n; // DR7: breakpoint 0, on execution
const BAD = 0xffff_c900_0000_0000n;

/** Steps over one instruction with TF set, so that its trap is pending. */
function withTrapPending(w: World): void {
  w.set("rflags", w.flags | TF);
  w.step();
}

describe("1 event sources and priority", () => {
  it("1.1 #MC comes before a pending debug trap, NMI and INTR", () => {
    const w = world({ program: SPIN });
    withTrapPending(w);
    w.inject("nmi");
    w.inject("intr");
    w.inject("mce");
    expect(w.delivered).toBe(18);
    expect(w.frame().rip).toBe(w.symbol("next"));
  });

  it("1.1 traps of the instruction before come before NMI", () => {
    const w = world({ program: SPIN });
    withTrapPending(w);
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(1);
  });

  it("1.1 NMI comes before INTR", () => {
    const w = world({ program: SPIN });
    w.inject("intr");
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(2);
    expect(w.frame().rip).toBe(w.symbol("again"));
  });

  it.each([
    ["nmi", 2],
    ["intr", 0x20],
  ])("1.1 1.2 %s comes before a code breakpoint of the next instruction, which re-arises after the return", (event, vector) => {
    const w = world({ program: SPIN, registers: { dr0: "again", dr7: EXECUTE_0 } });
    w.inject(event);
    expect(w.untilDelivery()).toBe(vector);
    expect(w.untilDelivery()).toBe(1);
    expect(w.frame().rip).toBe(w.symbol("again"));
  });

  it("1.1 a code breakpoint comes before the fetch fault of the same instruction", () => {
    const w = world({
      program: "movabs $0xffffc90000000000, %rax\njmp *%rax",
      registers: { dr0: BAD, dr7: EXECUTE_0 },
      kernel: "on_db: orl $0x10000, 16(%rsp)\niretq",
    });
    expect(w.untilDelivery()).toBe(1);
    expect(w.frame().rip).toBe(BAD);
    expect(w.untilDelivery()).toBe(14);
    expect(w.frame({ error: true }).rip).toBe(BAD);
    expect(w.reg("cr2")).toBe(BAD);
  });

  it("1.1 fetch faults come before decode faults: an instruction that crosses into an unmapped page is #PF there", () => {
    const w = world({
      memory: { edge: { size: 4096, executable: true, address: 0xffff_8880_1000_0000n } },
    });
    w.write("edge+4095", 0x0fn, 1);
    w.set("rip", w.symbol("edge+4095"));
    expect(w.untilDelivery()).toBe(14);
    expect(w.reg("cr2")).toBe(w.symbol("edge+4096"));
    expect(w.frame({ error: true })).toMatchObject({ rip: w.symbol("edge+4095"), error: 0x10n });
  });

  it("1.1 decode faults come before execution faults: LOCK MOV to an unmapped address is #UD", () => {
    const w = world({ program: "xor %eax, %eax\n.byte 0xf0, 0x89, 0x00" });
    expect(w.untilDelivery()).toBe(6);
  });

  it("1.2 an interrupt that loses stays pending", () => {
    const w = world({ program: SPIN });
    w.inject("intr");
    w.inject("nmi");
    expect(w.trail(4)).toEqual(["#2", "on_nmi", "on_nmi+1", "#32"]);
  });

  it("1.2 an exception that loses to #MC is dropped", () => {
    const w = world({ program: SPIN });
    withTrapPending(w);
    w.inject("mce");
    expect(w.trail(2)).toEqual(["on_mc", "on_mc+1"]);
  });

  it("1.5 #DB of TF is delivered first, INTR then before the handler's first instruction, if the gate left IF set", () => {
    const w = world({ program: SPIN, idt: { db: { type: "trap" } } });
    withTrapPending(w);
    w.inject("intr");
    expect(w.trail(2)).toEqual(["#1", "#32"]);
    expect(w.frame().rip).toBe(w.symbol("on_db"));
  });

  it("1.5 an interrupt gate stops INTR but not NMI", () => {
    const w = world({ program: SPIN });
    withTrapPending(w);
    w.inject("intr");
    w.inject("nmi");
    expect(w.trail(4)).toEqual(["#1", "#2", "on_nmi", "on_nmi+1"]);
    expect(w.at).toBe("on_db");
    expect(w.trail(2)).toEqual(["on_db", "on_db+1"]);
  });

  it("1.6 an NMI wins at the boundary before a faulting instruction", () => {
    const w = world({ program: "xor %eax, %eax\nload: mov (%rax), %rax" });
    w.run("load").inject("nmi");
    expect(w.untilDelivery()).toBe(2);
    expect(w.frame().rip).toBe(w.symbol("load"));
    expect(w.untilDelivery()).toBe(14);
  });

  it("1.6 an NMI after the fault arrives at the fault handler's first instruction, its frame and CR2 intact", () => {
    const w = world({ program: "mov $0x1234, %eax\nload: mov (%rax), %rax" });
    expect(w.untilDelivery()).toBe(14);
    const fault = w.rsp;
    w.inject("nmi");
    expect(w.untilDelivery()).toBe(2);
    expect(w.frame()).toMatchObject({ rip: w.symbol("on_pf"), rsp: fault });
    expect(w.frame({ at: fault, error: true }).rip).toBe(w.symbol("load"));
    expect(w.reg("cr2")).toBe(0x1234n);
  });

  it("1.8 REP has a boundary after each iteration, with RIP at the instruction and counters updated", () => {
    const w = world({
      program: "mov $3, %ecx\nlea buffer(%rip), %rdi\nfill: rep stosb\nafter: nop",
      kernel: ".data\nbuffer: .skip 16\n.text\n",
    });
    w.run("fill");
    for (const left of [3n, 2n, 1n]) {
      expect(w.at).toBe("fill");
      expect(w.reg("rcx")).toBe(left);
      w.inject("nmi");
      expect(w.untilDelivery()).toBe(2);
      expect(w.frame().rip).toBe(w.symbol("fill"));
      w.run("fill");
      w.step();
    }
    expect(w.at).toBe("after");
    expect(w.reg("rcx")).toBe(0n);
    expect(w.reg("rdi")).toBe(w.symbol("buffer+3"));
  });

  it("1.8 TF over REP with RCX=3 traps at the REP twice, then after it", () => {
    const w = world({
      program: "mov $3, %ecx\nlea buffer(%rip), %rdi\nfill: rep stosb\nafter: nop",
      kernel: ".data\nbuffer: .skip 16\n.text\n",
    });
    w.run("fill");
    w.set("rflags", w.flags | TF);
    const rips = [];
    for (let n = 0; n < 3; n++) {
      expect(w.untilDelivery()).toBe(1);
      rips.push(w.near(w.frame().rip));
    }
    expect(rips).toEqual(["fill", "fill", "after"]);
  });

  it.each([
    ["intr", 0x20],
    ["nmi", 2],
    ["mce", 18],
  ])("1.10 HLT wakes on %s, with RIP after it", (event, vector) => {
    const w = world({ program: "hlt\nafter: nop" });
    expect(w.step()).toBe(Status.OK);
    expect(w.halted).toBe(true);
    expect(w.step()).toBe(Status.STOPPED);
    w.inject(event);
    if (w.delivered < 0) w.step();
    expect(w.delivered).toBe(vector);
    expect(w.frame().rip).toBe(w.symbol("after"));
    expect(w.halted).toBe(false);
    expect(w.run("after").halted).toBe(false);
  });

  it("1.10 HLT stepped with TF wakes with #DB", () => {
    const w = world({ program: "hlt\nafter: nop" });
    w.set("rflags", w.flags | TF);
    expect(w.untilDelivery()).toBe(1);
    expect(w.frame().rip).toBe(w.symbol("after"));
  });

  it("1.10 HLT is not woken by INTR with IF=0", () => {
    const w = world({ program: "cli\nhlt\nafter: nop" });
    w.step(2);
    w.inject("intr");
    expect(w.step()).toBe(Status.STOPPED);
  });

  it("1.10 HLT is not woken by an NMI that is blocked", () => {
    const w = world({ program: SPIN, kernel: "on_nmi: hlt\nnop\niretq" });
    w.inject("nmi");
    w.step(2);
    w.inject("nmi");
    expect(w.halted).toBe(true);
    expect(w.step()).toBe(Status.STOPPED);
    expect(w.nmiPending).toBe(true);
  });

  it("1.1 10.1 an SMI is not in the model, and is said to be so", () => {
    const w = world({ program: SPIN, scenario: { events: { smi: "anywhere" } } });
    expect(w.inject("smi")).toBe(Status.UNSUPPORTED);
  });

  it("1.1 an instruction of more than 15 bytes is #GP, one of 15 is not", () => {
    const long = world({ program: `${".byte 0x66\n".repeat(15)}nop` });
    long.step();
    expect(long.delivered).toBe(13);
    const just = world({ program: `${".byte 0x66\n".repeat(14)}nop` });
    just.step();
    expect(just.delivered).toBe(-1);
  });

  it("1.1 4.17 a code breakpoint is looked for after RF, and RF is gone when the instruction has begun", () => {
    const w = world({ program: SPIN, registers: { dr0: "again", dr7: EXECUTE_0, rflags: IF | RF | 2n } });
    expect(w.trail(3)).toEqual(["again", "next", "next+1"]);
    expect(w.flags & RF).toBe(0n);
    expect(w.untilDelivery()).toBe(1);
  });
});
