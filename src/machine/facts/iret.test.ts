import { describe, expect, it } from "vitest";
import { compatCode, enterCompat, fault, push, RW, segment, setEntry, USERLAND } from "./arrange.js";
import { AC, CF, DF, ID, IF, IOPL3, NT, RF, TF, VIF, VIP, VM, type World, world, ZF } from "./harness.js";

/** A machine at `go:`, one IRET of this spelling, with kernel code behind it. */
const at = (spelling: string, setup: Parameters<typeof world>[0] = {}) =>
  world({ program: `go: ${spelling}\nafter: nop\nnop\nnop\n`, memory: USERLAND, ...setup });

const KERNEL = 0x10n;
const DATA = 0x18n;
const USER = 0x33n;
const USER_DATA = 0x2bn;

/** The five words of an IRETQ to user code. */
const toUser = (w: World, flags = 0x202n) => [
  w.symbol("user_target"),
  USER,
  flags,
  w.symbol("user_data") + 0x800n,
  USER_DATA,
];

const inKernel = (w: World, flags = 2n) => [w.symbol("after"), KERNEL, flags, w.rsp, DATA];

describe("6. IRET in IA-32e mode", () => {
  it.each([
    ["iretw", 2, 0x1234n],
    ["iretl", 4, 0x8123_4567n],
    ["iretq", 8, 0xffff_8000_1234_5678n],
  ] as const)("6.1 %s pops words of %i bytes and zero-extends RIP", (spelling, size, rip) => {
    const w = at(spelling);
    push(w, size, [rip, KERNEL, 2n, 0x5670n, DATA]);
    w.step();
    expect([w.rip, w.rsp, w.reg("cs"), w.reg("ss")]).toEqual([rip, 0x5670n, KERNEL, DATA]);
  });

  it.each([
    ["iretl", 4],
    ["iretq", 8],
  ] as const)("6.2 %s in 64-bit mode pops SS:RSP also when CPL does not change", (spelling, size) => {
    for (const [cpl, cs, ss] of [
      [0, KERNEL, DATA],
      [3, USER, USER_DATA],
    ] as const) {
      const w = at(spelling, { cpl });
      push(w, size, [0x1000n, cs, 2n, 0x77_0000n, ss]);
      w.step();
      expect([w.delivered, w.rip, w.rsp, w.reg("ss"), w.cpl]).toEqual([-1, 0x1000n, 0x77_0000n, ss, cpl]);
    }
  });

  it("6.3 from compatibility mode SS:ESP is popped only when CPL changes", () => {
    const memory = { ...USERLAND, ...compatCode("go32: iret\nafter32: nop\n") };
    const w = at("nop", { memory });
    enterCompat(w, "go32");
    const rsp = push(w, 4, [w.symbol("after32"), 0x08n, 2n, 0x1234n, 0n]);
    w.step();
    expect([w.rip, w.rsp, w.reg("ss")]).toEqual([w.symbol("after32"), rsp + 12n, DATA]);

    const outward = at("nop", { memory });
    enterCompat(outward, "go32");
    push(outward, 4, [outward.symbol("user_target"), 0x23n, 2n, 0x1234n, USER_DATA]);
    outward.step();
    expect([outward.cpl, outward.rsp, outward.reg("ss")]).toEqual([3, 0x1234n, USER_DATA]);
  });

  describe("6.4 the code segment's checks, in order", () => {
    it.each([
      ["null", 0, 0x0n, 13, 0n],
      ["null with an RPL", 0, 0x3n, 13, 0n],
      ["RPL below CPL", 3, 0x10n, 13, 0x10n],
      ["a data segment", 0, 0x18n, 13, 0x18n],
      ["beyond the table", 0, 0x7f8n, 13, 0x7f8n],
      ["an LDT that is not there", 0, 0xcn, 13, 0xcn],
      ["a system descriptor", 0, 0x40n, 13, 0x40n],
      ["nonconforming, DPL is not RPL", 0, 0x13n, 13, 0x10n],
      ["conforming, DPL above RPL", 0, 0x50n, 13, 0x50n],
      ["L and D both set", 0, 0x58n, 13, 0x58n],
      ["not present", 0, 0x60n, 11, 0x60n],
      ["not present, but L and D first", 0, 0x68n, 13, 0x68n],
    ] as const)("%s", (_, cpl, selector, vector, error) => {
      const w = at("iretq", { cpl });
      w.descriptor(0x50, 0xfe); // conforming, DPL 3
      w.descriptor(0x58, 0x9a, 0xe);
      w.descriptor(0x60, 0x1a);
      w.descriptor(0x68, 0x1a, 0xe);
      const rsp = push(w, 8, [w.symbol("after"), selector, 2n, 0x1000n, cpl === 0 ? DATA : USER_DATA]);
      expect(fault(w)).toMatchObject({ vector, error, at: "go", frame: { rsp } });
    });

    it("conforming, DPL at or below RPL, is taken at the old level", () => {
      const w = at("iretq", { cpl: 3 });
      w.descriptor(0x50, 0x9e);
      push(w, 8, [w.symbol("after"), 0x53n, 2n, 0x1000n, USER_DATA]);
      w.step();
      expect([w.delivered, w.cpl, w.reg("cs"), w.at]).toEqual([-1, 3, 0x53n, "after"]);
    });
  });

  describe("6.5 the stack segment's checks", () => {
    it.each([
      ["null to CPL 3", USER, 0n, 13, 0n],
      ["null with RPL 3 to CPL 3", USER, 3n, 13, 0n],
      ["null at CPL 0 with another RPL", KERNEL, 3n, 13, 0n],
      ["null to compatibility mode", 0x08n, 0n, 13, 0n],
      ["RPL is not that of CS", USER, 0x28n, 13, 0x28n],
      ["a code segment", USER, 0x33n, 13, 0x30n],
      ["read-only data", USER, 0x53n, 13, 0x50n],
      ["DPL is not the target's", USER, 0x1bn, 13, 0x18n],
      ["not present: #SS, not #NP", USER, 0x5bn, 12, 0x58n],
      ["beyond the table", USER, 0x7fbn, 13, 0x7f8n],
    ] as const)("%s", (_, cs, ss, vector, error) => {
      const w = at("iretq");
      w.descriptor(0x50, 0xf0, 0xc);
      w.descriptor(0x58, 0x72, 0xc);
      const rsp = push(w, 8, [0x1000n, cs, 2n, 0x1000n, ss]);
      expect(fault(w)).toMatchObject({ vector, error, at: "go", frame: { rsp, cs: KERNEL } });
    });

    it("null is allowed in 64-bit mode below CPL 3 with the target's RPL", () => {
      const w = at("iretq");
      push(w, 8, [w.symbol("after"), KERNEL, 2n, 0x1000n, 0n]);
      w.step();
      expect([w.delivered, w.reg("ss"), w.at]).toEqual([-1, 0n, "after"]);
    });
  });

  it("6.6 a non-canonical RIP is #GP(0) at the old CPL, with RSP at the frame", () => {
    const w = at("iretq");
    const [, ...rest] = toUser(w);
    const rsp = push(w, 8, [0x8000_0000_0000n, ...rest]);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go", frame: { rsp, cs: KERNEL, ss: DATA } });
  });

  it("6.6 an EIP beyond the limit of a compatibility segment is #GP(0) at the old CPL", () => {
    const w = at("iretq");
    w.descriptor(0x50, 0xfa, 0x4, 0n, 0xfffn); // 32-bit code of 4 KiB
    push(w, 8, [0x1000n, 0x53n, 2n, 0x1000n, USER_DATA]);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go", frame: { cs: KERNEL } });
  });

  it("6.7 RSP is not checked; upper bits of the CS and SS slots and of RFLAGS are ignored", () => {
    const w = at("iretq");
    const junk = 0xabcd_ef01_2345_0000n;
    push(w, 8, [
      w.symbol("user_target"),
      junk | USER,
      (0xffff_ffffn << 32n) | 0x202n,
      0x1234_5678_9abc_def0n,
      junk | USER_DATA,
    ]);
    w.step();
    expect([w.rsp, w.reg("cs"), w.reg("ss"), w.flags]).toEqual([0x1234_5678_9abc_def0n, USER, USER_DATA, 0x202n]);
  });

  it.each([
    ["intel", false],
    ["amd", true],
  ] as const)("6.8, 2.6 a faulting IRET changes nothing but NMI blocking (%s)", (cpu, blocked) => {
    const w = at("iretq", { cpu, idt: { nmi: { ist: 1 } }, kernel: "on_nmi: nop\nhlt\n" });
    w.inject("nmi");
    w.step();
    expect(w.nmiBlocked).toBe(true);
    w.set("rip", w.symbol("go"));
    const rsp = push(w, 8, [0x1000n, USER, 0x202n, 0x1000n, 0n]);
    const before = ["rax", "rsi", "cs", "ss", "ds", "gs_base", "cr2"].map((name) => w.reg(name));
    expect(fault(w)).toMatchObject({ vector: 13, frame: { rsp, cs: KERNEL } });
    expect(w.nmiBlocked).toBe(blocked);
    expect(["rax", "rsi", "cs", "ss", "ds", "gs_base", "cr2"].map((name) => w.reg(name))).toEqual(before);
  });

  it.each([["intel"], ["amd"]] as const)("2.5, 2.6 an IRET that completes unblocks NMIs (%s)", (cpu) => {
    const w = at("iretq", { cpu, idt: { nmi: { ist: 1 } } });
    w.inject("nmi");
    w.run("go");
    expect(w.nmiBlocked).toBe(false);
  });

  it("6.8 an accessed bit that cannot be written faults before anything is committed", () => {
    const w = at("iretq");
    w.descriptor(0x50, 0xfa); // not accessed
    const gdt = w.reg("gdtr_base");
    const rsp = push(w, 8, [w.symbol("user_target"), 0x53n, 0x202n, w.symbol("user_data"), USER_DATA]);
    readOnly(w, gdt);
    expect(fault(w)).toMatchObject({ vector: 14, error: 3n, at: "go", frame: { rsp, cs: KERNEL, ss: DATA } });
    expect(w.reg("cr2")).toBe(gdt + 0x55n);
  });

  describe("6.9 flags come from the image, by size and by the CPL before", () => {
    const all = CF | ZF | TF | IF | DF | IOPL3 | NT | RF | VM | AC | VIF | VIP | ID | 2n;
    it.each([
      ["iretq at CPL 0: all but VM", "iretq", 8, 0, 2n, all & ~VM],
      ["iretl at CPL 0: all but VM", "iretl", 4, 0, 2n, all & ~VM],
      ["iretw at CPL 0: the low half only", "iretw", 2, 0, 2n, all & 0xffffn],
      ["iretq at CPL 3, IOPL 0: not IF, IOPL, VIF, VIP", "iretq", 8, 3, 2n, all & ~(VM | IF | IOPL3 | VIF | VIP)],
      ["iretq at CPL 3, IOPL 3: IF too", "iretq", 8, 3, 2n | IOPL3, all & ~(VM | VIF | VIP)],
    ] as const)("%s", (_, spelling, size, cpl, before, after) => {
      const w = at(spelling, { cpl });
      w.set("rflags", before);
      push(w, size, [0x1000n, cpl === 0 ? KERNEL : USER, all, 0x1000n, cpl === 0 ? DATA : USER_DATA]);
      w.step();
      expect(w.flags.toString(16)).toBe(after.toString(16));
    });

    it("16-bit IRET leaves AC and ID as they were", () => {
      const w = at("iretw");
      w.set("rflags", AC | ID | 2n);
      push(w, 2, [0x1000n, KERNEL, 2n, 0x1000n, DATA]);
      w.step();
      expect(w.flags).toBe(AC | ID | 2n);
    });

    it("clears what the image has clear, and to CPL 3 counts as CPL 0", () => {
      const w = at("iretq");
      w.set("rflags", 2n | CF | DF | IF | AC);
      push(w, 8, toUser(w, 2n | IOPL3 | ZF));
      w.step();
      expect([w.cpl, w.flags]).toEqual([3, 2n | IOPL3 | ZF]);
    });
  });

  it("6.10 TF of the image traps after the first instruction at the target", () => {
    const w = at("iretq");
    push(w, 8, inKernel(w, 2n | TF));
    expect(w.trail(3)).toEqual(["go", "after", "#1"]);
    expect(w.near(w.frame().rip)).toBe("after+1");
  });

  it.each([
    ["iretq sets RF: one code breakpoint at the target is suppressed", "iretq", 8, -1],
    ["iretw cannot set RF", "iretw", 2, 1],
  ] as const)("6.11 %s", (_, spelling, size, vector) => {
    const w = at(spelling, {
      memory: { low: { size: 4096n, address: 0x1000n, executable: true, data: "landing: nop\n" } },
    });
    w.set("dr0", 0x1000n);
    w.set("dr7", 0x401n);
    push(w, size, [0x1000n, KERNEL, 2n | RF, w.symbol("low") + 0xff0n, DATA]);
    w.step(2);
    expect(w.delivered).toBe(vector);
  });

  it.each([
    ["intel", 0n],
    ["amd", 0x1234_5000n],
  ] as const)("6.12 an outward return nulls segments of inner DPL; the base of FS (%s)", (cpu, base) => {
    const w = at("iretq", { cpu });
    segment(w, "ds", 0x18n, 0xc93n);
    segment(w, "es", 0x2bn, 0xcf3n);
    segment(w, "fs", 0x18n, 0xc93n, 0x1234_5000n);
    segment(w, "gs", 0n, 0x1000n, 0x7777n);
    push(w, 8, toUser(w));
    w.step();
    expect(["ds", "es", "fs", "gs"].map((name) => w.reg(name))).toEqual([0n, 0x2bn, 0n, 0n]);
    expect([w.reg("fs_base"), w.reg("gs_base")]).toEqual([base, 0x7777n]); // GS was null before: untouched
  });

  it("6.12 conforming code stays, and so does everything when CPL does not change", () => {
    const w = at("iretq");
    segment(w, "ds", 0x50n, 0xa9fn);
    push(w, 8, toUser(w));
    w.step();
    expect(w.reg("ds")).toBe(0x50n);
    const same = at("iretq");
    segment(same, "ds", 0x18n, 0xc93n);
    push(same, 8, inKernel(same));
    same.step();
    expect(same.reg("ds")).toBe(DATA);
  });

  it("6.13 a 16-bit SS takes SP only: the rest of the kernel's RSP leaks", () => {
    const w = at("iretq");
    w.descriptor(0x50, 0xf2, 0x0, 0n, 0xffffn);
    const rsp = push(w, 8, [w.symbol("user_target"), 0x23n, 0x202n, 0x1234_5678n, 0x53n]);
    w.step();
    expect([w.cpl, w.rsp]).toEqual([3, (rsp & ~0xffffn) | 0x5678n]);
  });

  it("6.16 IF loaded by IRET opens no shadow: INTR comes at the target's first boundary, and so does a pending NMI", () => {
    const w = at("iretq");
    w.set("rflags", 2n);
    w.inject("intr");
    push(w, 8, toUser(w, 0x202n));
    expect(w.trail(2)).toEqual(["go", "#32"]);
    expect(w.near(w.frame().rip)).toBe("user_target");

    const nmi = at("iretq", { idt: { nmi: { ist: 1 } }, kernel: "on_nmi: nop\nhlt\n" });
    nmi.inject("nmi");
    nmi.step();
    nmi.inject("nmi");
    nmi.set("rip", nmi.symbol("go"));
    push(nmi, 8, toUser(nmi));
    expect(nmi.trail(2)).toEqual(["go", "#2"]);
    expect(nmi.frame()).toMatchObject({ rip: nmi.symbol("user_target"), cs: USER });
  });
});

/** Takes write permission from the page of an address. */
function readOnly(w: World, address: bigint): void {
  setEntry(w, address, (old) => old & ~RW);
}
