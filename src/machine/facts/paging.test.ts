import { describe, expect, it } from "vitest";
import type { RegionFile } from "../../scenario/schema.js";
import { A, D, entry, entryPlace, type Fault, fault, NX, P, PS, RW, setEntry, US, USERLAND } from "./arrange.js";
import { AC, type Setup, type World, world } from "./harness.js";

const SMEP = 0x10_0000n;
const SMAP = 0x20_0000n;
const CR4 = 0x31_00f8n;
const WP = 0x1_0000n;
const CR0 = 0x8005_0033n;
const NO_NXE = 0x501n;

type Touch = "read" | "write" | "fetch";
const TOUCH: Readonly<Record<Touch, string>> = {
  read: "mov (%rbx), %al",
  write: "movb $1, (%rbx)",
  fetch: "jmp *%rbx",
};

interface Case {
  readonly cpl?: 0 | 3;
  readonly mode?: 32 | 64;
  /** the page is a user page */
  readonly user?: boolean;
  readonly ac?: boolean;
  readonly change?: (entry: bigint) => bigint;
  readonly level?: number;
  readonly cr0?: bigint;
  readonly cr4?: bigint;
  readonly efer?: bigint;
}

/** A machine about to touch the page `area`. */
function about(touch: Touch, { cpl = 0, mode = 64, user = cpl === 3, ac, change, level, ...control }: Case): World {
  const area: RegionFile = { size: 4096n, user, executable: true, data: "nop\nnop\nnop\n" };
  const text = mode === 64 ? TOUCH[touch] : TOUCH[touch].replace("%rbx", "%ebx");
  const w = world({ mode, cpl, program: `go: ${text}\ndone: nop\n`, memory: { area }, scenario: { ...control } });
  w.set("rbx", w.symbol("area"));
  if (ac) w.set("rflags", w.flags | AC);
  if (change) setEntry(w, w.symbol("area"), change, level);
  return w;
}

const unmap = (old: bigint) => old & ~P;

/** Error code of the page fault; undefined when there is none. */
function errorOf(touch: Touch, what: Case): bigint | undefined {
  const w = about(touch, what);
  w.step();
  if (touch === "fetch" && w.delivered < 0) w.step();
  if (w.delivered < 0) return undefined;
  expect(w.delivered).toBe(14);
  expect(w.reg("cr2")).toBe(w.symbol("area"));
  return w.frame({ error: true }).error;
}

