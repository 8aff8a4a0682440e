import { describe, expect, it } from "vitest";
import { compatCode, enterCompat, fault, push, segment } from "./arrange.js";
import { type Setup, type World, world, ZF } from "./harness.js";

const area: NonNullable<Setup["memory"]> = { area: { size: 4096n } };

/** One instruction of 32-bit code, EBX an offset into a data segment that starts at `area`. */
function narrow(spelling: string, offset: bigint, attr: bigint, limit: bigint, name = "ds"): World {
  const w = world({ mode: 32, program: `go: ${spelling}\n`, memory: area });
  segment(w, name, 0x7bn, attr, w.symbol("area"), limit);
  w.set("rbx", offset);
  return w;
}

describe("segment limits and types outside 64-bit mode", () => {
  it.each([
    ["the last byte", "mov (%ebx), %al", 0xfffn, 0xcf3n, 0xfffn, -1],
    ["beyond it", "mov (%ebx), %al", 0x1000n, 0xcf3n, 0xfffn, 13],
    ["a word that reaches beyond it", "mov (%ebx), %eax", 0xffdn, 0xcf3n, 0xfffn, 13],
    ["a write to read-only data", "mov %al, (%ebx)", 0n, 0xcf1n, 0xfffn, 13],
    ["a read of read-only data", "mov (%ebx), %al", 0n, 0xcf1n, 0xfffn, -1],
    ["a read-modify-write of read-only data", "incl (%ebx)", 0n, 0xcf1n, 0xfffn, 13],
    ["a read of readable code", "mov (%ebx), %al", 0n, 0xcfbn, 0xfffn, -1],
    ["a read of execute-only code", "mov (%ebx), %al", 0n, 0xcf9n, 0xfffn, 13],
    ["a write to code", "mov %al, (%ebx)", 0n, 0xcfbn, 0xfffn, 13],
    ["expand-down: above the limit", "mov (%ebx), %al", 0x800n, 0xcf7n, 0x7ffn, -1],
    ["expand-down: at the limit", "mov (%ebx), %al", 0x7ffn, 0xcf7n, 0x7ffn, 13],
    ["expand-down with B=0: beyond 64 KiB", "mov (%ebx), %al", 0x1_0000n, 0x8f7n, 0x7ffn, 13],
    ["a null segment", "mov (%ebx), %al", 0n, 0x1000n, 0n, 13],
  ] as const)("%s: `%s`", (_, spelling, offset, attr, limit, vector) => {
    const w = narrow(spelling, offset, attr, limit);
    w.step();
    expect(w.delivered).toBe(vector);
    if (vector >= 0) expect(w.frame({ error: true })).toMatchObject({ error: 0n, rip: w.symbol("go") });
  });

  it("beyond the limit of SS is #SS(0)", () => {
    const w = world({ mode: 32, cpl: 3, program: "go: push %eax\n" });
    w.set("ss_limit", w.rsp - 5n);
    expect(fault(w)).toMatchObject({ vector: 12, error: 0n, at: "go" });
  });

  it("a segment base counts, also in compatibility mode; in 64-bit mode only those of FS and GS", () => {
    const memory = compatCode("go32: mov 4(%ebx), %al\n");
    const w = world({
      program: "go: mov %ds:(%rbx), %al\nnext: mov %fs:(%rbx), %ah\n",
      memory: { ...memory, ...area },
    });
    enterCompat(w, "go32");
    segment(w, "ds", 0x18n, 0xc93n, w.symbol("low_data"), 0xfffn);
    w.set("rbx", 0x10n);
    w.write(w.symbol("low_data") + 0x14n, 0x5an, 1);
    w.step();
    expect(w.reg("rax") & 0xffn).toBe(0x5an);
    segment(w, "cs", 0x10n, 0xa9bn);
    w.set("fs_base", w.symbol("area"));
    w.set("rip", w.symbol("go"));
    expect(fault(w)).toMatchObject({ vector: 14, at: "go" }); // DS.base is ignored: linear 0x10
    w.write(w.symbol("area") + 0x10n, 0xa5n, 1);
    w.set("rip", w.symbol("next"));
    w.step();
    expect((w.reg("rax") >> 8n) & 0xffn).toBe(0xa5n);
  });

  it("compatibility mode checks limits like protected mode", () => {
    const w = world({ memory: compatCode("go32: mov (%ebx), %al\n") });
    enterCompat(w, "go32");
    segment(w, "ds", 0x18n, 0xc93n, 0n, 0xfffn);
    w.set("rbx", 0x1000n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go32" });
  });

  it("a jump beyond the CS limit faults at the jump, running off the end at the next instruction", () => {
    const w = world({ mode: 32, program: "go: jmp *%ebx\n" });
    w.set("cs_limit", w.symbol("go") + 0xfffn);
    w.set("rbx", w.symbol("go") + 0x1000n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
    const off = world({ mode: 32, program: "go: nop\nend: nop\n" });
    off.set("cs_limit", off.symbol("go"));
    off.step();
    off.set("cs_limit", off.symbol("go"));
    expect(fault(off)).toMatchObject({ vector: 13, error: 0n, at: "end" });
  });
});

/** Descriptors for the tests of loads, at CPL 0 and 3. */
function furnish(w: World): void {
  const free = w.mode === 64 ? 0x50 : 0x10;
  const add = (n: number, access: number) => w.descriptor(free + 8 * n, access, 0xc);
  add(0, 0x92); // data, DPL 0
  add(1, 0xf2); // data, DPL 3
  add(2, 0xf0); // read-only data, DPL 3
  add(3, 0xf8); // execute-only code, DPL 3
  add(4, 0x9e); // readable conforming code, DPL 0
  add(5, 0x72); // data, DPL 3, not present
  add(6, 0x12); // data, DPL 0, not present
}

const [DATA0, DATA3, READ_ONLY, EXECUTE, CONFORMING, ABSENT3, ABSENT0] = [0, 8, 16, 24, 32, 40, 48];

describe.each([[64], [32]] as const)("loads of DS, ES, FS, GS in %i-bit mode", (mode) => {
  const free = mode === 64 ? 0x50 : 0x10;
  it.each([
    ["null", 0, undefined, 0n],
    ["null with an RPL", 3, undefined, 3n],
    ["data", 0, DATA0, 0n],
    ["data of an outer level", 0, DATA3, 3n],
    ["conforming code below the level", 3, CONFORMING, 3n],
    ["read-only data", 3, READ_ONLY, 3n],
  ] as const)("%s at CPL %i is taken", (_, cpl, place, rpl) => {
    const w = world({ mode, cpl, program: "go: mov %eax, %es\n" });
    furnish(w);
    const selector = place === undefined ? rpl : BigInt(free + place) | rpl;
    w.set("rax", selector);
    w.step();
    expect([w.delivered, w.reg("es")]).toEqual([-1, selector]);
  });

  it.each([
    ["DPL below CPL", 3, DATA0, 3n, 13],
    ["DPL below RPL", 0, DATA0, 3n, 13],
    ["execute-only code", 0, EXECUTE, 3n, 13],
    ["not present", 3, ABSENT3, 3n, 11],
    ["beyond the table", 0, 0x600, 0n, 13],
  ] as const)("%s faults with the selector", (_, cpl, place, rpl, vector) => {
    const w = world({ mode, cpl, program: "go: mov %eax, %es\n" });
    furnish(w);
    w.set("rax", BigInt(free + place) | rpl);
    const before = w.reg("es");
    expect(fault(w)).toMatchObject({ vector, error: BigInt(free + place), at: "go" });
    expect(w.reg("es")).toBe(before);
  });
});

describe.each([[64], [32]] as const)("loads of SS in %i-bit mode", (mode) => {
  const free = mode === 64 ? 0x50 : 0x10;
  it.each([
    ["null at CPL 3", 3, undefined, 3n, 13],
    ["RPL is not CPL", 0, DATA0, 3n, 13],
    ["DPL is not CPL", 0, DATA3, 0n, 13],
    ["read-only data", 3, READ_ONLY, 3n, 13],
    ["code", 0, CONFORMING, 0n, 13],
    ["not present: #SS", 3, ABSENT3, 3n, 12],
    ["not present at CPL 0: #SS", 0, ABSENT0, 0n, 12],
  ] as const)("%s", (_, cpl, place, rpl, vector) => {
    const w = world({ mode, cpl, program: "go: mov %eax, %ss\n" });
    furnish(w);
    w.set("rax", place === undefined ? rpl : BigInt(free + place) | rpl);
    const error = place === undefined ? 0n : BigInt(free + place);
    expect(fault(w)).toMatchObject({ vector, error, at: "go" });
    expect(w.shadowSs).toBe(false);
  });

  it(`null at CPL 0 is ${mode === 64 ? "taken" : "#GP(0)"}`, () => {
    const w = world({ mode, program: "go: mov %eax, %ss\n", registers: { [mode === 64 ? "rax" : "eax"]: 0n } });
    w.step();
    expect(w.delivered).toBe(mode === 64 ? -1 : 13);
  });
});

describe("what a segment load does", () => {
  it("sets the accessed bit in the table and loads base and limit", () => {
    const w = world({ program: "go: mov %eax, %fs\n", registers: { rax: 0x50n } });
    w.descriptor(0x50, 0x92, 0x4, 0x1234_5678n, 0x4321n);
    w.step();
    expect(w.read(w.reg("gdtr_base") + 0x55n, 1)).toBe(0x93n);
    expect(["base", "limit", "attr"].map((part) => w.reg(`fs_${part}`))).toEqual([0x1234_5678n, 0x4321n, 0x493n]);
  });

  it("a null selector zeroes the base of GS on Intel and keeps it on AMD", () => {
    for (const [cpu, base] of [
      ["intel", 0n],
      ["amd", 0x5555_0000n],
    ] as const) {
      const w = world({ cpu, program: "go: mov %eax, %gs\n", registers: { rax: 0n } });
      w.set("gs_base", 0x5555_0000n);
      w.step();
      expect(w.reg("gs_base")).toBe(base);
    }
  });

  it("MOV CS and far loads of it through POP do not exist", () => {
    expect(fault(world({ program: "go: .byte 0x8e, 0xc8\n" }))).toMatchObject({ vector: 6, at: "go" });
    expect(fault(world({ program: "go: .byte 0x17\n" }))).toMatchObject({ vector: 6 }); // POP SS in 64-bit mode (3.4)
  });

  it("POP takes the whole slot, and leaves RSP where the load faults", () => {
    const w = world({ program: "go: pop %fs\nbad: pop %gs\n" });
    const rsp = push(w, 8, [0xffff_0000_0000_0018n, 0x7f8n]);
    w.step();
    expect([w.reg("fs"), w.rsp]).toEqual([0x18n, rsp + 8n]);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0x7f8n, at: "bad", frame: { rsp: rsp + 8n } });
  });

  it.each([
    ["lss (%rbx), %eax", "ss", 0x18n],
    ["lfs (%rbx), %eax", "fs", 0x28n],
    ["lgs (%rbx), %eax", "gs", 0x28n],
  ] as const)("`%s` loads both, without a shadow (3.4)", (spelling, name, selector) => {
    const w = world({ program: `go: ${spelling}\n`, memory: area });
    w.set("rbx", w.symbol("area"));
    w.write("area", (selector << 32n) | 0x1234_5678n);
    w.step();
    expect([w.reg("rax"), w.reg(name), w.shadowSs]).toEqual([0x1234_5678n, selector, false]);
  });

  it("a far pointer whose selector faults leaves the register alone", () => {
    const w = world({ program: "go: lfs (%rbx), %eax\n", memory: area, registers: { rax: 7n } });
    w.set("rbx", w.symbol("area"));
    w.write("area", (0x7f8n << 32n) | 1n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0x7f8n, at: "go" });
    expect(w.reg("rax")).toBe(7n);
  });

  it("selectors with TI=1 come from the LDT", () => {
    const w = world({
      program: "mov $0x50, %ecx\nlldt %cx\nload: mov %eax, %fs\n",
      memory: area,
      registers: { rax: 4n },
    });
    w.descriptor(0x50, 0x82, 0, w.symbol("area") & 0xffff_ffffn, 0xfn);
    w.descriptor(0x58, 0, 0, 0n, 0n);
    w.write(w.reg("gdtr_base") + 0x58n, w.symbol("area") >> 32n);
    w.write("area", 0x00cf_9300_0000_ffffn);
    w.run("load");
    expect([w.reg("ldtr"), w.reg("ldtr_base"), w.reg("ldtr_limit")]).toEqual([0x50n, w.symbol("area"), 0xfn]);
    w.set("rax", 0xcn); // the second entry is null data: not a data segment
    expect(fault(w)).toMatchObject({ vector: 13, error: 0xcn });
    w.set("rip", w.symbol("load"));
    w.set("rax", 4n);
    w.step();
    expect([w.delivered, w.reg("fs")]).toEqual([-1, 4n]);
    w.set("rip", w.symbol("load"));
    w.set("rax", 0x14n); // beyond its limit
    expect(fault(w)).toMatchObject({ vector: 13, error: 0x14n });
  });
});

