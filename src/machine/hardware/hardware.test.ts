// The integer instructions of the engine against a real CPU: record.js has executed each case there, here the engine does.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Op, Reg, Status } from "../../engine/abi.js";
import { decode } from "../../isa/decode.js";
import { format } from "../../isa/format.js";
import type { Insn } from "../../isa/insn.js";
import { loadScenario } from "../../scenario/load.js";
import { Machine } from "../machine.js";
import { engineModule } from "../wasm.js";

const CF = 1;
const AF = 0x10;
const OF = 0x800;
const ALL = 0x8d5;
const NOT_ZF = ALL & ~0x40;

/**
 * Arithmetic flags that the manual leaves undefined (SDM vol. 1, appendix A, and the instructions' pages in vol. 2).
 * `count` is the masked count of a shift, 0 elsewhere. Operations that are not listed define all flags or leave them.
 */
function undefinedFlags(op: Op, count: number, bits: number): number {
  switch (op) {
    case Op.AND:
    case Op.OR:
    case Op.XOR:
    case Op.TEST:
      return AF;
    case Op.MUL:
    case Op.IMUL1:
    case Op.IMUL2:
      return ALL & ~(CF | OF);
    case Op.DIV:
    case Op.IDIV:
      return ALL;
    case Op.BSF:
    case Op.BSR:
      return NOT_ZF;
    case Op.TZCNT:
    case Op.LZCNT:
      return ALL & ~(CF | 0x40);
    case Op.BT:
    case Op.BTS:
    case Op.BTR:
    case Op.BTC:
      return NOT_ZF & ~CF;
    case Op.ROL:
    case Op.ROR:
    case Op.RCL:
    case Op.RCR:
      return count > 1 ? OF : 0;
    case Op.SHL:
    case Op.SHR:
      return count === 0 ? 0 : AF | (count > 1 ? OF : 0) | (count >= bits ? CF : 0);
    case Op.SAR:
    case Op.SHLD:
    case Op.SHRD:
      return count === 0 ? 0 : AF | (count > 1 ? OF : 0);
    default:
      return 0;
  }
}

const SHIFTS = new Set([Op.ROL, Op.ROR, Op.RCL, Op.RCR, Op.SHL, Op.SHR, Op.SAR, Op.SHLD, Op.SHRD]);

/** The flags to be compared: RF is clear after every trap of the recorder. */
function definedFlags(insn: Insn, cl: number): bigint {
  const last = insn.operands.at(-1);
  const raw = last?.kind === "imm" ? Number(last.value & 0xffn) : cl;
  const count = SHIFTS.has(insn.op) ? raw & (insn.opSize === 8 ? 63 : 31) : 0;
  return 0x3f_7fd7n & ~0x1_0000n & ~BigInt(undefinedFlags(insn.op, count, insn.opSize * 8));
}

/** See record.js for the format. */
interface Vectors {
  readonly head: Readonly<Record<"cpu" | "data" | "code" | "fs" | "gs" | "baseline", string>> & {
    readonly slot: number;
    readonly sets: readonly string[];
  };
  readonly cases: ReadonlyArray<readonly [mode: 32 | 64, code: string, input: string, output: string]>;
}

const { head, cases } = JSON.parse(readFileSync(new URL("integer.vectors.json", import.meta.url), "utf8")) as Vectors;
const NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const number = (text: string) => BigInt(`0x${text}`);
const hex = (value: bigint) => value.toString(16);
const DATA = number(head.data);
const CODE = number(head.code);
const BASELINE = Buffer.from(head.baseline, "hex");
const SETS = head.sets.map((set) => set.split(" ").map(number));
const ITERATIONS = 1000;

const scenario = (mode: 32 | 64) => `
title: single instructions at CPL 3
mode: ${mode}
code: entry.S
tables: { idt: { de: entry, ud: entry, ss: entry, gp: entry, pf: entry, ac: entry } }
stacks: { kernel: { size: 4096, rsp0: true } }
memory:
  data: { address: 0x${head.data}, size: ${BASELINE.length}, user: true }
  instructions: { address: 0x${head.code}, size: ${head.slot * cases.length}, user: true, executable: true, writable: false }
programs:
  user: { code: nop${mode === 64 ? `, registers: { fs_base: 0x${head.fs}, gs_base: 0x${head.gs} }` : ""} }
events: {}
properties: [stale-read]
expect: holds
`;

/** A machine of one mode, with everything in memory that no case changes. */
class Bench {
  readonly machine: Machine;
  readonly kernelStackTop: bigint;
  readonly ram: Buffer;

