import { describe, expect, it } from "vitest";
import { Lack, Status } from "../../engine/abi.js";
import { fault, NX, setEntry, USERLAND } from "./arrange.js";
import { AC, IF, IOPL3, type Setup, type World, world } from "./harness.js";

const CR4 = 0x31_00f8n;
const NON_CANONICAL = 0x8000_0000_0000n;

/** A machine about to execute one instruction with RAX. */
const about = (spelling: string, rax: bigint, setup: Setup = {}) => {
  const w = world({ program: `go: ${spelling}\nafter: nop\n`, ...setup });
  w.set("rax", rax);
  return w;
};

describe("control registers", () => {
  it.each<[string, string, (w: World) => bigint]>([
    ["CR0: PG without PE", "%cr0", () => 0x8000_0032n],
    ["CR0: NW without CD", "%cr0", () => 0xa005_0033n],
    ["CR0: bit 32", "%cr0", () => 0x1_8005_0033n],
    ["CR0: PG cleared in 64-bit mode", "%cr0", () => 0x0005_0033n],
    ["CR3: beyond the physical addresses", "%cr3", (w) => w.reg("cr3") | (1n << 46n)],
    ["CR3: bit 63 without PCIDE", "%cr3", (w) => w.reg("cr3") | (1n << 63n)],
    ["CR4: a reserved bit", "%cr4", () => CR4 | (1n << 15n)],
    ["CR4: bit 32 (FRED, which this CPU lacks)", "%cr4", () => CR4 | (1n << 32n)],
    ["CR4: PAE cleared in long mode", "%cr4", () => CR4 & ~0x20n],
    ["CR8: above 15", "%cr8", () => 16n],
  ])("a write that is #GP(0): %s", (_, name, value) => {
    const w = about(`mov %rax, ${name}`, 0n);
    w.set("rax", value(w));
    const before = w.reg(name.slice(1));
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
    expect(w.reg(name.slice(1))).toBe(before);
  });

  it("CR4.PCIDE cannot be set while CR3 has a PCID", () => {
    const w = about("mov %rax, %cr4", CR4 | 0x2_0000n);
    w.set("cr3", w.reg("cr3") | 5n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
    const clean = about("mov %rax, %cr4", CR4 | 0x2_0000n);
    clean.step();
    expect(clean.reg("cr4")).toBe(CR4 | 0x2_0000n);
  });

  it("CR4.PCIDE belongs to long mode", () => {
    const w = world({ mode: 32, program: "go: mov %eax, %cr4\n", registers: { eax: 0x2_00d0n } });
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it.each([
    [".byte 0x0f, 0x20, 0xc8"],
    [".byte 0x0f, 0x22, 0xe8"],
    [".byte 0x44, 0x0f, 0x20, 0xc8"],
  ])("CR1, CR5, CR9 do not exist: `%s`", (spelling) => {
    expect(fault(about(spelling, 0n))).toMatchObject({ vector: 6, at: "go" });
  });

  it("writes and reads of the others", () => {
    const w = world({
      program: "mov %rax, %cr2\nmov %cr2, %rbx\nmov %rcx, %cr8\nmov %cr8, %rdx\nmov %cr0, %rsi\nmov %cr4, %rdi\n",
      registers: { rax: NON_CANONICAL, rcx: 15n },
    });
    w.step(6);
    expect(["rbx", "rdx", "rsi", "rdi"].map((name) => w.reg(name))).toEqual([NON_CANONICAL, 15n, 0x8005_0033n, CR4]);
  });

  it("a cleared CR0.WP and CR4.SMEP count at once", () => {
    const w = world({
      program: "go: mov %rax, %cr0\nmovb $1, (%rbx)\nend: nop\n",
      memory: { area: { size: 4096n, writable: false } },
      registers: { rax: 0x8004_0033n },
    });
    w.set("rbx", w.symbol("area"));
    w.run("end");
    expect(w.read("area", 1)).toBe(1n);
  });

  it("what would leave the modes of the model is `unsupported`, not a guess", () => {
    const w = world({ mode: 32, program: "go: mov %eax, %cr0\n", registers: { eax: 0x10n } });
    expect([w.machine.step(), w.machine.engine.lack()]).toEqual([Status.UNSUPPORTED, Lack.MODE]);
  });

  it("LMSW sets PE, MP, EM, TS and cannot clear PE; SMSW shows CR0; CLTS clears TS", () => {
    const w = world({
      program: "go: lmsw %ax\nsmsw %ebx\nsmsw (%rcx)\nclts\nend: nop\n",
      memory: { area: { size: 8n } },
    });
    w.set("rax", 0xfff8n);
    w.set("rcx", w.symbol("area"));
    w.step();
    expect(w.reg("cr0")).toBe(0x8005_0039n);
    w.step(2);
    expect([w.reg("rbx"), w.read("area")]).toEqual([0x8005_0039n, 0x39n]);
    w.step();
    expect(w.reg("cr0")).toBe(0x8005_0031n);
  });
});

describe("MSRs", () => {
  const MSR = {
    sysenter_esp: 0x175n,
    sysenter_eip: 0x176n,
    mcg_status: 0x17an,
    efer: 0xc000_0080n,
    star: 0xc000_0081n,
    lstar: 0xc000_0082n,
    cstar: 0xc000_0083n,
    fmask: 0xc000_0084n,
    fs_base: 0xc000_0100n,
    gs_base: 0xc000_0101n,
    kernel_gs_base: 0xc000_0102n,
    tsc_aux: 0xc000_0103n,
  } as const;

  const write = (name: keyof typeof MSR, value: bigint, setup: Setup = {}) => {
    const w = world({ program: "go: wrmsr\nback: rdmsr\n", ...setup });
    w.set("rcx", (0xffn << 32n) | MSR[name]); // only ECX, EDX, EAX count
    w.set("rax", (0xffn << 32n) | (value & 0xffff_ffffn));
    w.set("rdx", (0xffn << 32n) | (value >> 32n));
    return w;
  };

  it.each([
    "lstar",
    "cstar",
    "fs_base",
    "gs_base",
    "kernel_gs_base",
    "sysenter_esp",
    "sysenter_eip",
  ] as const)("%s takes canonical addresses only, and reads back", (name) => {
    const w = write(name, 0xffff_8000_1234_5678n);
    w.step();
    expect(w.reg(name)).toBe(0xffff_8000_1234_5678n);
    w.step();
    expect([w.reg("rax"), w.reg("rdx")]).toEqual([0x1234_5678n, 0xffff_8000n]);
    expect(fault(write(name, NON_CANONICAL))).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it("STAR takes any value, FMASK 32 bits", () => {
    const star = write("star", 0x1234_5678_9abc_def0n);
    star.step();
    expect(star.reg("star")).toBe(0x1234_5678_9abc_def0n);
    const fmask = write("fmask", 0x4_7700n);
    fmask.step();
    expect(fmask.reg("fmask")).toBe(0x4_7700n);
  });

  it("9.3 MCG_STATUS takes zero only", () => {
    const w = write("mcg_status", 0n);
    w.set("mcg_status", 5n);
    w.step();
    expect([w.delivered, w.reg("mcg_status")]).toEqual([-1, 0n]);
    for (const value of [1n, 4n, 1n << 40n]) {
      expect(fault(write("mcg_status", value))).toMatchObject({ vector: 13, error: 0n, at: "go" });
    }
  });

  it("EFER: reserved bits and LME under paging are #GP(0), LMA is not written", () => {
    for (const value of [0xd01n | (1n << 20n), 0xc01n, 0xd01n | (1n << 40n)]) {
      const w = write("efer", value);
      expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
      expect(w.reg("efer")).toBe(0xd01n);
    }
    const w = write("efer", 0x900n);
    w.step();
    expect(w.reg("efer")).toBe(0xd00n);
  });

  it("12.10 a cleared EFER.NXE makes NX a reserved bit at once", () => {
    const w = world({
      program: "go: mov (%rbx), %al\nwrmsr\nagain: mov (%rbx), %al\n",
      memory: { area: { size: 4096n } },
    });
    setEntry(w, w.symbol("area"), (old) => old | NX);
    w.set("rbx", w.symbol("area"));
    w.set("rcx", MSR.efer);
    w.set("rdx", 0n);
    w.step();
    w.set("rax", 0x501n);
    w.step();
    // the program's own pages have NX clear, its stack has not: the frame cannot be pushed either
    w.step();
    expect(w.shutdown).toBe(true);
  });

  it("an MSR that the model lacks is `unsupported`", () => {
    const w = world({ program: "go: rdmsr\n", registers: { rcx: 0x1234n } });
    expect([w.machine.step(), w.machine.engine.lack()]).toEqual([Status.UNSUPPORTED, Lack.MSR]);
  });
});

describe("privileged and flag-guarded instructions", () => {
  it.each([["cli"], ["sti"]])("%s beyond IOPL is #GP(0), within it is not", (spelling) => {
    expect(fault(world({ cpl: 3, program: `go: ${spelling}\n` }))).toMatchObject({ vector: 13, error: 0n, at: "go" });
    const w = world({ cpl: 3, program: `go: ${spelling}\n` });
    w.set("rflags", 2n | IOPL3 | (spelling === "cli" ? IF : 0n));
    w.step();
    expect([w.delivered, w.flags & IF]).toEqual([-1, spelling === "cli" ? 0n : IF]);
  });

  it("STAC and CLAC change AC at CPL 0 and are #UD at CPL 3", () => {
    const w = world({ program: "stac\nclac\n" });
    w.step();
    expect(w.flags & AC).toBe(AC);
    w.step();
    expect(w.flags & AC).toBe(0n);
    for (const spelling of ["stac", "clac"])
      expect(fault(world({ cpl: 3, program: `go: ${spelling}\n` }))).toMatchObject({ vector: 6, at: "go" });
  });

  it("RDTSC at CPL 3 with CR4.TSD is #GP(0)", () => {
    const w = world({ cpl: 3, program: "go: rdtsc\n", scenario: { cr4: CR4 | 4n } });
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it.each([
    ["type above 3", 4n, 0n, 0n, 13],
    ["reserved bits of the descriptor", 2n, 0x1000n, 0n, 13],
    ["a PCID without CR4.PCIDE", 1n, 5n, 0n, 13],
    ["a non-canonical address", 0n, 0n, NON_CANONICAL, 13],
    ["all contexts", 2n, 0n, NON_CANONICAL, -1],
  ] as const)("INVPCID: %s", (_, type, descriptor, address, vector) => {
    const w = world({ program: "go: invpcid (%rbx), %rax\n", memory: { area: { size: 16n } } });
    w.set("rbx", w.symbol("area"));
    w.set("rax", type);
    w.write("area", descriptor);
    w.write("area+8", address);
    w.step();
    expect(w.delivered).toBe(vector);
  });

  it("CPUID offers what the model has and nothing else", () => {
    const leaf = (eax: bigint) => {
      const w = about("cpuid", eax);
      w.set("rcx", 0n);
      w.step();
      return ["rax", "rbx", "rcx", "rdx"].map((name) => w.reg(name)) as [bigint, bigint, bigint, bigint];
    };
    const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) === 1n;
    const [, , ecx1, edx1] = leaf(1n);
    expect([13, 17, 23].every((n) => bit(ecx1, n))).toBe(true); // CX16, PCID, POPCNT
    expect([0, 26, 27, 28].some((n) => bit(ecx1, n))).toBe(false); // SSE3, XSAVE, OSXSAVE, AVX
    expect([0, 23, 24, 25, 26].some((n) => bit(edx1, n))).toBe(false); // FPU, MMX, FXSR, SSE, SSE2
    const [, ebx7] = leaf(7n);
    expect([0, 3, 7, 10, 20].every((n) => bit(ebx7, n))).toBe(true); // FSGSBASE, BMI1, SMEP, INVPCID, SMAP
    expect([4, 5, 8, 11, 19].some((n) => bit(ebx7, n))).toBe(false); // HLE, AVX2, BMI2, RTM, ADX
    const [, , , edx8] = leaf(0x8000_0001n);
    expect([11, 20, 26, 27, 29].every((n) => bit(edx8, n))).toBe(true); // SYSCALL, NX, 1 GiB, RDTSCP, LM
  });

  it("alignment is checked at CPL 3 with CR0.AM and AC", () => {
    const setup = { cpl: 3, program: "go: mov 1(%rbx), %eax\n", memory: USERLAND } as const;
    const faults = (flags: bigint, cr0: bigint) => {
      const w = world({ ...setup, scenario: { cr0 } });
      w.set("rbx", w.symbol("user_data"));
      w.set("rflags", flags);
      w.step();
      return w.delivered;
    };
    expect(faults(2n | AC, 0x8005_0033n)).toBe(17);
    expect(faults(2n, 0x8005_0033n)).toBe(-1);
    expect(faults(2n | AC, 0x8001_0033n)).toBe(-1);
  });
});

describe("ENTER, LEAVE, PUSHA, POPA", () => {
  it("ENTER level 0 pushes RBP and reserves; LEAVE undoes it", () => {
    const w = world({ program: "go: enter $0x20, $0\nleave\n", registers: { rbp: 0x1111n } });
    const rsp = w.rsp;
    w.step();
    expect([w.reg("rbp"), w.rsp, w.read(rsp - 8n)]).toEqual([rsp - 8n, rsp - 0x28n, 0x1111n]);
    w.step();
    expect([w.reg("rbp"), w.rsp]).toEqual([0x1111n, rsp]);
  });

  it("ENTER level 3 copies two frame pointers and pushes its own", () => {
    const w = world({ program: "go: enter $8, $3\n" });
    const rbp = w.rsp + 0x20n;
    w.set("rbp", rbp);
    w.write(rbp - 8n, 0xaaaan);
    w.write(rbp - 16n, 0xbbbbn);
    const rsp = w.rsp;
    w.step();
    const frame = rsp - 8n;
    expect([1n, 2n, 3n, 4n].map((n) => w.read(rsp - 8n * n))).toEqual([rbp, 0xaaaan, 0xbbbbn, frame]);
    expect([w.reg("rbp"), w.rsp]).toEqual([frame, rsp - 40n]);
  });

  it("ENTER whose new RSP cannot be written faults and moves nothing", () => {
    const w = world({ program: "go: enter $0x1000, $0\n", idt: { pf: { ist: 1 } } });
    const before = { rsp: w.rsp, rbp: w.reg("rbp") };
    expect(fault(w)).toMatchObject({ vector: 14, error: 2n, at: "go", frame: { rsp: before.rsp } });
    expect(w.reg("rbp")).toBe(before.rbp);
  });

  it("LEAVE with a bad RBP leaves RSP alone", () => {
    const w = world({ program: "go: leave\n", registers: { rbp: NON_CANONICAL } });
    const rsp = w.rsp;
    expect(fault(w)).toMatchObject({ vector: 12, error: 0n, at: "go", frame: { rsp } });
  });

  it("PUSHA pushes eight registers with the old ESP, POPA loads all but ESP", () => {
    const w = world({ mode: 32, program: "go: pusha\nback: popa\n" });
    const names = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
    const before = names.map((name) => w.reg(name));
    const esp = w.rsp;
    w.step();
    expect(names.map((_, n) => w.read(esp - 4n * BigInt(n + 1)))).toEqual(before);
    w.write(esp - 20n, 0xdeadn); // the slot of ESP
    for (const name of names) if (name !== "esp") w.set(name, 0n);
    w.step();
    expect(names.map((name) => w.reg(name))).toEqual(before);
  });

  it("PUSHAW moves 16-bit registers; both are #UD in 64-bit mode", () => {
    const w = world({ mode: 32, program: "go: pushaw\n", registers: { eax: 0x1234_5678n } });
    const esp = w.rsp;
    w.step();
    expect([esp - w.rsp, w.read(esp - 2n, 2)]).toEqual([16n, 0x5678n]);
    for (const bytes of [".byte 0x60", ".byte 0x61"])
      expect(fault(world({ program: `go: ${bytes}\n` }))).toMatchObject({ vector: 6, at: "go" });
  });
});

describe("the I/O permission bitmap", () => {
  const LIMIT = 0x6cn; // bitmap of 32 ports at 0x68, and the byte of ones behind it
  const inUser = (spelling: string, bitmap: bigint, setup: { limit?: bigint; flags?: bigint } = {}) => {
    const w = world({ cpl: 3, program: `go: ${spelling}\n` });
    w.write("cpu_tss+102", 0x68n, 2);
    w.write("cpu_tss+104", (0xffn << 32n) | bitmap, 8);
    w.set("tr_limit", setup.limit ?? LIMIT);
    if (setup.flags !== undefined) w.set("rflags", setup.flags);
    w.step();
    return w.delivered;
  };

  it.each([
    ["in $4, %al", 0xffff_ffefn, -1],
    ["in $5, %al", 0xffff_ffefn, 13],
    ["out %al, $4", 0xffff_ffefn, -1],
    ["in $4, %ax", 0xffff_ffcfn, -1],
    ["in $4, %ax", 0xffff_ffefn, 13],
    ["in $6, %eax", 0xffff_fc3fn, -1],
    ["in $7, %eax", 0xffff_fc3fn, 13],
    ["in $0x20, %al", 0n, 13],
  ] as const)("`%s` with bits %#x at CPL 3", (spelling, bitmap, vector) => {
    expect(inUser(spelling, bitmap)).toBe(vector);
  });

  it("what lies beyond the TSS limit is closed", () => {
    expect(inUser("in $4, %al", 0n, { limit: 0x67n })).toBe(13);
    expect(inUser("in $4, %al", 0n, { limit: 0x68n })).toBe(13); // two bytes are read, always
    expect(inUser("in $4, %al", 0n, { limit: 0x69n })).toBe(-1);
    expect(inUser("in $4, %al", 0n, { limit: 0x65n })).toBe(13);
  });

  it("is not asked within IOPL, nor at CPL 0", () => {
    expect(inUser("in $5, %al", 0xffff_ffffn, { flags: 2n | IOPL3 })).toBe(-1);
    const w = world({ program: "go: in $5, %al\n" });
    w.step();
    expect([w.delivered, w.reg("rax") & 0xffn]).toEqual([-1, 0xffn]); // no device answers
  });

  it("string forms are guarded too, and fault before memory is touched", () => {
    const w = world({ cpl: 3, program: "go: insb\n", registers: { rdx: 0x70n, rdi: 0x5000n } });
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });
});