describe("LLDT and LTR", () => {
  it.each([
    ["lldt %ax", 0x50n, -1, 0n],
    ["lldt %ax", 0n, -1, 0n],
    ["lldt %ax", 0x54n, 13, 0x54n],
    ["lldt %ax", 0x18n, 13, 0x18n],
    ["lldt %ax", 0x60n, 11, 0x60n],
    ["lldt %ax", 0x70n, 13, 0x70n],
    ["ltr %ax", 0n, 13, 0n],
    ["ltr %ax", 0x40n, 13, 0x40n],
    ["ltr %ax", 0x50n, 13, 0x50n],
    ["ltr %ax", 0x80n, 13, 0x80n],
    ["ltr %ax", 0x90n, -1, 0n],
  ] as const)("`%s` of %#x", (spelling, selector, vector, error) => {
    const w = world({ program: `go: ${spelling}\n`, registers: { rax: selector } });
    w.descriptor(0x50, 0x82); // LDT
    w.descriptor(0x58, 0, 0, 0n, 0n);
    w.descriptor(0x60, 0x02); // LDT, not present
    w.descriptor(0x70, 0x82); // LDT with a non-canonical base
    w.write(w.reg("gdtr_base") + 0x78n, 0x8000n);
    w.descriptor(0x90, 0x89); // available TSS
    w.descriptor(0x98, 0, 0, 0n, 0n);
    w.descriptor(0x80, 0x89); // another, whose base is not canonical
    w.write(w.reg("gdtr_base") + 0x88n, 0x8000n);
    w.step();
    expect(w.delivered).toBe(vector);
    if (vector >= 0) expect(w.frame({ error: true }).error).toBe(error);
    if (selector === 0x90n) expect([w.reg("tr"), w.read(w.reg("gdtr_base") + 0x95n, 1)]).toEqual([0x90n, 0x8bn]);
  });

  it("a 16-byte descriptor must lie within the table whole", () => {
    const w = world({ program: "go: lldt %ax\n", registers: { rax: 0x50n } });
    w.descriptor(0x50, 0x82);
    expect(w.reg("gdtr_limit")).toBe(0x57n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0x50n });
  });

  it.each([["lldt %ax"], ["ltr %ax"]])("`%s` is for CPL 0", (spelling) => {
    expect(fault(world({ cpl: 3, program: `go: ${spelling}\n` }))).toMatchObject({ vector: 13, error: 0n });
  });
});

