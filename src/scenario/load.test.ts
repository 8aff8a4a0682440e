import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Attr, Ev, Prop, Reg } from "../engine/abi.js";
import { listScenarios } from "./list.js";
import { loadScenario } from "./load.js";
import { PROPERTIES } from "./properties.js";
import type { Scenario } from "./types.js";

const folder = mkdtempSync(join(tmpdir(), "trapcheck-load-"));
const put = (path: string, content: string) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
};

const ENTRY = `
nmi_entry:
  movabs $nmi_stack_top, %rax
  mov %gs:8, %rax
  call external
body:
  nop
body_end:
  ret
.section .rodata
table: .quad nmi_entry
.data
counter: .quad OPTION
`;
const SCENARIO = `title: sixty-four
from: a thought
code: entry.S
define: { OPTION: 0x77 }
stubs: |
  external: ret
programs:
  user:
    code: |
      first: nop
      second: jmp first
    start: second
    registers: { rbx: counter+1, fs_base: 0x1000 }
  idle:
    cpl: 0
    code: "loop: jmp loop"
  declared:
    cpl: 0
    stack: kernel
    code: "nop"
tables:
  idt: { nmi: { entry: nmi_entry, ist: 2 }, 0x20: nmi_entry, bp: { entry: nmi_entry, type: trap } }
  syscall: nmi_entry+1
  sysenter: nmi_entry
  sysenter-stack: kernel
  gs: { user: 0x5000 }
stacks:
  nmi: { size: 0x2000, ist: 2, persistent: [[-16, -8]] }
  kernel: { size: 512, rsp0: true }
memory:
  area: { data: ".quad nmi_entry, 5" }
  low: { size: 16, user: true, writable: false }
  percpu: { size: 4096, address: 0xffff888000000000 }
discarded: [[counter, 8]]
events:
  nmi: anywhere
  intr: { vector: 0x20, in: user, limit: 3 }
  brk: { event: bp, in: [body, [nmi_entry, nmi_entry+4]] }
body: { start: body, end: body_end, regs: rdi }
double-fault: handled
assumptions: [the moon is round]
expect: { verdict: violated, property: resume, events: 2 }
threats:
  user: { nmi: holds, bp: resume }
  idle: { bp: { property: progress, events: 3 } }
`;

