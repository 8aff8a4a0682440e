import { describe, expect, it } from "vitest";
import { push, USERLAND } from "./arrange.js";
import { AC, CF, DF, ID, IF, IOPL3, NT, RF, TF, VIF, VIP, VM, world, ZF } from "./harness.js";

const ALL = CF | ZF | TF | IF | DF | IOPL3 | NT | RF | VM | AC | VIF | VIP | ID | 2n;

describe("7. POPF and PUSHF", () => {
  it.each([
    ["popf", 64, 8],
    ["popfw", 64, 2],
    ["popf", 32, 4],
    ["popfw", 32, 2],
    ["rex.W popf", 64, 8],
  ] as const)("7.1 %s in %i-bit mode pops %i bytes", (spelling, mode, size) => {
    const code = spelling === "rex.W popf" ? ".byte 0x48, 0x9d" : spelling;
    const w = world({ mode, program: `go: ${code}\n` });
    const rsp = push(w, size, [2n]);
    w.step();
    expect(w.rsp - rsp).toBe(BigInt(size));
  });

  it.each([
    ["pushf", 64, 8],
    ["pushfw", 64, 2],
    ["pushf", 32, 4],
    ["pushfw", 32, 2],
  ] as const)("7.1 %s in %i-bit mode pushes %i bytes", (spelling, mode, size) => {
    const w = world({ mode, program: `go: ${spelling}\n` });
    const rsp = w.rsp;
    w.step();
    expect(rsp - w.rsp).toBe(BigInt(size));
  });

  describe("7.2 which flags POPF writes", () => {
    it.each([
      ["CPL 0: all but RF (which goes), VM, VIF, VIP", "popf", 64, 0, 2n, ALL & ~(RF | VM | VIF | VIP)],
      ["CPL 0, 32-bit", "popf", 32, 0, 2n, ALL & ~(RF | VM | VIF | VIP)],
      ["CPL 3, IOPL 0: IOPL and IF are kept, silently", "popf", 64, 3, 2n, ALL & ~(RF | VM | VIF | VIP | IF | IOPL3)],
      ["CPL 3, IOPL 3: IF is written", "popf", 64, 3, 2n | IOPL3, ALL & ~(RF | VM | VIF | VIP)],
      ["16-bit: the upper half is kept", "popfw", 64, 0, 2n | AC | ID, (ALL & 0xffffn) | AC | ID],
    ] as const)("%s", (_, spelling, mode, cpl, before, after) => {
      const w = world({ mode, cpl, program: `go: ${spelling}\n` });
      w.set("rflags", before);
      push(w, spelling === "popfw" ? 2 : mode === 64 ? 8 : 4, [ALL]);
      w.step();
      expect(w.flags.toString(16)).toBe(after.toString(16));
    });

    it("clears what the image has clear, but not VIF and VIP", () => {
      const w = world({ program: "go: popf\n" });
      w.set("rflags", 2n | CF | DF | IF | AC | VIF | VIP);
      push(w, 8, [0n]);
      w.step();
      expect(w.flags).toBe(2n | VIF | VIP);
    });
  });

  it("7.3 TF set by POPF traps after the next instruction", () => {
    const w = world({ program: "go: popf\nnext: nop\nthen: nop\n" });
    push(w, 8, [2n | TF]);
    expect(w.trail(3)).toEqual(["go", "next", "#1"]);
    expect(w.near(w.frame().rip)).toBe("then");
  });

  it("7.3 POPF that clears TF still traps once after itself, with TF=0 in the image", () => {
    const w = world({ program: "go: popf\nnext: nop\n" });
    w.set("rflags", 2n | TF);
    push(w, 8, [2n]);
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([w.near(w.frame().rip), w.frame().flags & TF]).toEqual(["next", 0n]);
  });

  it("7.4 POPF(TF=1); MOV SS; X traps after X", () => {
    const w = world({ program: "mov $0x18, %eax\ngo: popf\nload: mov %eax, %ss\nx: nop\nthen: nop\n" });
    w.run("go");
    push(w, 8, [2n | TF]);
    expect(w.trail(4)).toEqual(["go", "load", "x", "#1"]);
    expect(w.near(w.frame().rip)).toBe("then");
  });

  it("7.5 POPF that sets IF opens no shadow", () => {
    const w = world({ program: "go: popf\nnext: nop\n" });
    w.set("rflags", 2n);
    push(w, 8, [2n | IF]);
    w.inject("intr");
    expect(w.trail(2)).toEqual(["go", "#32"]);
    expect(w.near(w.frame().rip)).toBe("next");
  });

  it("7.6 PUSHF shows VM and RF as zero and the rest as it is", () => {
    const w = world({ program: "go: pushf\n" });
    const shown = CF | ZF | IF | DF | IOPL3 | NT | AC | VIF | VIP | ID | TF | 2n;
    w.set("rflags", shown | RF);
    w.step();
    expect(w.read(w.rsp)).toBe(shown);
  });

  it("7.7 popf; ret: an interrupt fits between the two", () => {
    const w = world({ program: "go: popf\nback: ret\ntarget: nop\n" });
    w.set("rflags", 2n);
    push(w, 8, [2n | IF, w.symbol("target")]);
    w.inject("intr");
    expect(w.trail(2)).toEqual(["go", "#32"]);
    expect(w.near(w.frame().rip)).toBe("back");
  });

  it("7.7 popf; ret with TF traps at the target, one instruction earlier than IRET would", () => {
    const w = world({ program: "go: popf\nback: ret\ntarget: nop\n" });
    push(w, 8, [2n | TF, w.symbol("target")]);
    expect(w.trail(3)).toEqual(["go", "back", "#1"]);
    expect(w.near(w.frame().rip)).toBe("target");
  });

  it("7.7 popf; ret cannot restore RF", () => {
    const w = world({ program: "go: popf\nback: ret\ntarget: nop\n" });
    w.set("dr0", w.symbol("target"));
    w.set("dr7", 0x401n);
    push(w, 8, [2n | RF, w.symbol("target")]);
    expect(w.trail(3)).toEqual(["go", "back", "#1"]);
  });

  it("7.8 an NMI comes between POPF and RET unless NMIs are blocked", () => {
    const setup = {
      program: "go: popf\nback: ret\ntarget: nop\n",
      kernel: "on_nmi: nop\nhlt\n",
      idt: { nmi: { ist: 1 } },
      memory: USERLAND,
    };
    const open = world(setup);
    push(open, 8, [2n, open.symbol("target")]);
    open.step();
    open.inject("nmi");
    open.step();
    expect([open.delivered, open.near(open.frame().rip)]).toEqual([2, "back"]);

    const blocked = world(setup);
    blocked.inject("nmi");
    blocked.step();
    blocked.set("rip", blocked.symbol("go"));
    push(blocked, 8, [2n, blocked.symbol("target")]);
    blocked.inject("nmi");
    expect(blocked.trail(3)).toEqual(["go", "back", "target"]);
  });
});