describe("LAR, LSL, VERR, VERW", () => {
  const selectors = {
    null: 0n,
    data0: 0x50n,
    data3: 0x5bn,
    readOnly: 0x63n,
    execute: 0x6bn,
    conforming: 0x73n,
    outside: 0x7f8n,
    tss: 0x40n,
  };
  it.each<[string, 0 | 3, keyof typeof selectors, boolean]>([
    ["lar %ax, %ebx", 0, "null", false],
    ["lar %ax, %ebx", 0, "outside", false],
    ["lar %ax, %ebx", 0, "data0", true],
    ["lar %ax, %ebx", 3, "data0", false],
    ["lar %ax, %ebx", 3, "conforming", true],
    ["lar %ax, %ebx", 0, "tss", true],
    ["lar %ax, %ebx", 3, "tss", false],
    ["lsl %ax, %ebx", 3, "data3", true],
    ["lsl %ax, %ebx", 3, "data0", false],
    ["lsl %ax, %ebx", 0, "tss", true],
    ["verr %ax", 3, "data3", true],
    ["verr %ax", 3, "execute", false],
    ["verr %ax", 3, "conforming", true],
    ["verr %ax", 3, "data0", false],
    ["verr %ax", 0, "tss", false],
    ["verw %ax", 3, "data3", true],
    ["verw %ax", 3, "readOnly", false],
    ["verw %ax", 3, "execute", false],
    ["verw %ax", 0, "null", false],
  ])("`%s` at CPL %i of %s: ZF is %s", (spelling, cpl, name, visible) => {
    const w = world({ cpl, program: `go: ${spelling}\n`, registers: { rax: selectors[name], rbx: 0x77n } });
    w.descriptor(0x50, 0x92, 0xc);
    w.descriptor(0x58, 0xf2, 0xc);
    w.descriptor(0x60, 0xf0, 0xc);
    w.descriptor(0x68, 0xf8, 0xc);
    w.descriptor(0x70, 0x9e, 0xc);
    w.set("rflags", visible ? 2n : 2n | ZF);
    w.step();
    expect([w.delivered, (w.flags & ZF) !== 0n]).toEqual([-1, visible]);
    expect(w.reg("rbx") !== 0x77n).toBe(visible && !spelling.startsWith("ver"));
  });

  it("LAR gives bytes 1 and 2 of the rights, LSL the limit in bytes", () => {
    const w = world({
      program: "go: lar %ax, %rbx\nlsl %ax, %ecx\nlar %ax, %dx\n",
      registers: { rax: 0x50n, rdx: -1n & 0xffff_ffffn },
    });
    w.descriptor(0x50, 0xf2, 0xc, 0n, 0x12345n);
    w.step(3);
    expect([w.reg("rbx") & ~0xf_0000n, w.reg("rcx"), w.reg("rdx")]).toEqual([0xc0_f200n, 0x1234_5fffn, 0xffff_f200n]);
  });
});