describe("12.1 the error code", () => {
  it.each<[string, Touch, Case, bigint | undefined]>([
    ["not present, read", "read", { change: unmap }, 0n],
    ["not present, write", "write", { change: unmap }, 2n],
    ["not present, fetch", "fetch", { change: unmap }, 0x10n],
    ["not present, read at CPL 3", "read", { cpl: 3, change: unmap }, 4n],
    ["not present, write at CPL 3", "write", { cpl: 3, change: unmap }, 6n],
    ["not present, fetch at CPL 3", "fetch", { cpl: 3, change: unmap }, 0x14n],
    ["not present at level 2", "read", { change: unmap, level: 2 }, 0n],
    ["not present at level 3", "write", { change: unmap, level: 3 }, 2n],
    ["not present at level 4", "read", { change: unmap, level: 4 }, 0n],
    ["a kernel page read at CPL 3", "read", { cpl: 3, user: false }, 5n],
    ["a kernel page written at CPL 3", "write", { cpl: 3, user: false }, 7n],
    ["a kernel page fetched at CPL 3", "fetch", { cpl: 3, user: false }, 0x15n],
    ["U/S clear at an upper level", "read", { cpl: 3, change: (e) => e & ~US, level: 2 }, 5n],
    ["read-only written at CPL 3", "write", { cpl: 3, change: (e) => e & ~RW }, 7n],
    ["read-only at an upper level", "write", { cpl: 3, change: (e) => e & ~RW, level: 2 }, 7n],
    ["read-only read", "read", { cpl: 3, change: (e) => e & ~RW }, undefined],
    ["a no-execute page fetched", "fetch", { change: (e) => e | NX }, 0x11n],
    ["no-execute at an upper level", "fetch", { change: (e) => e | NX, level: 4 }, 0x11n],
    ["a no-execute page fetched at CPL 3", "fetch", { cpl: 3, change: (e) => e | NX }, 0x15n],
    ["a no-execute page read", "read", { change: (e) => e | NX }, undefined],
  ])("12.1 %s", (_, touch, what, error) => {
    expect(errorOf(touch, what)).toBe(error);
  });

  it.each<[string, Touch, Case, bigint]>([
    ["bit 46 of the page table", "read", { change: (e) => e | (1n << 46n) }, 9n],
    ["bit 51 of the page table", "write", { change: (e) => e | (1n << 51n) }, 0xbn],
    ["level 2", "read", { change: (e) => e | (1n << 50n), level: 2 }, 9n],
    ["level 3", "read", { change: (e) => e | (1n << 50n), level: 3 }, 9n],
    ["level 2 at CPL 3", "read", { cpl: 3, change: (e) => e | (1n << 50n), level: 2 }, 0xdn],
    ["level 4", "fetch", { change: (e) => e | (1n << 50n), level: 4 }, 0x19n],
    ["PS at level 4", "read", { change: (e) => e | PS, level: 4 }, 9n],
    ["a 2 MiB page off its boundary", "read", { change: (e) => (e & 0xfffn) | PS | 0x2000n, level: 2 }, 9n],
    ["a 1 GiB page off its boundary", "read", { change: (e) => (e & 0xfffn) | PS | 0x20_0000n, level: 3 }, 9n],
  ])("12.1 reserved bits: %s", (_, touch, what, error) => {
    expect(errorOf(touch, what)).toBe(error);
  });

  it("12.1 bit 4 only with NX or SMEP on", () => {
    expect(errorOf("fetch", { change: unmap, efer: NO_NXE, cr4: CR4 & ~SMEP })).toBe(0n);
    expect(errorOf("fetch", { change: unmap, efer: NO_NXE })).toBe(0x10n);
    expect(errorOf("fetch", { change: unmap, cr4: CR4 & ~SMEP })).toBe(0x10n);
  });

  it("12.10 NX with EFER.NXE=0 is a reserved bit, for any access", () => {
    expect(errorOf("read", { change: (e) => e | NX, efer: NO_NXE })).toBe(9n);
    expect(errorOf("fetch", { change: (e) => e | NX, efer: NO_NXE })).toBe(0x19n);
  });
});

describe("12.5, 12.7 supervisor accesses", () => {
  it.each<[string, Touch, Case, bigint | undefined]>([
    ["SMAP: a user page read with AC=0", "read", { user: true }, 1n],
    ["SMAP: a user page written with AC=0", "write", { user: true }, 3n],
    ["SMAP: with AC=1", "read", { user: true, ac: true }, undefined],
    ["no SMAP", "write", { user: true, cr4: CR4 & ~SMAP }, undefined],
    ["SMAP is no matter of CPL 3", "read", { cpl: 3 }, undefined],
    ["SMEP: a user page fetched", "fetch", { user: true }, 0x11n],
    ["SMEP: AC does not help", "fetch", { user: true, ac: true }, 0x11n],
    ["no SMEP", "fetch", { user: true, cr4: CR4 & ~SMEP }, undefined],
    ["WP: read-only written", "write", { change: (e) => e & ~RW }, 3n],
    ["no WP", "write", { change: (e) => e & ~RW, cr0: CR0 & ~WP }, undefined],
    ["no WP does not open user writes", "write", { cpl: 3, change: (e) => e & ~RW, cr0: CR0 & ~WP }, 7n],
    [
      "a user page counts as one only when every level says so",
      "read",
      { user: true, change: (e) => e & ~US, level: 2 },
      undefined,
    ],
  ])("%s", (_, touch, what, error) => {
    expect(errorOf(touch, what)).toBe(error);
  });

  it.each([[0n], [AC]])("12.5 an implicit access faults whatever AC is: delivery onto a user page (AC=%d)", (ac) => {
    const w = world({ program: "go: int3\n", memory: USERLAND, idt: { pf: { ist: 1 } } });
    w.set("rsp", w.symbol("user_data") + 0x800n);
    w.set("rflags", 2n | ac);
    expect(fault(w)).toMatchObject({ vector: 14, error: 3n, at: "go" });
    expect(w.reg("cr2") >> 12n).toBe(w.symbol("user_data") >> 12n);
  });

  it("12.5 descriptor reads from a user page too", () => {
    const w = world({ program: "go: mov %eax, %ds\n", memory: USERLAND, registers: { rax: 0x28n } });
    w.set("rflags", 2n | AC);
    w.set("gdtr_base", w.symbol("user_data"));
    // the delivery of that #PF reads the same GDT: #DF, and again: shutdown
    w.step();
    expect([w.shutdown, w.reg("cr2")]).toEqual([true, w.symbol("user_data") + 0x10n]);
  });

  it("12.5 delivery keeps AC; IRET, POPF and SYSRET restore it", () => {
    const w = world({ cpl: 3, program: "go: nop\n" });
    w.set("rflags", 0x202n | AC);
    w.inject("nmi");
    w.step();
    expect([w.flags & AC, w.frame().flags & AC]).toEqual([AC, AC]);
    w.set("rflags", w.flags & ~AC);
    w.run("go");
    expect(w.flags & AC).toBe(AC);
  });

  it("12.6 delivery with RSP on a user page, no IST: #PF, then #PF on the same stack, so #DF", () => {
    const w = world({
      cpl: 3,
      program: "go: syscall\n",
      kernel: "entry: nop\nhlt\n",
      tables: { syscall: "entry" },
      idt: { df: { ist: 2 } },
      memory: USERLAND,
    });
    w.set("rsp", w.symbol("user_data") + 0x800n);
    w.step();
    w.inject("db");
    expect(w.delivered).toBe(8);
    expect(w.frame({ error: true })).toMatchObject({ error: 0n, cs: 0x10n, rsp: w.symbol("user_data") + 0x800n });
  });

  it("12.7 delivery onto a read-only stack is #PF with W and P", () => {
    const w = world({ program: "go: int3\n", idt: { pf: { ist: 1 } } });
    setEntry(w, w.rsp, (old) => old & ~RW);
    expect(fault(w)).toMatchObject({ vector: 14, error: 3n, at: "go" });
  });
});

