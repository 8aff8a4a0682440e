import { describe, expect, it } from "vitest";
import { compatCode, enterCompat, fault, push, RW, segment, setEntry, USERLAND } from "./arrange.js";
import { CF, IF, RF, TF, type World, world } from "./harness.js";

const KERNEL = 0x10n;
const DATA = 0x18n;
const USER = 0x33n;
const USER_DATA = 0x2bn;

const at = (spelling: string, setup: Parameters<typeof world>[0] = {}) =>
  world({ program: `go: ${spelling}\nafter: nop\nnop\nnop\n`, memory: USERLAND, ...setup });

describe("7. RET", () => {
  it.each([
    ["ret", 8],
    ["ret $0x20", 0x28],
    ["retq", 8],
  ] as const)("7.9 %s in 64-bit mode pops a 64-bit RIP", (spelling, moved) => {
    const w = at(spelling);
    const rsp = push(w, 8, [w.symbol("after")]);
    w.step();
    expect([w.at, w.rsp - rsp]).toEqual(["after", BigInt(moved)]);
  });

  it.each([
    ["intel", (w: World) => w.symbol("after"), 8n],
    ["amd", (w: World) => w.symbol("after") & 0xffffn, 2n],
  ] as const)("7.9 66 RET in 64-bit mode (%s)", (cpu, target, moved) => {
    const w = at(".byte 0x66, 0xc3", { cpu });
    const rsp = push(w, 8, [w.symbol("after")]);
    w.step();
    expect([w.rip, w.rsp - rsp]).toEqual([target(w), moved]);
  });

  it("7.9 in 32-bit mode RET pops 4 bytes, and 66 RET 2", () => {
    const w = world({ mode: 32, program: "go: ret\nafter: nop\n" });
    const rsp = push(w, 4, [w.symbol("after")]);
    w.step();
    expect([w.at, w.rsp - rsp]).toEqual(["after", 4n]);
    const short = world({ mode: 32, program: "go: .byte 0x66, 0xc3\n" });
    const esp = push(short, 4, [0x1234_5678n]);
    short.step();
    expect([short.rip, short.rsp - esp]).toEqual([0x5678n, 2n]);
  });

  it("7.9 a non-canonical target is #GP(0) at the RET, with RSP not advanced", () => {
    const w = at("ret");
    const rsp = push(w, 8, [0x8000_0000_0000_0000n]);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go", frame: { rsp } });
  });
});