beforeAll(() => {
  put("one/entry.S", ENTRY);
  put("one/scenario.yaml", SCENARIO);
  put("one/variant.yaml", "extends: scenario.yaml\ntitle: other\nprogram: idle\nbody: null\nevents: { brk: null }\n");
  put("narrow/entry.S", "entry: iret\n.data\nword: .long kernel_stack_top\n");
  put(
    "narrow/scenario.yaml",
    `code: entry.S
mode: 32
programs: { user: { code: "nop" }, kernel: { cpl: 0, stack: kernel, code: "nop" } }
tables: { idt: { nmi: entry } }
stacks: { kernel: { size: 4096, rsp0: true } }
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A machine's view: physical memory, and linear addresses through the page tables that CR3 points to. */
class View {
  readonly physical: Uint8Array;
  readonly data: DataView;

  constructor(readonly scenario: Scenario) {
    this.physical = new Uint8Array(scenario.memory.size);
    this.data = new DataView(this.physical.buffer);
    for (const { physical, bytes } of scenario.memory.chunks) this.physical.set(bytes, physical);
  }

  /** the last-level entry; undefined: not mapped */
  entry(linear: bigint): bigint | undefined {
    const wide = this.scenario.mode === 64;
    let table = this.scenario.registers.get(Reg.CR3) ?? 0n;
    let entry = 0n;
    for (const shift of wide ? [39n, 30n, 21n, 12n] : [22n, 12n]) {
      const index = Number((linear >> shift) & (wide ? 0x1ffn : 0x3ffn));
      entry = wide
        ? this.data.getBigUint64(Number(table) + 8 * index, true)
        : BigInt(this.data.getUint32(Number(table) + 4 * index, true));
      if ((entry & 1n) === 0n) return undefined;
      table = entry & 0xffff_f000n;
    }
    return entry;
  }

  /** little-endian number of `size` bytes at a linear address */
  read(linear: bigint, size: number): bigint {
    let value = 0n;
    for (let at = size - 1; at >= 0; at--) {
      const address = linear + BigInt(at);
      const entry = this.entry(address) ?? 0n;
      value = (value << 8n) | BigInt(this.physical[Number((entry & 0xffff_f000n) + (address & 0xfffn))] ?? 0);
    }
    return value;
  }

  /** U, W, X */
  rights(linear: bigint): string {
    const entry = this.entry(linear);
    if (entry === undefined) return "-";
    const text = [(entry & 4n) !== 0n ? "u" : "s", (entry & 2n) !== 0n ? "w" : "r", entry >> 63n === 0n ? "x" : ""];
    return text.join("");
  }
}

const registersOf = (scenario: Scenario, ...names: (keyof typeof Reg)[]) =>
  names.map((name) => scenario.registers.get(Reg[name] as Reg) ?? 0n);

describe("a 64-bit scenario", () => {
  it("places and links everything", () => {
    const scenario = loadScenario(join(folder, "one"));
    const view = new View(scenario);
    const { symbols } = scenario.image;
    const symbol = (name: string) => symbols.get(name) ?? 0n;
    expect(symbol("nmi_entry")).toBe(0xffff_ffff_8100_0000n);
    expect(symbol("table")).toBe(0xffff_ffff_8100_1000n);
    expect(symbol("counter")).toBe(0xffff_ffff_8100_2000n);
    expect(symbol("first")).toBe(0x40_0000n);
    expect(symbol("percpu")).toBe(0xffff_8880_0000_0000n);
    expect(symbol("user_stack_top")).toBe(0x7fff_ffff_f000n);
    expect(symbol("nmi_stack_top") - symbol("nmi_stack")).toBe(0x2000n);
    expect(view.read(symbol("nmi_entry") + 2n, 8)).toBe(symbol("nmi_stack_top"));
    expect(view.read(symbol("table"), 8)).toBe(symbol("nmi_entry"));
    expect(view.read(symbol("counter"), 8)).toBe(0x77n);
    expect(view.read(symbol("area"), 8)).toBe(symbol("nmi_entry"));
    expect(view.read(symbol("area") + 8n, 8)).toBe(5n);
  });

  it("maps pages with their rights, and guard pages not at all", () => {
    const scenario = loadScenario(join(folder, "one"));
    const view = new View(scenario);
    const at = (name: string) => scenario.image.symbols.get(name) ?? 0n;
    const rights = Object.fromEntries(
      ["nmi_entry", "table", "counter", "first", "area", "low", "percpu", "nmi_stack", "user_stack", "cpu_idt"].map(
        (name) => [name, view.rights(at(name))],
      ),
    );
    expect(rights).toEqual({
      nmi_entry: "srx",
      table: "sr",
      counter: "sw",
      first: "urx",
      area: "sw",
      low: "ur",
      percpu: "sw",
      nmi_stack: "sw",
      user_stack: "uw",
      cpu_idt: "sw",
    });
    for (const stack of scenario.stacks) expect(view.rights((stack.low & ~0xfffn) - 1n)).toBe("-");
    // Accessed and dirty are set.
    expect((view.entry(at("counter")) ?? 0n) & 0x60n).toBe(0x60n);
  });

  it("builds the IDT, GDT and TSS (facts 4.1, 4.6, 4.7)", () => {
    const scenario = loadScenario(join(folder, "one"));
    const view = new View(scenario);
    const [idt = 0n, idtLimit, gdt = 0n, gdtLimit, tss = 0n] = registersOf(
      scenario,
      "IDTR_BASE",
      "IDTR_LIMIT",
      "GDTR_BASE",
      "GDTR_LIMIT",
      "TR_BASE",
    );
    const gate = (vector: bigint) => [view.read(idt + 16n * vector, 8), view.read(idt + 16n * vector + 8n, 8)];
    expect([idtLimit, gdtLimit]).toEqual([0xfffn, 0x4fn]);
    expect(gate(2n)).toEqual([0x8100_8e02_0010_0000n, 0xffff_ffffn]);
    expect(gate(0x20n)).toEqual([0x8100_8e00_0010_0000n, 0xffff_ffffn]);
    expect(gate(3n)).toEqual([0x8100_ef00_0010_0000n, 0xffff_ffffn]);
    expect(gate(4n)).toEqual([0n, 0n]);
    expect(view.read(gdt + 0x10n, 8)).toBe(0x00af_9b00_0000_ffffn);
    expect(view.read(gdt + 0x18n, 8)).toBe(0x00cf_9300_0000_ffffn);
    expect(view.read(gdt + 0x28n, 8)).toBe(0x00cf_f300_0000_ffffn);
    expect(view.read(gdt + 0x30n, 8)).toBe(0x00af_fb00_0000_ffffn);
    expect(view.read(gdt + 0x40n, 8)).toBe(0x0000_8b00_2000_0067n);
    expect(view.read(gdt + 0x48n, 8)).toBe(0xffff_fe00n);
    const at = (name: string) => scenario.image.symbols.get(name);
    expect(view.read(tss + 4n, 8)).toBe(at("kernel_stack_top"));
    expect(view.read(tss + 28n + 16n, 8)).toBe(at("nmi_stack_top"));
    expect(view.read(tss + 0x66n, 2)).toBe(0x68n);
  });

  it("starts user code as Linux would", () => {
    const scenario = loadScenario(join(folder, "one"));
    const at = (name: string) => scenario.image.symbols.get(name) ?? 0n;
    expect(scenario.cpl).toBe(3);
    expect(registersOf(scenario, "RIP", "RFLAGS", "RSP", "STATE", "RBX", "RAX")).toEqual([
      at("second"),
      0x202n,
      at("user_stack_top") - 64n,
      3n,
      at("counter") + 1n,
      0x0101_0101_0101_0101n,
    ]);
    expect(registersOf(scenario, "CS_SEL", "CS_ATTR", "SS_SEL", "SS_ATTR", "DS_SEL", "DS_ATTR")).toEqual([
      0x33n,
      0xafbn,
      0x2bn,
      0xcf3n,
      0n,
      BigInt(Attr.NULL),
    ]);
    expect(registersOf(scenario, "FS_BASE", "GS_BASE", "KERNEL_GS_BASE")).toEqual([0x1000n, 0x5000n, at("percpu")]);
    expect([scenario.kernelGs, scenario.registers.get(Reg.GS_BASE)]).toEqual([at("percpu"), 0x5000n]);
    expect(registersOf(scenario, "CR0", "CR4", "EFER", "STAR", "FMASK", "LSTAR")).toEqual([
      0x8005_0033n,
      0x31_00f8n,
      0xd01n,
      0x0023_0010_0000_0000n,
      0x4_7700n,
      at("nmi_entry") + 1n,
    ]);
    expect(registersOf(scenario, "SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP")).toEqual([
      0x10n,
      at("kernel_stack_top"),
      at("nmi_entry"),
    ]);
    expect(
      registersOf(scenario, "DR6", "DR7", "APIC_BASE", "PAT", "MCG_STATUS", "TR_SEL", "TR_ATTR", "BUDGET"),
    ).toEqual([0xffff_0ff0n, 0x400n, 0xfee0_0900n, 0x0007_0406_0007_0406n, 0n, 0x40n, 0x8bn, 3n]);
    const general = [...Array(16).keys()].map((reg) => scenario.registers.get(reg));
    expect(new Set(general).size).toBe(16);
  });

  it("starts kernel code with the kernel's GS base, on its own stack or a declared one", () => {
    const own = loadScenario(join(folder, "one"), { program: "idle" });
    const at = (name: string) => own.image.symbols.get(name) ?? 0n;
    expect(registersOf(own, "CS_SEL", "CS_ATTR", "SS_SEL", "STATE")).toEqual([0x10n, 0xa9bn, 0x18n, 0n]);
    expect(registersOf(own, "GS_BASE", "KERNEL_GS_BASE")).toEqual([at("percpu"), 0x5000n]);
    expect(own.stacks.at(-1)?.name).toBe("idle");
    expect(registersOf(own, "RSP")).toEqual([at("idle_stack_top") - 64n]);
  });

  it("tells text, entry code and areas apart", () => {
    const scenario = loadScenario(join(folder, "one"), { program: "declared" });
    const at = (name: string) => scenario.image.symbols.get(name) ?? 0n;
    const [entry] = scenario.entry;
    const [text] = scenario.text;
    expect(entry).toEqual({ low: at("nmi_entry"), high: at("external") + 1n });
    expect(text).toEqual({ low: at("nmi_entry"), high: at("external") + 2n });
    expect(scenario.registers.get(Reg.RSP)).toBe(at("kernel_stack_top") - 64n);
    const user = loadScenario(join(folder, "one"));
    expect(user.text).toEqual(user.entry);
    expect(user.events).toEqual([
      { name: "intr", kind: Ev.INTR, ranges: [{ low: 0x40_0000n, high: 0x40_0003n }], limit: 3, vector: 0x20 },
      { name: "nmi", kind: Ev.NMI },
      {
        name: "brk",
        kind: Ev.BP,
        ranges: [
          { low: at("nmi_entry"), high: at("nmi_entry") + 4n },
          { low: at("body"), high: at("body_end") },
        ],
      },
    ]);
  });

  it("returns expectations, assumptions and the rest", () => {
    const scenario = loadScenario(join(folder, "one"));
    const top = scenario.image.symbols.get("nmi_stack_top") ?? 0n;
    expect(scenario.persistent).toEqual([{ low: top - 16n, high: top - 8n }]);
    expect(scenario.expect).toEqual({ verdict: "violated", property: Prop.RESUME, events: 2 });
    expect(scenario.threats?.get("idle")?.get("bp")).toEqual({
      verdict: "violated",
      property: Prop.PROGRESS,
      events: 3,
    });
    expect(scenario.survivesDoubleFault).toBe(true);
    expect(scenario.from).toBe("a thought");
    expect(scenario.body?.regs?.layout).toContainEqual([Reg.RIP, 128]);
    expect(scenario.assumptions).toEqual([
      "the moon is round",
      "intr strikes at most 3 times only in user code",
      "brk strikes only in the handler's body and nmi_entry to nmi_entry+4",
      "writes to counter (8 bytes) are dropped, and reads give zero",
      "stack nmi keeps its bytes from -16 to -8 between activities",
      "the handler of #DF survives it",
    ]);
    const lines = scenario.image.lines.filter(({ file }) => file.endsWith("scenario.yaml"));
    expect(lines.find(({ address }) => address === scenario.registers.get(Reg.RIP))?.line).toBe(11);
  });

  it("a threat replaces the events and brings its own expectation", () => {
    const scenario = loadScenario(join(folder, "one"), { threat: "bp" });
    expect(scenario.events.map(({ name, ranges }) => [name, ranges === undefined])).toEqual([
      ["nmi", true],
      ["bp", false],
    ]);
    expect(scenario.expect).toEqual({ verdict: "violated", property: Prop.RESUME });
    expect(loadScenario(join(folder, "one"), { program: "declared", threat: "bp" }).expect).toBeUndefined();
  });

  it("properties: what is on by itself, and what needs a body", () => {
    const names = (scenario: Scenario) =>
      PROPERTIES.filter(({ prop }) => scenario.properties.has(prop)).map(({ name }) => name);
    const always = "resume progress nmi-unmasked stack-bounds no-shutdown text-only gs-base stale-read".split(" ");
    expect(names(loadScenario(join(folder, "one/variant.yaml")))).toEqual(always);
    expect(names(loadScenario(join(folder, "one")))).toEqual([
      ...always.slice(0, 2),
      "nmi-served",
      "nmi-reentry",
      ...always.slice(2),
    ]);
    expect(PROPERTIES.map(({ prop }) => prop)).toEqual([...Array(Prop.COUNT).keys()]);
  });
});

describe("a 32-bit scenario", () => {
  it("has Linux's selectors, two levels of page tables and wrapped addresses", () => {
    const scenario = loadScenario(join(folder, "narrow"));
    const view = new View(scenario);
    const at = (name: string) => scenario.image.symbols.get(name) ?? 0n;
    expect(at("entry")).toBe(0xc100_0000n);
    expect(view.read(at("word"), 4)).toBe(at("kernel_stack_top"));
    expect([view.rights(at("entry")), view.rights(0x0804_8000n), view.rights(at("user_stack"))]).toEqual([
      "srx",
      "urx",
      "uwx",
    ]);
    expect(registersOf(scenario, "CS_SEL", "SS_SEL", "DS_SEL", "FS_SEL", "TR_SEL", "CR4", "EFER")).toEqual([
      0x73n,
      0x7bn,
      0x7bn,
      0n,
      0x80n,
      0xd0n,
      0n,
    ]);
    const [idt = 0n, tss = 0n, gdt = 0n] = registersOf(scenario, "IDTR_BASE", "TR_BASE", "GDTR_BASE");
    expect(view.read(idt + 16n, 8)).toBe(0xc100_8e00_0060_0000n);
    expect([view.read(tss + 4n, 4), view.read(tss + 8n, 2)]).toEqual([at("kernel_stack_top"), 0x68n]);
    expect(view.read(gdt + 0xd8n, 8)).toBe(0xf7cf_9300_0000_ffffn);
    expect(scenario.kernelGs).toBeUndefined();
    const kernel = loadScenario(join(folder, "narrow"), { program: "kernel" });
    expect(registersOf(kernel, "CS_SEL", "SS_SEL", "FS_SEL", "FS_BASE")).toEqual([0x60n, 0x68n, 0xd8n, 0xf700_0000n]);
  });
});

it("lists the scenarios of a folder", () => {
  const list = listScenarios(folder);
  expect(list.map(({ name, title, programs, threats }) => [name, title, programs, threats])).toEqual([
    ["narrow", "narrow", ["user", "kernel"], ["nmi"]],
    ["one", "sixty-four", ["user", "idle", "declared"], ["nmi", "bp"]],
    ["one/variant", "other", ["idle", "user", "declared"], ["nmi"]],
  ]);
  expect(listScenarios(join(folder, "narrow"))).toHaveLength(1);
});

const tools = ["as", "ld"].every((tool) => spawnSync(tool, ["--version"]).status === 0) && process.arch === "x64";

describe.skipIf(!tools)("objects and executables of GNU as and ld (skipped without them)", () => {
  const yaml = (code: string, rest = "") => `code: ${code}
programs: { user: { code: "s: jmp s" } }
tables: { idt: { nmi: { entry: nmi_entry, ist: 1 } } }
stacks: { nmi: { size: 4096, address: nmi_area+4096, ist: 1 } }
${rest}`;

  beforeAll(() => {
    put("elf/k.s", ".globl nmi_entry\nnmi_entry: call handler\niretq\n.bss\n.balign 4096\nnmi_area: .skip 8192\n");
    put("elf/h.s", ".globl handler\nhandler: ret\n");
    const run = (command: string, ...args: string[]) =>
      execFileSync(command, args, { cwd: join(folder, "elf"), stdio: "pipe" });
    for (const name of ["k", "h"]) run("as", "--64", `${name}.s`, "-o", `${name}.o`);
    run(
      "ld",
      "-e",
      "nmi_entry",
      "-Ttext=0xffffffff81100000",
      "-z",
      "max-page-size=4096",
      "k.o",
      "h.o",
      "-o",
      "vmlinux",
    );
  });

  it.each([
    ["an executable stays where it is", yaml("vmlinux"), 0xffff_ffff_8110_0000n],
    ["an object with stubs", yaml("k.o", "stubs: 'handler: ret'\n"), 0xffff_ffff_8100_0000n],
    ["two objects", yaml("[k.o, h.o]"), 0xffff_ffff_8100_0000n],
  ])("%s", (_, text, base) => {
    put("elf/scenario.yaml", text);
    const scenario = loadScenario(join(folder, "elf"));
    const at = (name: string) => scenario.image.symbols.get(name) ?? 0n;
    expect(at("nmi_entry")).toBe(base);
    expect(scenario.text[0]?.low).toBe(base);
    // A stack inside the code's own .bss
    expect(scenario.stacks[0]).toEqual({ name: "nmi", low: at("nmi_area") + 4096n, high: at("nmi_area") + 8192n });
    const call = new View(scenario).read(base + 1n, 4);
    expect(base + 5n + BigInt.asIntN(32, call)).toBe(at("handler"));
  });

  it("an object without what it needs, or of the other mode", () => {
    put("elf/scenario.yaml", yaml("k.o"));
    expect(() => loadScenario(join(folder, "elf"))).toThrow(
      "undefined symbol handler; `stubs` of the scenario can define them",
    );
    put("elf/scenario.yaml", yaml("k.o", "mode: 32\n"));
    expect(() => loadScenario(join(folder, "elf"))).toThrow(
      "k.o is 64-bit code, but the scenario's mode is 32; expected `mode: 64`",
    );
  });
});