describe("LGDT, LIDT, SGDT, SIDT", () => {
  it.each([
    ["lgdt", "gdtr"],
    ["lidt", "idtr"],
  ] as const)("%s loads limit and base, which must be canonical", (spelling, name) => {
    const w = world({ program: `go: ${spelling} (%rbx)\nagain: ${spelling} (%rbx)\n`, memory: area });
    w.set("rbx", w.symbol("area"));
    const { base, limit } = { base: w.reg(`${name}_base`), limit: w.reg(`${name}_limit`) };
    w.write("area", limit - 1n, 2);
    w.write("area+2", base);
    w.step();
    expect([w.reg(`${name}_base`), w.reg(`${name}_limit`)]).toEqual([base, limit - 1n]);
    w.write("area+2", 1n << 47n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "again" });
    expect(w.reg(`${name}_base`)).toBe(base);
  });

  it("in 32-bit mode the base has 32 bits, with a 66 prefix 24", () => {
    const w = world({ mode: 32, program: "go: .byte 0x66\nlgdt (%ebx)\n", memory: area });
    w.set("rbx", w.symbol("area"));
    w.write("area", 0x5678_00ffn);
    w.write("area+4", 0xab_1234n);
    w.step();
    expect([w.reg("gdtr_base"), w.reg("gdtr_limit")]).toEqual([0x34_5678n, 0xffn]);
  });

  it("SGDT and SIDT store 10 bytes in 64-bit mode, at any CPL unless CR4.UMIP", () => {
    const memory = { area: { size: 4096n, user: true } };
    const w = world({ cpl: 3, program: "go: sidt (%rbx)\n", memory });
    w.set("rbx", w.symbol("area"));
    w.step();
    expect([w.read("area", 2), w.read("area+2"), w.read("area+10", 2)]).toEqual([
      w.reg("idtr_limit"),
      w.reg("idtr_base"),
      0n,
    ]);
    for (const spelling of ["sgdt (%rbx)", "sidt (%rbx)", "sldt %eax", "str %eax", "smsw %eax"]) {
      const umip = world({ cpl: 3, program: `go: ${spelling}\n`, memory, scenario: { cr4: 0x31_08f8n } });
      expect(fault(umip), spelling).toMatchObject({ vector: 13, error: 0n, at: "go" });
    }
  });
});