describe("12.2, 12.3 CR2", () => {
  it("12.2 is written by each #PF: a second one overwrites it", () => {
    const w = world({
      program: "go: mov (%rbx), %al\n",
      kernel: "on_pf: mov (%rcx), %al\nhlt\n",
      registers: { rbx: 0x1234_5678n, rcx: 0x9abc_d000n },
    });
    w.step();
    expect(w.reg("cr2")).toBe(0x1234_5678n);
    w.step();
    expect([w.delivered, w.reg("cr2")]).toEqual([14, 0x9abc_d000n]);
  });

  it("12.2 a #PF that turns into #DF still writes CR2", () => {
    const w = world({ program: "go: mov (%rbx), %al\n", registers: { rbx: 0x1234_5678n }, idt: { df: { ist: 1 } } });
    w.set("rsp", 0x7777_0000n);
    w.step();
    expect([w.delivered, w.reg("cr2") & ~0xfffn]).toEqual([8, 0x7776_f000n]);
  });

  it("12.3 an NMI fits between the delivery of #PF and the handler's read of CR2", () => {
    const w = world({ program: "go: mov (%rbx), %al\n", registers: { rbx: 0x5000n }, idt: { nmi: { ist: 1 } } });
    w.step();
    expect(w.at).toBe("on_pf");
    w.inject("nmi");
    expect(w.trail(1)).toEqual(["#2"]);
    expect([w.near(w.frame().rip), w.reg("cr2")]).toEqual(["on_pf", 0x5000n]);
  });

  it("an event of its own (`pf`) brings its address", () => {
    const w = world({ program: "go: nop\n" });
    w.inject("pf");
    expect([w.delivered, w.reg("cr2"), w.frame({ error: true }).error]).toEqual([14, 0xffff_c900_0000_0000n, 2n]);
  });
});

describe("12.8 accessed and dirty bits", () => {
  const levels = [1, 2, 3, 4] as const;
  const bits = (w: World) => levels.map((level) => entry(w, w.symbol("area"), level) & (A | D));
  const clean = (touch: Touch, what: Case = {}) => {
    const w = about(touch, what);
    for (const level of levels) setEntry(w, w.symbol("area"), (old) => old & ~(A | D), level);
    return w;
  };

  it.each<[Touch, bigint]>([
    ["read", A],
    ["write", A | D],
    ["fetch", A],
  ])("12.8 a %s sets A on every level, and D on the last only for a write", (touch, leaf) => {
    const w = clean(touch);
    w.step(2);
    expect(bits(w)).toEqual([leaf, A, A, A]);
  });

  it("12.8 a write after a read sets D too (a cached translation is no excuse)", () => {
    const w = clean("read");
    w.step();
    expect(bits(w)[0]).toBe(A);
    w.write("done", 0x01_03c6n, 4); // movb $1, (%rbx)
    w.step();
    expect(bits(w)[0]).toBe(A | D);
  });

  it("12.8 a denied access sets neither on the page itself", () => {
    const w = clean("write", { change: (e) => e & ~RW });
    expect(fault(w).vector).toBe(14);
    expect(bits(w)[0]).toBe(0n);
  });

  it("12.8 the writes are rolled back like any other", () => {
    const w = clean("write");
    const mark = w.machine.engine.newMark();
    w.machine.engine.save(mark);
    w.step();
    w.machine.engine.restore(mark);
    expect(bits(w)).toEqual([0n, 0n, 0n, 0n]);
    w.step();
    expect(bits(w)[0]).toBe(A | D);
  });
});

