import { describe, expect, it } from "vitest";
import { compatCode, fault, segment, USERLAND } from "./arrange.js";
import { AC, CF, DF, ID, IF, IOPL3, NT, RF, type Setup, TF, VIF, VIP, VM, type World, world } from "./harness.js";

const NON_CANONICAL = 0x8000_0000_0000n;
const entry: Setup = { kernel: "entry: nop\nnop\nhlt\n", tables: { syscall: "entry" }, memory: USERLAND };

const caches = (w: World, name: string) =>
  ["base", "limit", "attr"].map((part) => w.reg(`${name}_${part}`)) as [bigint, bigint, bigint];

describe("11. SYSCALL", () => {
  it("11.1 saves RIP and RFLAGS in registers, loads flat segments, and leaves RSP, GS and CR3 to the user", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\nback: nop\n" });
    w.set("rflags", 0x202n | CF | RF);
    w.set("rsp", 0x1234n);
    w.set("gs_base", 0x5678n);
    const { rsp, cr3 } = { rsp: w.rsp, cr3: w.reg("cr3") };
    w.step();
    expect([w.at, w.cpl, w.reg("rcx"), w.reg("r11")]).toEqual(["entry", 0, w.symbol("back"), 0x202n | CF]); // RF as 0
    expect([w.reg("cs"), w.reg("ss")]).toEqual([0x10n, 0x18n]);
    expect(caches(w, "cs")).toEqual([0n, 0xffff_ffffn, 0xa9bn]);
    expect(caches(w, "ss")).toEqual([0n, 0xffff_ffffn, 0xc93n]);
    expect([w.rsp, w.reg("gs_base"), w.reg("cr3")]).toEqual([rsp, 0x5678n, cr3]);
  });

  it("11.1 RFLAGS loses what FMASK names, and RF", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\n" });
    w.set("fmask", IF | DF);
    w.set("rflags", 2n | IF | DF | CF | AC | NT | ID);
    w.step();
    expect(w.flags).toBe(2n | CF | AC | NT | ID);
  });

  it("11.1 CS comes from STAR whatever the GDT holds, its RPL cleared", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\n" });
    w.set("star", 0x0023_0a53_0000_0000n);
    w.step();
    expect([w.reg("cs"), w.reg("ss"), w.cpl]).toEqual([0xa50n, 0xa58n, 0]);
  });

  it("11.2 is #UD without EFER.SCE", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\n" });
    w.set("efer", w.reg("efer") & ~1n);
    expect(fault(w)).toMatchObject({ vector: 6, at: "go" });
  });

  const compat = (cpu: "intel" | "amd") => {
    const code = {
      user_code: { size: 4096n, user: true, executable: true, data: ".code32\ngo32: syscall\nback: nop\n" },
    };
    const w = world({ ...entry, cpu, cpl: 3, memory: code });
    segment(w, "cs", 0x23n, 0xcfbn);
    w.set("rip", w.symbol("go32"));
    w.set("cstar", w.symbol("entry"));
    return w;
  };

  it("11.2 is #UD in compatibility mode on Intel", () => {
    expect(fault(compat("intel"))).toMatchObject({ vector: 6, at: "go32" });
  });

  it("11.2 goes to CSTAR from compatibility mode on AMD", () => {
    const w = compat("amd");
    w.step();
    expect([w.at, w.cpl, w.reg("rcx"), w.machine.mode()]).toEqual(["entry", 0, w.symbol("back"), 64]);
  });

  it("11.2 is #UD in 32-bit protected mode", () => {
    expect(fault(world({ mode: 32, cpl: 3, program: "go: .byte 0x0f, 5\n" }))).toMatchObject({ vector: 6, at: "go" });
  });

  it("11.3 an NMI at the entry without IST is delivered onto the user's stack, with IST it is not", () => {
    for (const ist of [0, 1]) {
      const idt: Setup["idt"] = ist === 0 ? {} : { nmi: { ist } };
      const w = world({ ...entry, cpl: 3, program: "go: syscall\n", idt, scenario: { cr4: 0x11_00f8n } });
      w.set("rsp", w.symbol("user_data") + 0x800n);
      w.step();
      w.inject("nmi");
      w.step();
      expect([w.delivered, w.rsp]).toEqual([
        2,
        (ist ? w.symbol("ist1_stack_top") : w.symbol("user_data") + 0x800n) - 40n,
      ]);
    }
  });

  it("11.7 between the load of the user's RSP and SYSRET an NMI sees CPL 0 with the user's RSP and GS", () => {
    const kernel = "entry: mov %rcx, %rcx\nswapgs\nwindow: sysretq\n";
    const w = world({ ...entry, kernel, cpl: 3, program: "go: syscall\n", idt: { nmi: { ist: 1 } } });
    w.set("kernel_gs_base", 0x4444n);
    w.set("gs_base", 0x3333n);
    w.set("rsp", 0x7000n);
    w.run("window");
    w.inject("nmi");
    w.step();
    expect([w.frame().rsp, w.frame().cs, w.reg("gs_base")]).toEqual([0x7000n, 0x10n, 0x4444n]);
  });
});