  constructor(readonly mode: 32 | 64) {
    const folder = mkdtempSync(join(tmpdir(), "trapcheck-hardware-"));
    try {
      writeFileSync(join(folder, "entry.S"), "entry: hlt\n");
      writeFileSync(join(folder, "scenario.yaml"), scenario(mode));
      this.machine = new Machine(engineModule(), loadScenario(folder));
    } finally {
      rmSync(folder, { recursive: true });
    }
    this.kernelStackTop = this.machine.scenario.stacks.find(({ name }) => name === "kernel")?.high ?? 0n;
    this.place(BASELINE, DATA);
    cases.forEach(([, code], n) => {
      this.place(Buffer.from(code, "hex"), CODE + BigInt(n * head.slot));
    });
    this.ram = this.at(DATA, BASELINE.length);
  }

  /** Guest memory from a linear address on, whose pages lie one behind the other. */
  private at(address: bigint, length: number): Buffer {
    const physical = this.machine.physical(address);
    if (physical === undefined || this.machine.physical(address + BigInt(length - 1)) !== physical + length - 1)
      throw new Error(`${hex(address)} is not in one piece`);
    return Buffer.from(this.machine.memory.buffer, this.machine.engine.ram() + physical, length);
  }

  private place(bytes: Uint8Array, address: bigint): void {
    this.at(address, bytes.length).set(bytes);
  }
}

interface Case {
  readonly mode: 32 | 64;
  readonly insn: Insn;
  readonly address: bigint;
  readonly gpr: readonly bigint[];
  readonly flags: bigint;
  readonly memory: ReadonlyArray<readonly [offset: number, bytes: Buffer]>;
  readonly compared: bigint;
  readonly expected: string;
}

function readCase(n: number): Case {
  const [mode, code, input, output] = cases[n] ?? [64, "", "", ""];
  const result = decode(Buffer.from(code, "hex"), mode);
  if (!result.ok) throw new Error(`case ${n}: ${code} does not decode`);
  const [set = "", ...words] = input.split(" ");
  const gpr = (SETS[Number.parseInt(set, 16)] ?? []).map((value) => BigInt.asUintN(mode, value));
  const memory: [number, Buffer][] = [];
  let flags = 0n;
  for (const word of words) {
    const [name = "", text = ""] = word.split("=");
    if (name.startsWith("@")) memory.push([Number.parseInt(name.slice(1), 16), Buffer.from(text, "hex")]);
    else if (name === "fl") flags = number(text);
    else gpr[NAMES.indexOf(name)] = number(text);
  }
  const compared = definedFlags(result.insn, Number((gpr[1] ?? 0n) & 0xffn));
  const expected = output.replace(/fl=([0-9a-f]+)/, (_, text) => `fl=${hex(number(text) & compared)}`);
  const address = CODE + BigInt(n * head.slot);
  return { mode, insn: result.insn, address, gpr, flags, memory, compared, expected };
}

/** Selector, base, limit and attributes, as Linux's GDT and the scenario's 64-bit one have them. */
const COMPATIBILITY: ReadonlyArray<readonly [Reg, bigint]> = [
  [Reg.CS_SEL, 0x23n],
  [Reg.CS_LIMIT, 0xffff_ffffn],
  [Reg.CS_ATTR, 0xcfbn],
  ...[Reg.DS_SEL, Reg.ES_SEL].flatMap((first): [Reg, bigint][] => [
    [first, 0x2bn],
    [first + 2, 0xffff_ffffn],
    [first + 3, 0xcf3n],
  ]),
];