/** Maps physical memory from 0 on with one large page, 2 MiB beyond `area`, and gives its linear address. */
function windowOn(w: World): bigint {
  const at = (w.symbol("area") & ~0x1f_ffffn) + 0x20_0000n;
  setEntry(w, at, () => P | RW | A | D | PS, 2);
  return at;
}

const area: Setup["memory"] = { area: { size: 4096n, executable: true } };

describe("large pages", () => {
  it.each([
    ["2 MiB", 2, 0x20_0000n],
    ["1 GiB", 3, 0x4000_0000n],
  ] as const)("a page of %s", (_, level, size) => {
    const w = world({ program: "go: mov (%rbx), %rax\nmovb $1, (%rbx)\n", memory: area });
    const at = (w.symbol("area") & ~(size - 1n)) + size;
    setEntry(w, at, () => P | RW | PS, level);
    w.write("area", 0x1234_5678_9abc_def0n);
    w.set("rbx", at + BigInt(w.machine.physical(w.symbol("area")) ?? 0));
    w.step();
    expect(w.reg("rax")).toBe(0x1234_5678_9abc_def0n);
    expect(entry(w, at, level) & (A | D)).toBe(A);
    w.step();
    expect([entry(w, at, level) & (A | D), w.read("area", 1)]).toEqual([A | D, 1n]);
  });
});

describe("12.4, 12.9 translations are never stale", () => {
  const program = "go: mov (%rbx), %al\nchange: mov %rdx, (%rcx)\nagain: mov (%rbx), %al\nthen: nop\n";

  const changing = (value: (old: bigint) => bigint) => {
    const w = world({ program, memory: area });
    w.set("rbx", w.symbol("area"));
    w.set("rcx", windowOn(w) + BigInt(entryPlace(w, w.symbol("area"))));
    w.set("rdx", value(entry(w, w.symbol("area"))));
    return w;
  };

  it("a page-table write takes effect at once, without INVLPG", () => {
    const w = changing(unmap);
    w.run("again");
    expect(fault(w)).toMatchObject({ vector: 14, error: 0n, at: "again" });
  });

  it("12.4 a handler that maps the page and returns makes the access succeed", () => {
    const w = world({
      program: "go: mov (%rbx), %al\nthen: nop\n",
      kernel: "on_pf: orl $1, (%rcx)\nadd $8, %rsp\niretq\n",
      memory: area,
    });
    w.set("rbx", w.symbol("area"));
    w.set("rcx", windowOn(w) + BigInt(entryPlace(w, w.symbol("area"))));
    setEntry(w, w.symbol("area"), unmap);
    expect(w.trail(5)).toEqual(["go", "#14", "on_pf", "on_pf+3", "on_pf+7", "go"]);
    expect(w.at).toBe("then");
  });

  it("a page-table write takes effect at once when rights are taken", () => {
    const w = changing((old) => old & ~RW);
    w.run("again");
    w.step();
    expect(w.delivered).toBe(-1);
    w.write("then", 0x03_88n, 2); // mov %al, (%rbx)
    expect(fault(w)).toMatchObject({ vector: 14, error: 3n, at: "then" });
  });

  it("roll-back undoes the change for the translations too", () => {
    const w = changing(unmap);
    w.run("change");
    const mark = w.machine.engine.newMark();
    w.machine.engine.save(mark);
    w.run("again");
    expect(fault(w).vector).toBe(14);
    w.machine.engine.restore(mark);
    expect([w.at, w.machine.physical(w.symbol("area")) !== undefined]).toEqual(["change", true]);
    w.set("rip", w.symbol("again"));
    w.step();
    expect(w.delivered).toBe(-1);
  });

  /** A second root that lacks the entry of `area`. */
  const roots = (cr4: bigint, value: (root: bigint) => bigint) => {
    const w = world({
      program: "go: mov (%rbx), %al\nmov %rdx, %cr3\nagain: mov (%rbx), %al\nthen: nop\n",
      memory: { area: { size: 4096n, address: 0xffff_9000_0000_0000n }, root: { size: 4096n } },
      scenario: { cr4 },
    });
    const root = BigInt(w.machine.physical(w.symbol("root")) ?? 0);
    const old = Number(w.reg("cr3"));
    const ram = new Uint8Array(w.machine.memory.buffer, w.machine.engine.ram());
    ram.copyWithin(Number(root), old, old + 4096);
    w.write(w.symbol("root") + ((w.symbol("area") >> 39n) & 511n) * 8n, 0n);
    w.set("rbx", w.symbol("area"));
    w.set("rdx", value(root));
    w.step(2);
    return { w, root };
  };

  it("12.9 MOV CR3 changes the address space at once", () => {
    const { w, root } = roots(CR4, (at) => at);
    expect([w.at, w.reg("cr3")]).toEqual(["again", root]);
    expect(fault(w)).toMatchObject({ vector: 14, at: "again" });
  });

  it("12.9 with CR4.PCIDE bit 63 is no part of CR3 and bits 11:0 are the PCID", () => {
    const { w, root } = roots(CR4 | 0x2_0000n, (at) => at | 0x123n | (1n << 63n));
    expect([w.at, w.reg("cr3")]).toEqual(["again", root | 0x123n]);
    expect(fault(w)).toMatchObject({ vector: 14, at: "again" }); // another PCID: nothing cached to be stale
  });

  it("12.9 an entry through a CR3 that does not map the stack is #PF, #PF, #DF, shutdown", () => {
    const { w } = roots(CR4, (at) => at);
    w.write(w.symbol("root") + ((w.rsp >> 39n) & 511n) * 8n, 0n); // also holds the IDT, the GDT and the TSS
    w.step();
    expect(w.shutdown).toBe(true);
  });
});

