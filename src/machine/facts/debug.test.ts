import { describe, expect, it } from "vitest";
import { fault, push, USERLAND } from "./arrange.js";
import { CF, RF, type Setup, TF, type World, world } from "./harness.js";

const EXECUTE = 0n;
const WRITE = 1n;
const PORT = 2n;
const ACCESS = 3n;
const BD = 0x2000n;
const BS = 0x4000n;
const GD = 0x2000n;
const DR6_INIT = 0xffff_0ff0n;
const LENGTH: Readonly<Record<number, bigint>> = { 1: 0n, 2: 1n, 4: 3n, 8: 2n };

/** Arms breakpoint n. */
function arm(w: World, n: 0 | 1 | 2 | 3, address: bigint, kind: bigint, size: 1 | 2 | 4 | 8 = 1, enabled = true): void {
  w.set(`dr${n}`, address);
  const bits = (enabled ? 1n << BigInt(2 * n) : 0n) | ((kind | ((LENGTH[size] ?? 0n) << 2n)) << BigInt(16 + 4 * n));
  w.set("dr7", w.reg("dr7") | 0x400n | bits);
}

const stepping = (program: string, setup: Setup = {}) => {
  const w = world({ program, memory: USERLAND, ...setup });
  w.set("rflags", w.flags | TF);
  return w;
};

/** Address that the #DB handler returns to, as a label. */
const savedAt = (w: World) => w.near(w.frame().rip);

const watched = { area: { size: 64n } };
const LOAD_AREA = "movabs $area, %rbx\n";

describe("8. single step", () => {
  it("8.1 #DB comes after an instruction that began with TF, as a trap with BS", () => {
    const w = stepping("go: nop\nthen: nop\n");
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.reg("dr6"), w.frame().flags & TF, w.flags & TF]).toEqual(["then", DR6_INIT | BS, TF, 0n]);
  });

  it("8.1 not after the instruction that sets TF", () => {
    const w = world({ program: "go: popf\nnext: nop\n" });
    push(w, 8, [2n | TF]);
    expect(w.trail(3)).toEqual(["go", "next", "#1"]);
  });

  it.each([
    ["int $0x20", 32],
    ["int3", 3],
    [".byte 0xcd, 3", 3],
  ] as const)("8.2 %s clears TF: its handler is not stepped, and the next #DB comes one instruction after the return", (spelling, vector) => {
    const w = stepping(`go: ${spelling}\nafter: nop\nthen: nop\n`);
    const name = vector === 32 ? "on_intr" : "on_bp";
    expect(w.trail(5)).toEqual(["go", `#${vector}`, name, `${name}+1`, "after", "#1"]);
    expect(savedAt(w)).toBe("then");
  });

  it("8.2 INTO likewise, in 32-bit mode; without overflow it is stepped like any other", () => {
    const w = stepping("go: into\nafter: nop\n", { mode: 32 });
    w.set("rflags", w.flags | 0x800n);
    expect(w.trail(4)).toEqual(["go", "#4", "on_of", "on_of+1", "after"]);
    const calm = stepping("go: into\nafter: nop\n", { mode: 32 });
    expect(calm.trail(2)).toEqual(["go", "#1"]);
  });

  it("8.3 a fault of the stepped instruction takes its trap away; the image keeps TF", () => {
    const w = stepping("go: ud2\n");
    expect(w.trail(2)).toEqual(["go", "#6", "on_ud"]);
    const again = stepping("go: ud2\n");
    again.step();
    expect([savedAt(again), again.frame().flags & TF]).toEqual(["go", TF]);
  });

  it("8.3 also when the fault is one of the fetch", () => {
    const w = stepping("go: jmp *%rax\n");
    w.set("rax", 0x1234_5000n);
    // the jump itself is stepped: its trap comes first (1.1), then the fetch faults when the handler returns
    expect(w.trail(2)).toEqual(["go", "#1"]);
  });

  it.each([
    ["ret", (w: World) => push(w, 8, [w.symbol("target")])],
    ["lretq", (w: World) => push(w, 8, [w.symbol("target"), 0x10n])],
    ["jmp target", () => 0n],
  ] as const)("8.13 %s with TF traps at its target before the first instruction there", (spelling, prepare) => {
    const w = stepping(`go: ${spelling}\nnop\ntarget: nop\n`);
    prepare(w);
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect(savedAt(w)).toBe("target");
  });

  it("8.13 IRET with TF set before it traps at its target too", () => {
    const w = stepping("go: iretq\nnop\ntarget: nop\n");
    push(w, 8, [w.symbol("target"), 0x10n, 2n, w.rsp, 0x18n]);
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.frame().flags & TF]).toEqual(["target", 0n]);
  });

  it("8.14 SYSCALL: FMASK.TF=1 means no #DB at the kernel's entry", () => {
    const w = stepping("go: syscall\n", { cpl: 3, kernel: "entry: nop\nhlt\n", tables: { syscall: "entry" } });
    expect(w.trail(2)).toEqual(["go", "entry"]);
  });

  it("8.14 SYSCALL: with TF left by FMASK the #DB comes at the kernel's entry", () => {
    const w = stepping("go: syscall\n", {
      cpl: 3,
      kernel: "entry: nop\nhlt\n",
      tables: { syscall: "entry", fmask: 0 },
      idt: { db: { ist: 1 } },
    });
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.frame().cs]).toEqual(["entry", 0x10n]);
  });

  it("8.14 SYSRET that loads TF traps at the user target, before its first instruction", () => {
    const w = world({ program: "go: sysretq\n", memory: USERLAND });
    w.set("rcx", w.symbol("user_target"));
    w.set("r11", 0x202n | TF);
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.frame().cs]).toEqual(["user_target", 0x33n]);
  });

  it("8.15 SYSENTER leaves TF: #DB at the first kernel instruction", () => {
    const w = stepping("go: sysenter\n", {
      mode: 32,
      memory: {},
      cpl: 3,
      kernel: "entry: nop\nhlt\n",
      tables: { sysenter: "entry", "sysenter-stack": "kernel" },
    });
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.frame().cs]).toEqual(["entry", 0x60n]);
  });

  it("8.17 BTF makes TF a branch step, and goes with the #DB", () => {
    const w = stepping("go: nop\nnop\njump: jmp target\nnop\ntarget: nop\n");
    w.set("debugctl", 2n);
    expect(w.trail(4)).toEqual(["go", "go+1", "jump", "#1"]);
    expect([savedAt(w), w.reg("debugctl")]).toEqual(["target", 0n]);
  });
});