describe("far JMP and CALL within a privilege level", () => {
  const far = (spelling: string, selector: bigint, cpl: 0 | 3 = 0, target?: bigint) => {
    const w = world({
      cpl,
      program: `go: ${spelling}\nafter: nop\ntarget: nop\n`,
      memory: { area: { size: 4096n, user: cpl === 3 } },
    });
    w.descriptor(0x50, 0xfe); // conforming, DPL 3
    w.descriptor(0x58, 0x1a); // not present
    w.descriptor(0x60, 0x9e); // conforming, DPL 0
    w.set("rbx", w.symbol("area"));
    w.write("area", target ?? w.symbol("target"));
    w.write("area+8", selector, 2);
    return w;
  };

  it("REX.W CALL pushes CS and a 64-bit RIP", () => {
    const w = far("rex64 lcall *(%rbx)", 0x10n);
    const rsp = w.rsp;
    w.step();
    expect([w.at, w.rsp, w.read(w.rsp), w.read(w.rsp + 8n)]).toEqual(["target", rsp - 16n, w.symbol("after"), 0x10n]);
  });

  it.each([
    ["null", 0n, 0, 13, 0n],
    ["a data segment", 0x18n, 0, 13, 0x18n],
    ["another privilege level", 0x33n, 0, 13, 0x30n],
    ["RPL above CPL", 0x13n, 0, 13, 0x10n],
    ["conforming of an outer level", 0x50n, 0, 13, 0x50n],
    ["not present", 0x58n, 0, 11, 0x58n],
    ["inward", 0x10n, 3, 13, 0x10n],
  ] as const)("%s faults", (_, selector, cpl, vector, error) => {
    expect(fault(far("rex64 ljmp *(%rbx)", selector, cpl))).toMatchObject({ vector, error, at: "go" });
  });

  it("a non-canonical target is #GP(0), and nothing is pushed", () => {
    const w = far("rex64 lcall *(%rbx)", 0x10n, 0, 1n << 47n);
    const rsp = w.rsp;
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go", frame: { rsp } });
  });

  it("conforming code of an inner level keeps CPL", () => {
    const w = far("rex64 ljmp *(%rbx)", 0x60n, 3);
    w.step();
    expect([w.at, w.cpl, w.reg("cs")]).toEqual(["target", 3, 0x63n]);
  });
});