describe("code that changes", () => {
  const INC_EBX = 0xc3ffn;
  const DEC_EBX = 0xcbffn;
  const patched = (rest = "") => {
    const text = `site: inc %ebx\nback: jmp *%rsi\n${rest}`;
    const w = world({
      program: "go: jmp *%rdi\nwrite: movw %ax, (%rcx)\nonce: jmp *%rdi\n",
      memory: { ...area, patch: { size: 4096n, executable: true, data: text } },
      registers: { rbx: 10n },
    });
    w.set("rdi", w.symbol("site"));
    w.set("rsi", w.symbol("write"));
    w.set("rax", DEC_EBX);
    w.set("rcx", w.symbol("site"));
    return w;
  };

  it("bytes written over decoded code take effect", () => {
    const w = patched();
    w.run("write");
    expect(w.reg("rbx")).toBe(11n);
    w.step(3);
    expect(w.reg("rbx")).toBe(10n);
  });

  it("also when written through another mapping", () => {
    const w = patched();
    w.set("rcx", windowOn(w) + BigInt(w.machine.physical(w.symbol("site")) ?? 0));
    w.run("write").step(3);
    expect(w.reg("rbx")).toBe(10n);
  });

  it("roll-back restores the code", () => {
    const w = patched();
    w.run("write");
    const mark = w.machine.engine.newMark();
    w.machine.engine.save(mark);
    w.step(3);
    w.machine.engine.restore(mark);
    w.set("rax", INC_EBX);
    w.set("rip", w.symbol("site"));
    w.step();
    expect(w.reg("rbx")).toBe(12n);
  });

  it("remapping the page changes the code", () => {
    const w = patched();
    w.run("write");
    const other = BigInt(w.machine.physical(w.symbol("area")) ?? 0);
    w.write("area", DEC_EBX, 2);
    setEntry(w, w.symbol("site"), (old) => (old & 0xfffn) | other);
    w.set("rip", w.symbol("site"));
    w.step();
    expect(w.reg("rbx")).toBe(10n);
  });
});