describe("7. RETF", () => {
  it.each([
    ["lret", 4, 8],
    ["lretq", 8, 16],
    ["lretw", 2, 4],
    ["lretq $0x20", 8, 0x30],
    ["lret $0x20", 4, 0x28],
  ] as const)("7.10 %s pops words of %i bytes; RSP moves by %i, the immediate after the pops", (spelling, size, moved) => {
    const w = at(spelling);
    const rsp = push(w, size, [0x8123n, KERNEL]);
    w.step();
    expect([w.rip, w.rsp - rsp]).toEqual([0x8123n, BigInt(moved)]);
  });

  it("7.10 the default 32-bit form zero-extends RIP", () => {
    const w = at("lret");
    push(w, 4, [w.symbol("after"), KERNEL]);
    w.step();
    expect(w.rip).toBe(w.symbol("after") & 0xffff_ffffn);
  });

  it("7.11 within a privilege level only RIP and CS are popped, also in 64-bit mode", () => {
    const w = at("lretq $16");
    const rsp = push(w, 8, [w.symbol("after"), KERNEL, 0x1111n, 0x2222n]);
    w.step();
    expect([w.at, w.rsp, w.reg("ss")]).toEqual(["after", rsp + 32n, DATA]);
  });

  it("7.12 to an outer level the immediate comes before SS:RSP, and again after it", () => {
    const w = at("lretq $0x20");
    segment(w, "ds", 0x18n, 0xc93n);
    push(w, 8, [w.symbol("user_target"), USER, 1n, 2n, 3n, 4n, 0x5000n, USER_DATA]);
    w.step();
    expect([w.cpl, w.at, w.rsp, w.reg("ss")]).toEqual([3, "user_target", 0x5020n, USER_DATA]);
    expect(w.reg("ds")).toBe(0n); // as with IRET (6.12)
  });

  it.each([
    ["null to CPL 3", 0n, 13, 0n],
    ["RPL is not that of CS", 0x28n, 13, 0x28n],
    ["DPL is not the target's", 0x1bn, 13, 0x18n],
    ["a code segment", 0x33n, 13, 0x30n],
    ["not present", 0x5bn, 12, 0x58n],
  ] as const)("7.12 SS checks as with IRET: %s", (_, ss, vector, error) => {
    const w = at("lretq");
    w.descriptor(0x58, 0x72, 0xc);
    const rsp = push(w, 8, [w.symbol("user_target"), USER, 0x5000n, ss]);
    expect(fault(w)).toMatchObject({ vector, error, at: "go", frame: { rsp, cs: KERNEL } });
  });

  it.each([
    ["null", 0, 0n, 0n, 13, 0n],
    ["inward", 3, 0n, 0x10n, 13, 0x10n],
    ["a data segment", 0, 0n, 0x18n, 13, 0x18n],
    ["L and D both set", 0, 0n, 0x58n, 13, 0x58n],
    ["not present", 0, 0n, 0x60n, 11, 0x60n],
    ["non-canonical RIP", 0, 1n << 47n, 0x33n, 13, 0n],
  ] as const)("7.13 CS checks: %s", (_, cpl, rip, selector, vector, error) => {
    const w = at("lretq", { cpl });
    w.descriptor(0x58, 0x9a, 0xe);
    w.descriptor(0x60, 0x1a);
    const rsp = push(w, 8, [rip, selector, 0x5000n, USER_DATA]);
    expect(fault(w)).toMatchObject({ vector, error, at: "go", frame: { rsp, cs: cpl === 0 ? KERNEL : USER } });
  });

  it("7.13 upper bits of a 64-bit CS slot are ignored", () => {
    const w = at("lretq");
    push(w, 8, [w.symbol("after"), (0xabcdn << 48n) | KERNEL]);
    w.step();
    expect([w.at, w.reg("cs")]).toEqual(["after", KERNEL]);
  });

  it("7.14 RETF changes no flag and no NMI state and opens no shadow", () => {
    const w = at("lretq", { kernel: "on_nmi: nop\nhlt\n", idt: { nmi: { ist: 1 } } });
    w.inject("nmi");
    w.step();
    w.set("rip", w.symbol("go"));
    w.set("rflags", 2n | CF | IF);
    push(w, 8, [w.symbol("after"), KERNEL]);
    w.step();
    expect([w.nmiBlocked, w.flags, w.shadowSs, w.shadowSti]).toEqual([true, 2n | CF | IF, false, false]);
  });

  it("7.15 RETF to a compatibility segment of the same CPL switches mode, and back", () => {
    const memory = compatCode("in32: nop\nback: ljmp $0x10, $landing\nlanding: nop\n");
    const w = at("lretq", { memory });
    const rsp = push(w, 8, [w.symbol("in32"), 0x08n]);
    w.step();
    expect([w.at, w.reg("cs"), w.machine.mode(), w.rsp]).toEqual(["in32", 0x08n, 32, rsp + 16n]);
    w.step(2);
    expect([w.at, w.reg("cs"), w.machine.mode()]).toEqual(["landing", KERNEL, 64]);
  });

  it("7.15 RETF in compatibility mode pops EIP and CS and may enter 64-bit mode", () => {
    const w = at("nop", { memory: compatCode("go32: lret\nlanding: nop\n") });
    enterCompat(w, "go32");
    const rsp = push(w, 4, [w.symbol("landing"), KERNEL]);
    w.step();
    expect([w.at, w.machine.mode(), w.rsp]).toEqual(["landing", 64, rsp + 8n]);
  });

  it("7.13 an accessed bit that cannot be written faults before anything is committed", () => {
    const w = at("lretq");
    w.descriptor(0x50, 0x9a);
    setEntry(w, w.reg("gdtr_base"), (old) => old & ~RW);
    const rsp = push(w, 8, [w.symbol("after"), 0x50n]);
    expect(fault(w)).toMatchObject({ vector: 14, error: 3n, at: "go", frame: { rsp, cs: KERNEL } });
  });
});