describe("8. breakpoints", () => {
  it("8.4 a code breakpoint faults before the instruction, with RF=0 in the image", () => {
    const w = world({ program: "go: nop\nhere: inc %ebx\n", registers: { rbx: 5n } });
    arm(w, 1, w.symbol("here"), EXECUTE);
    expect(w.trail(2)).toEqual(["go", "#1"]);
    expect([savedAt(w), w.frame().flags & RF, w.reg("rbx"), w.reg("dr6")]).toEqual(["here", 0n, 5n, DR6_INIT | 2n]);
  });

  it("8.4 it repeats until the handler sets RF in the image", () => {
    const w = world({ program: "here: nop\nthen: nop\n" });
    arm(w, 0, w.symbol("here"), EXECUTE);
    expect(w.trail(4)).toEqual(["#1", "on_db", "on_db+1", "#1"]);
    w.write(w.rsp + 16n, w.frame().flags | RF);
    expect(w.trail(4)).toEqual(["on_db", "on_db+1", "here", "then"]);
    expect(w.flags & RF).toBe(0n);
  });

  it.each([
    ["a write breakpoint on a write", WRITE, "mov %eax, (%rbx)", true],
    ["a write breakpoint on a read", WRITE, "mov (%rbx), %eax", false],
    ["an access breakpoint on a read", ACCESS, "mov (%rbx), %eax", true],
    ["an access breakpoint on a read-modify-write", ACCESS, "incl (%rbx)", true],
    ["an execute breakpoint on data", EXECUTE, "mov %eax, (%rbx)", false],
  ] as const)("8.5 %s", (_, kind, access, hits) => {
    const w = world({ program: `${LOAD_AREA}go: ${access}\nthen: nop\nnop\n`, memory: watched }).run("go");
    arm(w, 2, w.symbol("area"), kind, kind === EXECUTE ? 1 : 4);
    w.set("rflags", 2n);
    expect(w.trail(2)).toEqual(hits ? ["go", "#1"] : ["go", "then"]);
    if (hits) expect([savedAt(w), w.reg("dr6")]).toEqual(["then", DR6_INIT | 4n]); // a trap: after the access
  });

  it.each([
    [1, 0, true],
    [1, 1, false],
    [2, 1, true],
    [2, 2, false],
    [4, 3, true],
    [4, 4, false],
    [8, 7, true],
    [8, 8, false],
  ] as const)("8.5 a breakpoint of %i bytes and an access at offset %i: %s", (size, offset, hits) => {
    const w = world({ program: `${LOAD_AREA}go: movb $1, ${offset}(%rbx)\nthen: nop\n`, memory: watched }).run("go");
    arm(w, 0, w.symbol("area"), WRITE, size);
    w.step(2);
    expect(w.delivered).toBe(hits ? 1 : -1);
  });

  it("8.5 with REP the trap comes after the iteration", () => {
    const w = world({ program: "movabs $area, %rdi\nmov $4, %ecx\ngo: rep stosb\n", memory: watched }).run("go");
    arm(w, 0, w.symbol("area") + 1n, WRITE);
    expect(w.trail(3)).toEqual(["go", "go", "#1"]);
    expect([savedAt(w), w.reg("rcx")]).toEqual(["go", 2n]);
  });

  it.each([
    ["with CR4.DE", undefined, 1],
    ["not without", 0x31_00f0n, -1],
  ] as const)("8.5 an I/O breakpoint traps after the instruction %s", (_, cr4, vector) => {
    const w = world({ program: "go: in $0x64, %al\nthen: nop\n", ...(cr4 ? { scenario: { cr4 } } : {}) });
    arm(w, 3, 0x64n, PORT);
    w.step(2);
    expect(w.delivered).toBe(vector);
    if (vector === 1) expect([savedAt(w), w.reg("dr6")]).toEqual(["then", DR6_INIT | 8n]);
  });

  it.each([
    ["mov %dr0, %rax"],
    ["mov %rax, %dr0"],
    ["mov %dr7, %rax"],
  ])("8.6 DR7.GD makes `%s` a #DB fault with BD, and is cleared on entry", (spelling) => {
    const w = world({ program: `go: ${spelling}\n`, registers: { rax: 7n } });
    w.set("dr7", 0x400n | GD);
    expect(fault(w)).toMatchObject({ vector: 1, at: "go" });
    expect([w.reg("dr6"), w.reg("dr7"), w.reg("dr0"), w.reg("rax")]).toEqual([DR6_INIT | BD, 0x400n, 0n, 7n]);
    expect(w.frame().flags & RF).toBe(RF); // 4.16: a fault other than an instruction breakpoint
  });

  it("8.6 general detect leaves no mark on a later code breakpoint", () => {
    const w = world({ program: "go: mov %dr0, %rax\n" });
    w.set("dr7", 0x400n | GD);
    w.step();
    arm(w, 0, w.symbol("on_db"), EXECUTE);
    w.step();
    expect([w.delivered, savedAt(w), w.frame().flags & RF]).toEqual([1, "on_db", 0n]);
  });

  it("8.8 B0 to B3 are replaced by each #DB and show matches that are not enabled; BS and BD stay", () => {
    const w = world({ program: `${LOAD_AREA}go: mov %eax, (%rbx)\nthen: nop\n`, memory: watched }).run("go");
    arm(w, 0, w.symbol("area"), WRITE);
    arm(w, 1, w.symbol("area"), WRITE, 1, false);
    w.set("dr6", DR6_INIT | 8n | BS | BD);
    w.step(2);
    expect([w.delivered, w.reg("dr6")]).toEqual([1, DR6_INIT | 3n | BS | BD]);
  });

  it("8.9 breakpoints stay armed in the #DB handler: it can recur", () => {
    const w = world({ program: "here: nop\n" });
    arm(w, 0, w.symbol("here"), EXECUTE);
    arm(w, 1, w.symbol("on_db"), EXECUTE);
    const dr7 = w.reg("dr7");
    expect(w.trail(3)).toEqual(["#1", "#1", "#1"]);
    expect(w.reg("dr7")).toBe(dr7);
  });

  it.each([
    ["int3", 1n],
    [".byte 0xcd, 3", 2n],
  ] as const)("8.10 %s: #BP with RIP behind it, DPL checked", (spelling, length) => {
    const w = world({ cpl: 3, program: `go: ${spelling}\n` });
    expect(fault(w)).toMatchObject({ vector: 3, frame: { rip: w.symbol("go") + length } });
    const closed = world({ cpl: 3, program: `go: ${spelling}\n` });
    closed.gate("bp", { dpl: 0 });
    expect(fault(closed)).toMatchObject({ vector: 13, error: 0x1an, at: "go" });
  });

  it("8.11 INT1: #DB with RIP behind it, no DPL check, DR6 untouched", () => {
    const w = world({ cpl: 3, program: "go: int1\nthen: nop\n" });
    w.set("dr6", DR6_INIT | 5n);
    expect(fault(w)).toMatchObject({ vector: 1, at: "then" });
    expect(w.reg("dr6")).toBe(DR6_INIT | 5n);
  });

  it("8.11 a fault while INT1 is delivered has EXT=1", () => {
    const w = world({ program: "go: int1\n" });
    w.gate("db", { present: false });
    expect(fault(w)).toMatchObject({ vector: 11, error: 0xbn, at: "go" });
  });

  it("8.11 INT1 is not held back by MOV SS", () => {
    const w = world({ program: "mov $0x18, %eax\nmov %eax, %ss\ngo: int1\n" }).run("go");
    expect([w.shadowSs, w.trail(1)]).toEqual([true, ["go", "#1"]]);
  });

  it("8.12 INTO is #OF in 32-bit code and #UD in 64-bit mode", () => {
    const w = world({ mode: 32, cpl: 3, program: "go: into\n", registers: { eflags: 0xa02n } });
    expect(fault(w)).toMatchObject({ vector: 4, frame: { rip: w.symbol("go") + 1n } });
    expect(fault(world({ program: "go: .byte 0xce\n" }))).toMatchObject({ vector: 6, at: "go" });
  });

  it("8.18 #DB is blocked neither by IF nor by blocked NMIs nor by being in the #DB handler", () => {
    const w = world({ program: "go: nop\n", kernel: "on_nmi: nop\nnop\nhlt\n" });
    w.set("rflags", 2n | CF);
    w.inject("nmi");
    w.step();
    w.set("rflags", w.flags | TF);
    expect(w.trail(2)).toEqual(["on_nmi", "#1"]);
    w.set("rflags", w.flags | TF);
    expect(w.trail(2)).toEqual(["on_db", "#1"]);
    expect(w.nmiBlocked).toBe(true);
  });
});