describe("an instruction across a page boundary", () => {
  const CROSSING = "mov $0, %rbx"; // 48 c7 c3 00 00 00 00
  const crossing = () => {
    const data = `.skip 4093, 0x90\ncross: .byte 0x48, 0xc7, 0xc3, 0, 0, 0, 0\nend: .skip 16\n`;
    const w = world({
      program: "go: jmp *%rdi\n",
      memory: { pages: { size: 8192n, executable: true, data } },
      registers: { rbx: 5n },
    });
    w.set("rip", w.symbol("cross"));
    return w;
  };

  it(`executes when both pages are there (${CROSSING})`, () => {
    const w = crossing();
    w.step();
    expect([w.at, w.reg("rbx")]).toEqual(["end", 0n]);
  });

  it("faults at the second page when that is not mapped, and executes once it is", () => {
    const w = crossing();
    const second = w.symbol("pages") + 4096n;
    setEntry(w, second, unmap);
    expect(fault(w)).toMatchObject({ vector: 14, error: 0x10n, at: "cross" });
    expect(w.reg("cr2")).toBe(second);
    setEntry(w, second, (old) => old | P);
    w.set("rip", w.symbol("cross"));
    w.step();
    expect([w.at, w.reg("rbx")]).toEqual(["end", 0n]);
  });

  it("faults again after roll-back to a state without the page", () => {
    const w = crossing();
    const second = w.symbol("pages") + 4096n;
    w.step();
    setEntry(w, second, (old) => old | NX);
    w.set("rip", w.symbol("cross"));
    expect(fault(w)).toMatchObject({ vector: 14, error: 0x11n, at: "cross" });
  });

  it("an instruction that ends before the boundary needs no second page", () => {
    const w = world({
      program: "go: nop\n",
      memory: { pages: { size: 4096n, executable: true, data: ".skip 4095, 0x90\nlast: nop\n" } },
    });
    w.set("rip", w.symbol("last"));
    w.step();
    expect([w.delivered, w.rip]).toEqual([-1, w.symbol("pages") + 4096n]);
  });
});

describe("data across a page boundary", () => {
  it("is written nowhere when the second page is not mapped, and CR2 names that page", () => {
    const w = world({
      program: "go: mov %rax, (%rbx)\n",
      memory: { pages: { size: 8192n } },
      registers: { rax: -1n & 0xffff_ffffn },
    });
    const second = w.symbol("pages") + 4096n;
    setEntry(w, second, unmap);
    w.set("rbx", second - 3n);
    expect(fault(w)).toMatchObject({ vector: 14, error: 2n, at: "go" });
    expect([w.reg("cr2"), w.read(second - 8n)]).toEqual([second, 0n]);
  });

  it("is read and written whole when both are", () => {
    const w = world({
      program: "go: mov %rax, (%rbx)\nmov (%rbx), %rdx\n",
      memory: { pages: { size: 8192n } },
      registers: { rax: 0x1122_3344_5566_7788n },
    });
    w.set("rbx", w.symbol("pages") + 4093n);
    w.step(2);
    expect([w.reg("rdx"), w.read(w.symbol("pages") + 4096n)]).toEqual([0x1122_3344_5566_7788n, 0x11_2233_4455n]);
  });
});

describe("non-canonical addresses", () => {
  const HOLE = 0x8000_0000_0000n;
  it.each<[string, string, bigint, number]>([
    ["a load", "mov (%rbx), %al", HOLE, 13],
    ["a store", "mov %al, (%rbx)", HOLE, 13],
    ["a load that ends in the hole", "mov (%rbx), %rax", HOLE - 4n, 13],
    ["a load through GS", "mov %gs:(%rbx), %al", HOLE, 13],
    ["through RBP: #SS", "mov (%rbp), %al", HOLE, 12],
    ["a push: #SS", "push %rax", HOLE + 0x1000n, 12],
    ["a pop: #SS", "pop %rax", HOLE, 12],
    ["a call's push: #SS", "call go", HOLE + 0x1000n, 12],
    ["a jump", "jmp *%rbx", HOLE, 13],
    ["a call", "call *%rbx", HOLE, 13],
  ])("%s", (_, spelling, value, vector) => {
    const w = world({ program: `go: ${spelling}\n`, idt: { gp: { ist: 1 }, ss: { ist: 1 } } });
    const register = spelling.includes("rbx") ? "rbx" : spelling.includes("rbp") ? "rbp" : "rsp";
    w.set("gs_base", 0n);
    w.set(register, value);
    expect(fault(w)).toMatchObject({ vector, error: 0n, at: "go" });
    expect(w.frame({ error: true }).rsp).toBe(register === "rsp" ? value : w.frame({ error: true }).rsp);
  });

  it("LEA and NOP do not care", () => {
    const w = world({ program: "go: lea (%rbx), %rax\nnopl (%rbx)\nend: nop\n", registers: { rbx: HOLE } });
    w.step(2);
    expect([w.at, w.reg("rax")]).toEqual(["end", HOLE]);
  });
});