describe("7.16 a same-CPL IRETQ rebuilt from POPFQ and RETFQ", () => {
  /** Interrupts the program at `here` with RSP 8 beyond a multiple of 16 (or on it); the handler returns as `lines` say. */
  const interrupted = (lines: string, odd: boolean, ist = 0) => {
    const program = `${odd ? "push $1\n" : "nop\n"}here: nop\nthen: nop\n`;
    const w = world({ program, kernel: `on_nmi: ${lines}\n`, idt: ist === 0 ? {} : { nmi: { ist } } }).run("here");
    const rsp = w.rsp;
    w.set("rflags", 0x46n);
    w.inject("nmi");
    w.step();
    return { w, rsp };
  };

  it.each([
    ["on an aligned stack it ends at the interrupted RSP", false, 0, 0n],
    ["otherwise 8 too low", true, 0, -8n],
  ] as const)("7.16a an in-place RETFQ with an immediate loads no RSP: %s", (_, odd, ist, off) => {
    const { w, rsp } = interrupted("lretq $24", odd, ist);
    // the frame is RIP, CS, RFLAGS, RSP, SS: 16 popped, 24 dropped
    w.run("here");
    expect(w.rsp - rsp).toBe(off);
  });

  it("7.16a with IST it ends on the wrong stack", () => {
    const { w } = interrupted("lretq $24", false, 1);
    w.run("here");
    expect(w.rsp).toBe(w.symbol("ist1_stack_top"));
  });

  const REBUILD = `
    mov 24(%rsp), %rax      # interrupted RSP
    mov (%rsp), %rcx
    mov 8(%rsp), %rdx
    mov 16(%rsp), %rbx
    mov %rbx, -24(%rax)
    mov %rcx, -16(%rax)
    mov %rdx, -8(%rax)
    lea -24(%rax), %rsp
switched: popfq
    lretq`;

  it.each([
    ["on the interrupted stack", 0],
    ["from an IST stack", 1],
  ] as const)("7.16b a copy just below the interrupted RSP returns exactly, NMIs still blocked: %s", (_, ist) => {
    const { w, rsp } = interrupted(REBUILD, true, ist);
    w.run("here");
    expect([w.rsp, w.flags, w.reg("cs"), w.nmiBlocked]).toEqual([rsp, 0x46n, KERNEL, true]);
  });

  it("7.16b the copy overlaps the frame it is read from", () => {
    const { w, rsp } = interrupted(REBUILD, false);
    const frame = w.rsp;
    expect(frame + 40n).toBe(rsp); // the copy takes [rsp - 24, rsp): the slots of RFLAGS, RSP and SS
    w.run("switched");
    expect(w.frame({ at: frame })).toMatchObject({ flags: 0x46n, rsp: w.symbol("here"), ss: KERNEL });
  });

  it("7.16c the copy destroys what lies below the interrupted RSP", () => {
    const { w, rsp } = interrupted(REBUILD, false, 1);
    w.write(rsp - 8n, 0xdeadn);
    w.run("here");
    expect(w.read(rsp - 8n)).toBe(KERNEL);
  });

  it("7.16d after the switch an event without IST pushes below the new RSP, over the old frame", () => {
    const { w } = interrupted(REBUILD, false);
    const frame = w.rsp;
    w.run("switched");
    const rsp = w.rsp;
    w.inject("mce");
    expect(w.delivered).toBe(18);
    expect(w.rsp).toBe((rsp & ~0xfn) - 40n);
    expect(w.rsp).toBeLessThan(frame);
    expect(w.read(frame)).not.toBe(w.symbol("here"));
  });

  it("7.16e 32-bit: no alignment and no SS:ESP; popf; lret needs EFLAGS first", () => {
    const w = world({
      mode: 32,
      program: "pushw $1\nhere: nop\n",
      kernel: "on_nmi: pushl 8(%esp)\npopf\nlret $4\n",
    }).run("here");
    const esp = w.rsp;
    w.set("rflags", 0x46n);
    w.inject("nmi");
    w.step();
    expect(w.rsp).toBe(esp - 12n);
    w.run("here");
    expect([w.rsp, w.flags, w.nmiBlocked]).toEqual([esp, 0x46n, true]);
  });

  it("7.16e with the same CS, {EFLAGS, EIP} and a near RET do", () => {
    const w = world({
      mode: 32,
      program: "here: nop\n",
      kernel: "on_nmi: pushl (%esp)\npushl 12(%esp)\npopf\nret $12\n",
    });
    const esp = w.rsp;
    w.set("rflags", 0x46n);
    w.inject("nmi");
    w.step();
    w.run("here");
    expect([w.rsp, w.flags & ~RF & ~TF]).toEqual([esp, 0x46n]);
  });
});