describe("11. SYSRET", () => {
  it("11.4 is for CPL 0, and #UD without EFER.SCE", () => {
    expect(fault(world({ cpl: 3, program: "go: sysretq\n" }))).toMatchObject({ vector: 13, error: 0n, at: "go" });
    const w = world({ program: "go: sysretq\n" });
    w.set("efer", w.reg("efer") & ~1n);
    expect(fault(w)).toMatchObject({ vector: 6 });
  });

  it.each([
    ["sysretq", 0x33n, 0xafbn, 64],
    ["sysretl", 0x23n, 0xcfbn, 32],
  ] as const)("11.4 %s: CS and SS from STAR, RIP from RCX, RSP untouched", (spelling, cs, attr, mode) => {
    const w = world({ program: `go: ${spelling}\n`, memory: USERLAND });
    w.set("rcx", w.symbol("user_target"));
    w.set("r11", 2n);
    const rsp = w.rsp;
    w.step();
    expect([w.at, w.cpl, w.reg("cs"), w.reg("ss"), w.rsp]).toEqual(["user_target", 3, cs, 0x2bn, rsp]);
    expect([caches(w, "cs")[2], caches(w, "ss")[2], w.machine.mode()]).toEqual([attr, 0xcf3n, mode]);
  });

  it("11.4 RFLAGS from R11 without RF and VM", () => {
    const w = world({ program: "go: sysretq\n", memory: USERLAND });
    w.set("rcx", w.symbol("user_target"));
    w.set("r11", (0xffn << 32n) | CF | IF | IOPL3 | NT | AC | ID | VIF | VIP | RF | VM);
    w.step();
    expect(w.flags).toBe(2n | CF | IF | IOPL3 | NT | AC | ID | VIF | VIP);
  });

  it("11.4 the 32-bit form takes ECX", () => {
    const w = world({ program: "go: sysretl\n", memory: USERLAND });
    w.set("rcx", 0xffff_0000_0000_0000n | w.symbol("user_target"));
    w.set("r11", 2n);
    w.step();
    expect(w.at).toBe("user_target");
  });

  it("11.5 a non-canonical RCX on Intel is #GP(0) at CPL 0, on the RSP that software has loaded", () => {
    const w = world({ program: "go: sysretq\n", memory: USERLAND, scenario: { cr4: 0x11_00f8n } });
    w.set("rcx", NON_CANONICAL);
    w.set("rsp", w.symbol("user_data") + 0x800n);
    const { frame, ...rest } = fault(w);
    expect(rest).toMatchObject({ vector: 13, error: 0n, at: "go" });
    expect([frame.cs, w.rsp]).toEqual([0x10n, w.symbol("user_data") + 0x800n - 48n]);
  });

  it("11.5 on AMD it goes to CPL 3 and faults there", () => {
    const w = world({ cpu: "amd", program: "go: sysretq\n", memory: USERLAND });
    w.set("rcx", NON_CANONICAL);
    w.set("r11", 2n);
    w.step();
    expect([w.delivered, w.cpl]).toEqual([-1, 3]);
    const { vector, error, frame } = fault(w);
    expect([vector, error, frame.rip, frame.cs, w.rsp]).toEqual([
      13,
      0n,
      NON_CANONICAL,
      0x33n,
      w.symbol("kernel_stack_top") - 48n,
    ]);
  });
});