/** Executes a case and gives its output in the words of the vectors. */
function execute({ machine, mode: benchMode, kernelStackTop, ram }: Bench, one: Case): string {
  const { mode, insn, address, gpr } = one;
  machine.reset();
  if (mode !== benchMode) for (const [register, value] of COMPATIBILITY) machine.setRegister(register, value);
  gpr.forEach((value, i) => {
    machine.setRegister(Reg.RAX + i, value);
  });
  machine.setRegister(Reg.RFLAGS, one.flags);
  machine.setRegister(Reg.RIP, address);
  for (const [offset, bytes] of one.memory) bytes.copy(ram, offset);
  const before = Buffer.from(ram);

  const repeats = insn.rep || insn.repne;
  const bases = { fs: machine.register(Reg.FS_BASE), gs: machine.register(Reg.GS_BASE) };
  let status: Status;
  let vector: number;
  let iterations = 0;
  do {
    status = machine.step();
    vector = machine.engine.delivered();
  } while (
    repeats &&
    status === Status.OK &&
    vector < 0 &&
    machine.register(Reg.RIP) === address &&
    ++iterations < ITERATIONS
  );

  const after = machine.registers();
  const said: string[] = status === Status.OK ? [] : [`status=${Status[status]}`];
  const saved = (word: bigint) =>
    BigInt.asUintN(benchMode, machine.word(kernelStackTop - (word * BigInt(benchMode)) / 8n) ?? 0n);
  NAMES.forEach((name, i) => {
    const value = vector >= 0 && i === Reg.RSP ? saved(2n) : after[i];
    if (value !== gpr[i]) said.push(`${name}=${hex(value ?? 0n)}`);
  });
  if (vector >= 0) {
    said.push(`fault=${vector.toString(16)}${vector === 14 ? `:${hex(after[Reg.CR2] ?? 0n)}` : ""}`);
    if (saved(5n) !== address) said.push(`saved-rip=${hex(saved(5n))}`);
  } else {
    said.push(`fl=${hex((after[Reg.RFLAGS] ?? 0n) & one.compared)}`);
    if (after[Reg.RIP] !== address + BigInt(insn.length)) said.push(`rip=${hex(after[Reg.RIP] ?? 0n)}`);
    if (mode === 64 && after[Reg.FS_BASE] !== bases.fs) said.push(`fs=${hex(after[Reg.FS_BASE] ?? 0n)}`);
    if (mode === 64 && after[Reg.GS_BASE] !== bases.gs) said.push(`gs=${hex(after[Reg.GS_BASE] ?? 0n)}`);
  }
  said.push(...differences(before, ram));
  machine.reset();
  for (const [offset, bytes] of one.memory) BASELINE.copy(ram, offset, offset, offset + bytes.length);
  return said.join(" ");
}

/** `@offset=bytes` for each run of bytes that differ. */
function differences(before: Buffer, after: Buffer): string[] {
  if (before.equals(after)) return [];
  const runs: string[] = [];
  for (let at = 0; at < before.length; at++) {
    const start = at;
    while (at < before.length && before[at] !== after[at]) at++;
    if (at > start) runs.push(`@${start.toString(16)}=${after.toString("hex", start, at)}`);
  }
  return runs;
}

const REPORTED = 20;

/** How much of a PUSHA or POPA is done when a part of it faults is left to the CPU: only the fault counts. */
function settled(insn: Insn, output: string): string {
  if (insn.op !== Op.PUSHA && insn.op !== Op.POPA) return output;
  return /fault=\S+/.exec(output)?.[0] ?? output;
}

/** The engine's mismatches among the cases, as text: none is the empty string. */
function mismatches(bench: Bench, wanted: (one: Case) => boolean): string {
  const found: string[] = [];
  let ran = 0;
  cases.forEach(([, code, input], n) => {
    const one = readCase(n);
    if (!wanted(one)) return;
    ran++;
    const actual = settled(one.insn, execute(bench, one));
    if (actual === settled(one.insn, one.expected)) return;
    const text = format(one.insn, one.address, "intel");
    found.push(
      `${one.mode}-bit ${code} ${text}\n  input    ${input}\n  hardware ${one.expected}\n  engine   ${actual}`,
    );
  });
  expect(ran).toBeGreaterThan(0);
  if (found.length === 0) return "";
  return `${found.length} of ${ran} cases differ\n${found.slice(0, REPORTED).join("\n")}`;
}

/** Their operands depend on selectors, which a 32-bit kernel numbers otherwise. */
function usesSelectors({ insn }: Case): boolean {
  const asks = [Op.LAR, Op.LSL, Op.VERR, Op.VERW].includes(insn.op);
  return asks || insn.operands.some(({ kind }) => kind === "sreg");
}

describe(`single instructions as recorded on ${head.cpu}`, () => {
  const long = new Bench(64);

  it("executes 64-bit code as the CPU did", () => {
    expect(mismatches(long, ({ mode }) => mode === 64)).toBe("");
  });

  it("executes 32-bit code in compatibility mode as the CPU did", () => {
    expect(mismatches(long, ({ mode }) => mode === 32)).toBe("");
  });

  it("executes 32-bit code in protected mode as the CPU did in compatibility mode", () => {
    expect(mismatches(new Bench(32), (one) => one.mode === 32 && !usesSelectors(one))).toBe("");
  });

  it("has cases of every integer operation", () => {
    const recorded = new Set(cases.map((_, n) => readCase(n).insn.op));
    const integer = Array.from({ length: Op.XLAT - Op.ADD + 1 }, (_, i) => (Op.ADD + i) as Op);
    // far transfers, returns and software interrupts go through descriptors, which are tested with events
    const elsewhere = [Op.JMPF, Op.CALLF, Op.RETF, Op.IRET, Op.INT, Op.INT3, Op.INT1, Op.INTO];
    const missing = integer.filter((op) => !recorded.has(op) && !elsewhere.includes(op));
    expect(missing.map((op) => Op[op])).toEqual([]);
  });
});
