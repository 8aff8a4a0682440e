import { describe, expect, it } from "vitest";
import { Status } from "../../engine/abi.js";
import { IF, world } from "./harness.js";

describe("the harness of the facts", () => {
  it("runs to labels, injects events and reads frames, registers and memory", () => {
    const w = world({ program: "start: mov $7, %ebx\nhere: nop\njmp here\n", idt: { nmi: { ist: 1 } } });
    w.run("here");
    expect(w.reg("rbx")).toBe(7n);
    const rsp = w.rsp;
    w.inject("nmi");
    expect(w.nmiPending).toBe(true);
    w.step();
    expect(w.delivered).toBe(2);
    expect(w.at).toBe("on_nmi");
    expect(w.frame()).toMatchObject({ rip: w.symbol("here"), cs: 0x10n, rsp, ss: 0x18n });
    expect(w.frame().flags & IF).toBe(IF);
    expect(w.rsp).toBe(w.symbol("ist1_stack_top") - 40n);
    w.run("here");
    expect(w.step()).toBe(Status.OK);
  });

  it("also makes 32-bit machines and programs at CPL 3", () => {
    const w = world({ mode: 32, cpl: 3, program: "again: nop\njmp again\n" });
    w.inject("intr");
    w.step();
    expect(w.at).toBe("on_intr");
    expect(w.frame()).toMatchObject({ rip: w.symbol("again"), cs: 0x73n, ss: 0x7bn });
    w.run("again");
    expect(w.cpl).toBe(3);
  });
});