describe("11. SYSENTER and SYSEXIT", () => {
  const sysenter: Setup = {
    kernel: "entry: nop\nnop\nhlt\n",
    tables: { sysenter: "entry", "sysenter-stack": "kernel" },
    memory: USERLAND,
  };

  it.each([
    [64, 0x10n, 0x18n, 0xa9bn],
    [32, 0x60n, 0x68n, 0xc9bn],
  ] as const)("11.8 SYSENTER in %i-bit mode: everything from MSRs, IF and VM cleared, nothing saved", (mode, cs, ss, attr) => {
    const w = world({ ...sysenter, mode, cpl: 3, program: "go: sysenter\n" });
    w.set("rflags", 0x202n | CF | DF | RF);
    const before = ["rcx", "rdx", "r11"].map((name) => w.reg(name));
    w.step();
    expect([w.at, w.cpl, w.rsp]).toEqual(["entry", 0, w.symbol("kernel_stack_top")]);
    expect([w.reg("cs"), w.reg("ss"), caches(w, "cs")[2], w.flags]).toEqual([cs, ss, attr, 2n | CF | DF]);
    expect(["rcx", "rdx", "r11"].map((name) => w.reg(name))).toEqual(before);
  });

  it("11.8 a null SYSENTER_CS is #GP(0)", () => {
    const w = world({ ...sysenter, cpl: 3, program: "go: sysenter\n" });
    w.set("sysenter_cs", 3n);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it("on AMD SYSENTER and SYSEXIT are #UD in long mode", () => {
    const w = world({ ...sysenter, cpu: "amd", cpl: 3, program: "go: sysenter\n" });
    expect(fault(w)).toMatchObject({ vector: 6, at: "go" });
    expect(fault(world({ cpu: "amd", program: "go: sysexitq\n" }))).toMatchObject({ vector: 6, at: "go" });
  });

  it.each([
    ["sysexitq", 0x33n, 0x3bn, 0xafbn, ~0n],
    ["sysexitl", 0x23n, 0x2bn, 0xcfbn, 0xffff_ffffn],
  ] as const)("11.9 %s: RIP from RDX, RSP from RCX, CS and SS by the width; RFLAGS untouched", (spelling, cs, ss, attr, mask) => {
    const w = world({ program: `go: ${spelling}\n`, memory: USERLAND });
    w.set("sysenter_cs", 0x10n);
    w.set("rdx", w.symbol("user_target") | (0xffff_0000_0000_0000n & ~mask));
    w.set("rcx", (w.symbol("user_data") + 0x10n) | (0xffff_0000_0000_0000n & ~mask));
    w.set("rflags", 2n | CF | DF);
    w.step();
    expect([w.at, w.cpl, w.rsp, w.reg("cs"), w.reg("ss"), caches(w, "cs")[2], w.flags]).toEqual([
      "user_target",
      3,
      w.symbol("user_data") + 0x10n,
      cs,
      ss,
      attr,
      2n | CF | DF,
    ]);
  });

  it("11.9 SYSEXIT is for CPL 0, wants SYSENTER_CS, and its 64-bit form canonical addresses", () => {
    expect(fault(world({ cpl: 3, program: "go: sysexitl\n" }))).toMatchObject({ vector: 13, error: 0n });
    expect(fault(world({ program: "go: sysexitl\n" }))).toMatchObject({ vector: 13, error: 0n }); // MSR is 0
    for (const register of ["rcx", "rdx"]) {
      const w = world({ program: "go: sysexitq\n", registers: { rcx: 0n, rdx: 0n } });
      w.set("sysenter_cs", 0x10n);
      w.set(register, NON_CANONICAL);
      expect(fault(w), register).toMatchObject({ vector: 13, error: 0n, at: "go", frame: { cs: 0x10n } });
    }
  });

  it("11.9 an NMI between STI and SYSEXIT returns with the shadow gone, and then INTR hits at CPL 0", () => {
    const program = "go: sti\nexit: sysexitq\n";
    const w = world({ program, memory: USERLAND, idt: { nmi: { ist: 1 } } });
    w.set("sysenter_cs", 0x10n);
    w.set("rdx", w.symbol("user_target"));
    w.set("rcx", w.symbol("user_data") + 0x800n);
    w.set("rflags", 2n);
    w.inject("intr");
    w.step();
    expect(w.shadowSti).toBe(true);
    w.inject("nmi");
    expect(w.trail(4)).toEqual(["#2", "on_nmi", "on_nmi+1", "#32"]);
    expect(w.frame()).toMatchObject({ rip: w.symbol("exit"), cs: 0x10n });
    // without the NMI the shadow holds until user code runs
    const calm = world({ program, memory: USERLAND });
    calm.set("sysenter_cs", 0x10n);
    calm.set("rdx", calm.symbol("user_target"));
    calm.set("rcx", calm.symbol("user_data") + 0x800n);
    calm.set("rflags", 2n);
    calm.inject("intr");
    expect(calm.trail(3)).toEqual(["go", "exit", "#32"]);
    expect(calm.frame().cs).toBe(0x33n);
  });
});

describe("11. SWAPGS and FSGSBASE", () => {
  it("11.10 SWAPGS exchanges the bases and nothing else; twice is once too often", () => {
    const w = world({ program: "go: swapgs\nswapgs\n" });
    w.set("gs_base", 0x1111n);
    w.set("kernel_gs_base", 0x2222n);
    const before = w.machine.registers().slice(0, 16);
    w.step();
    expect([w.reg("gs_base"), w.reg("kernel_gs_base"), w.reg("gs")]).toEqual([0x2222n, 0x1111n, 0n]);
    expect(w.machine.registers().slice(0, 16)).toEqual(before);
    w.step();
    expect(w.reg("gs_base")).toBe(0x1111n);
  });

  it("11.10 SWAPGS is #GP(0) beyond CPL 0, and #UD outside 64-bit mode", () => {
    expect(fault(world({ cpl: 3, program: "go: swapgs\n" }))).toMatchObject({ vector: 13, error: 0n, at: "go" });
    expect(fault(world({ mode: 32, program: "go: .byte 0x0f, 1, 0xf8\n" }))).toMatchObject({ vector: 6, at: "go" });
    const memory = compatCode("go32: .byte 0x0f, 1, 0xf8\n");
    const w = world({ memory });
    segment(w, "cs", 0x08n, 0xc9bn);
    w.set("rip", w.symbol("go32"));
    expect(fault(w)).toMatchObject({ vector: 6, at: "go32" });
  });

  it("11.11 after SYSCALL the saved CS says kernel while the user's GS base is live", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\n", idt: { nmi: { ist: 1 } } });
    w.set("gs_base", 0x3333n);
    w.step();
    w.inject("nmi");
    w.step();
    expect([w.frame().cs & 3n, w.reg("gs_base")]).toEqual([0n, 0x3333n]);
  });

  it("11.11 with FSGSBASE user code can set a GS base that looks like the kernel's", () => {
    const w = world({ cpl: 3, program: "go: wrgsbase %rax\n" });
    w.set("rax", 0xffff_8880_0000_0000n);
    w.step();
    expect(w.reg("gs_base")).toBe(0xffff_8880_0000_0000n);
  });

  it.each([
    ["rdfsbase", "fs_base"],
    ["rdgsbase", "gs_base"],
  ] as const)("11.12 %s reads at any CPL; the 32-bit form the low half", (spelling, name) => {
    const w = world({ cpl: 3, program: `go: ${spelling} %rbx\n${spelling} %ecx\n` });
    w.set(name, 0x7fff_1234_5678n);
    w.step(2);
    expect([w.reg("rbx"), w.reg("rcx")]).toEqual([0x7fff_1234_5678n, 0x1234_5678n]);
  });

  it.each([
    ["wrfsbase", "fs_base"],
    ["wrgsbase", "gs_base"],
  ] as const)("11.12 %s writes a canonical base, the 32-bit form a zero-extended one", (spelling, name) => {
    const w = world({ cpl: 3, program: `go: ${spelling} %rbx\n${spelling} %ebx\nbad: ${spelling} %rcx\n` });
    w.set("rbx", 0xffff_8888_9999_aaaan);
    w.set("rcx", NON_CANONICAL);
    w.step();
    expect(w.reg(name)).toBe(0xffff_8888_9999_aaaan);
    w.step();
    expect(w.reg(name)).toBe(0x9999_aaaan);
    expect(fault(w)).toMatchObject({ vector: 13, error: 0n, at: "bad" });
  });

  it("11.12 they are #UD without CR4.FSGSBASE and outside 64-bit mode", () => {
    const w = world({ program: "go: rdgsbase %rax\n", scenario: { cr4: 0x30_00f8n } });
    expect(fault(w)).toMatchObject({ vector: 6, at: "go" });
    const narrow = world({ mode: 32, program: "go: .byte 0xf3, 0x0f, 0xae, 0xc8\n", scenario: { cr4: 0x1_00d0n } });
    expect(fault(narrow)).toMatchObject({ vector: 6, at: "go" });
  });
});

describe("11. what the user may not do", () => {
  it.each([
    ["rdmsr"],
    ["wrmsr"],
    ["clts"],
    ["hlt"],
    ["lgdt (%rax)"],
    ["mov %cr3, %rax"],
    ["invlpg (%rax)"],
    ["wbinvd"],
  ])("`%s` at CPL 3 is #GP(0)", (spelling) => {
    expect(fault(world({ cpl: 3, program: `go: ${spelling}\n` }))).toMatchObject({ vector: 13, error: 0n, at: "go" });
  });

  it("TF set by user code does not survive SYSCALL under the usual FMASK", () => {
    const w = world({ ...entry, cpl: 3, program: "go: syscall\n" });
    w.set("rflags", 0x202n | TF);
    w.step();
    expect(w.flags & TF).toBe(0n);
  });
});