describe("2-level paging of 32-bit mode", () => {
  it.each<[string, Touch, Case, bigint | undefined]>([
    ["not present", "read", { change: unmap }, 0n],
    ["not present, write at CPL 3", "write", { cpl: 3, change: unmap }, 6n],
    ["directory entry not present", "write", { change: unmap, level: 2 }, 2n],
    ["fetch: no I/D bit without SMEP", "fetch", { change: unmap }, 0n],
    ["fetch with SMEP", "fetch", { change: unmap, cr4: 0xd0n | SMEP }, 0x10n],
    ["SMEP: a user page fetched", "fetch", { user: true, cr4: 0xd0n | SMEP }, 0x11n],
    ["SMAP: a user page read", "read", { user: true, cr4: 0xd0n | SMAP }, 1n],
    ["a kernel page read at CPL 3", "read", { cpl: 3, user: false }, 5n],
    ["U/S clear in the directory", "read", { cpl: 3, change: (e) => e & ~US, level: 2 }, 5n],
    ["read-only written at CPL 3", "write", { cpl: 3, change: (e) => e & ~RW }, 7n],
    ["read-only, WP", "write", { change: (e) => e & ~RW }, 3n],
    ["read-only, no WP", "write", { change: (e) => e & ~RW, cr0: CR0 & ~WP }, undefined],
    ["a 4 MiB page off its boundary", "read", { change: (e) => (e & 0xfffn) | PS | 0x2000n, level: 2 }, 9n],
  ])("%s", (_, touch, what, error) => {
    expect(errorOf(touch, { mode: 32, ...what })).toBe(error);
  });

  it("sets A on both levels and D on the last", () => {
    for (const [touch, leaf] of [
      ["read", A],
      ["write", A | D],
    ] as const) {
      const w = about(touch, { mode: 32 });
      for (const level of [1, 2]) setEntry(w, w.symbol("area"), (old) => old & ~(A | D), level);
      w.step();
      expect([1, 2].map((level) => entry(w, w.symbol("area"), level) & (A | D))).toEqual([leaf, A]);
    }
  });

  it.each([
    ["with CR4.PSE a page of 4 MiB", 0xd0n, true],
    ["without it PS is ignored", 0xc0n, false],
  ] as const)("%s", (_, cr4, large) => {
    const w = world({
      mode: 32,
      program: "go: mov (%ebx), %eax\n",
      memory: { area: { size: 4096n } },
      scenario: { cr4 },
    });
    const at = 0x2000_0000n;
    setEntry(w, at, () => P | RW | PS, 2);
    w.write("area", 0x1234_5678n);
    w.set("rbx", at + BigInt(w.machine.physical(w.symbol("area")) ?? 0));
    w.step();
    if (large) expect([w.reg("rax"), entry(w, at, 2) & (A | D)]).toEqual([0x1234_5678n, A]);
    else expect(w.delivered).toBe(14); // physical page 0 as a page table: nothing there
  });

  it("a page-table write takes effect at once", () => {
    const w = world({
      mode: 32,
      program: "go: mov (%ebx), %al\nmov %edx, (%ecx)\nagain: mov (%ebx), %al\n",
      memory: { area: { size: 4096n } },
    });
    setEntry(w, 0x2000_0000n, () => P | RW | PS, 2);
    w.set("rbx", w.symbol("area"));
    w.set("rcx", 0x2000_0000n + BigInt(entryPlace(w, w.symbol("area"))));
    w.set("rdx", 0n);
    w.run("again");
    expect(fault(w)).toMatchObject({ vector: 14, at: "again" } satisfies Partial<Fault>);
  });

  it("12.2 a #PF in user code pushes its error code and sets CR2", () => {
    const w = world({ mode: 32, cpl: 3, program: "go: push %eax\n" });
    w.set("rsp", 0x5000_0000n);
    expect(fault(w)).toMatchObject({ vector: 14, error: 6n, at: "go" });
    expect([w.reg("cr2"), w.frame({ error: true }).rsp]).toEqual([0x4fff_fffcn, 0x5000_0000n]);
  });
});