describe("8. moves to and from debug registers", () => {
  it.each([
    ["mov %rax, %dr6", "dr6", 0n, 0xffff_0ff0n],
    ["mov %rax, %dr6", "dr6", 0xffff_ffffn, 0xffff_efffn],
    ["mov %rax, %dr7", "dr7", 0n, 0x400n],
    ["mov %rax, %dr0", "dr0", 0x1234_5678_9abc_def0n, 0x1234_5678_9abc_def0n],
  ] as const)("8.8 `%s` keeps the fixed bits of %s (%#)", (spelling, name, value, result) => {
    const w = world({ program: `go: ${spelling}\n` });
    w.set("rax", value);
    w.step();
    expect(w.reg(name)).toBe(result);
  });

  it.each([["%dr6"], ["%dr7"]])("an upper half in %s is #GP(0)", (name) => {
    const w = world({ program: `go: mov %rax, ${name}\n` });
    w.set("rax", 1n << 32n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it("DR4 and DR5 are DR6 and DR7 without CR4.DE, and #UD with it", () => {
    const program = "go: .byte 0x0f, 0x21, 0xe0\n.byte 0x0f, 0x21, 0xeb\n"; // mov %dr4, %rax; mov %dr5, %rbx
    const w = world({ program, scenario: { cr4: 0x31_00f0n } });
    w.step(2);
    expect([w.reg("rax"), w.reg("rbx")]).toEqual([DR6_INIT, 0x400n]);
    expect(fault(world({ program }))).toMatchObject({ vector: 6, at: "go" });
  });

  it("they are for CPL 0", () => {
    expect(fault(world({ cpl: 3, program: "go: mov %dr0, %rax\n" }))).toMatchObject({ vector: 13, error: 0n });
  });
});
