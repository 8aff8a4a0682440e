// Random bytes through this decoder and through iced-x86: same length, name, operands and prefixes, or a reason why not.

import iced from "iced-x86";
import { describe, expect, it } from "vitest";
import { Op } from "../engine/abi.js";
import { decode } from "./decode.js";
import type { Insn, Mode, Operand } from "./insn.js";

const CASES = 60_000;
const SEED = 0x5eed_2008;

/** xorshift32: the same bytes on every machine. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const PREFIXES = [0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];

function randomBytes(random: (below: number) => number, mode: Mode): Uint8Array {
  const bytes: number[] = [];
  while (bytes.length < 4 && random(3) === 0) bytes.push(PREFIXES[random(PREFIXES.length)] ?? 0);
  if (mode === 64 && random(2) === 0) bytes.push(0x40 + random(16));
  const escapes = random(8);
  if (escapes < 4) bytes.push(0x0f);
  if (escapes === 0) bytes.push([0x01, 0x00, 0xae, 0xc7, 0x1e, 0x38, 0x20 + random(4), 0xba][random(8)] ?? 0);
  while (bytes.length < 16) bytes.push(random(256));
  return Uint8Array.from(bytes);
}

const REGISTERS = new Map(Object.entries(iced.Register).map(([name, value]) => [value as number, name.toLowerCase()]));
const MNEMONICS = new Map(Object.entries(iced.Mnemonic).map(([name, value]) => [value as number, name.toLowerCase()]));

const LOW = ["a", "c", "d", "b", "sp", "bp", "si", "di"];

function gprName(number: number, size: number, high = false): string {
  if (high) return `${LOW[number]}h`;
  if (number >= 8) return `r${number}${size === 8 ? "" : size === 4 ? "d" : size === 2 ? "w" : "l"}`;
  const low = LOW[number] ?? "";
  if (size === 1) return `${low}l`;
  const word = number < 4 ? `${low}x` : low;
  return size === 2 ? word : size === 4 ? `e${word}` : `r${word}`;
}

const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"];

/** 64-bit mode ignores all but FS and GS; iced keeps the others as written. */
const effective = (segment: string, mode: Mode) =>
  mode === 64 && segment !== "fs" && segment !== "gs" ? "flat" : segment;

function mine(operand: Operand, insn: Insn, mode: Mode): string {
  switch (operand.kind) {
    case "gpr":
      return gprName(operand.number, operand.size, operand.high);
    case "sreg":
      return SEGMENTS[operand.number] ?? "";
    case "creg":
      return `cr${operand.number}`;
    case "dreg":
      return `dr${operand.number}`;
    case "imm":
      return `imm${BigInt.asUintN(8 * operand.size, operand.value).toString(16)}`;
    case "rel": {
      const size = insn.opSize === 8 ? 64 : 8 * insn.opSize;
      return `to${BigInt.asUintN(size, operand.value + BigInt(insn.length)).toString(16)}`;
    }
    case "far":
      return `far${operand.selector.toString(16)}:${operand.offset.toString(16)}`;
    case "mem": {
      const base = operand.base === undefined ? "none" : gprName(operand.base, insn.addrSize);
      const index = operand.index === undefined ? "none" : gprName(operand.index, insn.addrSize);
      const ripRelative = operand.ripRelative ? "rip" : "";
      const disp = BigInt.asUintN(8 * insn.addrSize, operand.disp + (operand.ripRelative ? BigInt(insn.length) : 0n));
      return `${effective(SEGMENTS[insn.segment] ?? "", mode)}:[${ripRelative || base}+${index}*${operand.scale}+${disp.toString(16)}]`;
    }
  }
}

function theirs(insn: iced.Instruction, index: number, addrSize: number, mode: Mode): string {
  const { OpKind, Register } = iced;
  const immediate = (value: bigint | number, bits: number) => `imm${BigInt.asUintN(bits, BigInt(value)).toString(16)}`;
  switch (insn.opKind(index)) {
    case OpKind.Register:
      return REGISTERS.get(insn.opRegister(index)) ?? "";
    case OpKind.Immediate8:
    case OpKind.Immediate8_2nd:
      return immediate(insn.immediate(index), 8);
    case OpKind.Immediate16:
    case OpKind.Immediate8to16:
      return immediate(insn.immediate(index), 16);
    case OpKind.Immediate32:
    case OpKind.Immediate8to32:
      return immediate(insn.immediate(index), 32);
    case OpKind.Immediate64:
    case OpKind.Immediate8to64:
    case OpKind.Immediate32to64:
      return immediate(insn.immediate(index), 64);
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64:
      return `to${insn.nearBranchTarget.toString(16)}`;
    case OpKind.FarBranch16:
      return `far${insn.farBranchSelector.toString(16)}:${insn.farBranch16.toString(16)}`;
    case OpKind.FarBranch32:
      return `far${insn.farBranchSelector.toString(16)}:${insn.farBranch32.toString(16)}`;
    case OpKind.Memory: {
      const name = (register: number) => (register === Register.None ? "none" : (REGISTERS.get(register) ?? ""));
      const rip = insn.memoryBase === Register.RIP || insn.memoryBase === Register.EIP;
      const disp = BigInt.asUintN(8 * addrSize, insn.memoryDisplacement);
      const base = rip ? "rip" : name(insn.memoryBase);
      return `${effective(name(insn.memorySegment), mode)}:[${base}+${name(insn.memoryIndex)}*${insn.memoryIndexScale}+${disp.toString(16)}]`;
    }
    default:
      return `implied`;
  }
}

/** Names that differ on purpose; both sides are mapped to the left one. */
const SAME: Readonly<Record<string, readonly string[]>> = {
  // hints are one operation here, whatever their reserved forms are called
  nop: [
    "reservednop",
    "prefetch",
    "prefetchw",
    "prefetchreserved_0f0d",
    "prefetchwt1",
    "prefetchnta",
    "prefetcht0",
    "prefetcht1",
    "prefetcht2",
    "cldemote",
    "prefetchit0",
    "prefetchit1",
  ],
  shl: ["sal"],
  sysexit: ["sysexitd"],
  retf: ["retfd", "retfq"],
};
const RENAMED = new Map(
  Object.entries(SAME).flatMap(([name, others]) => others.map((other) => [other, name] as const)),
);
const common = (name: string) => RENAMED.get(name) ?? name;

/** The manual gives these a 16-bit source register; iced names the register by operand size. */
const WORD_SOURCE = new Set([Op.LAR, Op.LSL, Op.LLDT, Op.LTR, Op.VERR, Op.VERW, Op.LMSW, Op.MOVTOSEG, Op.LKGS]);
/** Operands that iced lists and the contract leaves implied: those of string instructions, XLAT's memory, and LSEG's third. */
const STRINGS = new Set([Op.MOVS, Op.CMPS, Op.STOS, Op.LODS, Op.SCAS, Op.INS, Op.OUTS, Op.XLAT]);

function describeMine(insn: Insn, mode: Mode): string {
  const operands = insn.operands.map((operand, index) => {
    if (operand.kind === "gpr" && index === insn.operands.length - 1 && WORD_SOURCE.has(insn.op))
      return `word ${operand.number}`;
    return mine(operand, insn, mode);
  });
  const listed =
    insn.op === Op.LSEG ? operands.slice(0, 2) : STRINGS.has(insn.op) || insn.op === Op.NOP ? [] : operands;
  return [insn.length, common(insn.mnemonic), ...listed, insn.lock ? "lock" : ""].join(" ");
}

function describeTheirs(insn: iced.Instruction, my: Insn, mode: Mode): string {
  const operands = Array.from({ length: insn.opCount }, (_, index) => {
    const text = theirs(insn, index, my.addrSize, mode);
    const isLast = index === insn.opCount - 1;
    if (isLast && WORD_SOURCE.has(my.op) && insn.opKind(index) === iced.OpKind.Register) {
      const wide = iced.RegisterExt.number(insn.opRegister(index));
      return `word ${wide}`;
    }
    return text;
  });
  const listed = STRINGS.has(my.op) || my.op === Op.NOP ? [] : operands;
  return [insn.length, common(MNEMONICS.get(insn.mnemonic) ?? ""), ...listed, insn.hasLockPrefix ? "lock" : ""].join(
    " ",
  );
}

interface Tally {
  both: number;
  unknown: number;
  readonly differences: string[];
}

function compare(mode: Mode, cases: number, seed: number): Tally {
  const random = generator(seed);
  const tally: Tally = { both: 0, unknown: 0, differences: [] };
  for (let i = 0; i < cases; i++) {
    const bytes = randomBytes(random, mode);
    const decoder = new iced.Decoder(mode, bytes, iced.DecoderOptions.None);
    const other = decoder.decode();
    const valid = other.code !== iced.Code.INVALID;
    const result = decode(bytes.subarray(0, 15), mode);
    const text = Buffer.from(bytes).toString("hex");
    if (result.ok && valid) {
      tally.both++;
      const left = describeMine(result.insn, mode);
      const right = describeTheirs(other, result.insn, mode);
      if (left !== right) tally.differences.push(`${text}: ${left} | iced: ${right}`);
    } else if (result.ok) tally.differences.push(`${text}: ${describeMine(result.insn, mode)} | iced: invalid`);
    else if (valid && result.reason !== "unknown")
      tally.differences.push(`${text}: ${result.reason} | iced: ${MNEMONICS.get(other.mnemonic)}`);
    else if (valid) tally.unknown++;
    other.free();
    decoder.free();
  }
  return tally;
}

describe("decode against iced-x86", () => {
  for (const mode of [32, 64] as const) {
    it(`agrees on ${CASES} random instructions in ${mode}-bit mode`, () => {
      const { both, differences } = compare(mode, CASES, SEED + mode);
      expect(differences.slice(0, 60)).toEqual([]);
      expect(both).toBeGreaterThan(CASES / 3);
    });
  }
});
