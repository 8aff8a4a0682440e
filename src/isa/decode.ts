// Bytes to instruction, by the table.

import { Op, Seg } from "../engine/abi.js";
import type { Insn, MemoryOperand, Mode, Operand } from "./insn.js";
import { CONDITIONS, letterSize, nameForSize, type OperandCode, operandSize, type Row } from "./row.js";
import { ROWS } from "./table.js";

/**
 * truncated: the bytes end before the instruction does. invalid: the encoding is defined to raise #UD (LOCK where it is not
 * allowed, an opcode that this mode does not have, a register operand where memory is required). unknown: the table does not have
 * it. long: it has more than 15 bytes, which is #GP (fact 1.1).
 */
export type DecodeResult =
  | { readonly ok: true; readonly insn: Insn }
  | { readonly ok: false; readonly reason: "truncated" | "long" | "unknown" | "invalid" };

const MAX_LENGTH = 15;
const SEGMENT_NUMBERS: Readonly<Record<string, Seg>> = {
  ES: Seg.ES,
  CS: Seg.CS,
  SS: Seg.SS,
  DS: Seg.DS,
  FS: Seg.FS,
  GS: Seg.GS,
};

/** Rows by opcode map and opcode byte. */
function buildIndex(rows: readonly Row[]): readonly (readonly Row[])[] {
  const index: Row[][] = Array.from({ length: 3 * 256 }, () => []);
  for (const row of rows) {
    if (row.flags.has("asm")) continue;
    const count = row.plus === "r" ? 8 : row.plus === "c" ? 16 : 1;
    for (let i = 0; i < count; i++) index[row.map * 256 + row.opcode + i]?.push(row);
  }
  return index;
}

const INDEX = buildIndex(ROWS);

interface Prefixes {
  lock: boolean;
  o16: boolean;
  a16or32: boolean;
  repeat: 0 | 0xf2 | 0xf3;
  segment: Seg | undefined;
  rex: number;
}

/** Reads little-endian numbers; beyond the end it gives zeros and remembers that it did. */
class Cursor {
  offset = 0;
  overrun = false;
  constructor(private readonly bytes: Uint8Array) {}

  peek(): number {
    return this.offset < MAX_LENGTH ? (this.bytes[this.offset] ?? -1) : -1;
  }

  byte(): number {
    const value = this.peek();
    this.offset++;
    if (value >= 0) return value;
    this.overrun = true;
    return 0;
  }

  unsigned(size: number): bigint {
    let value = 0n;
    for (let i = 0; i < size; i++) value |= BigInt(this.byte()) << BigInt(8 * i);
    return value;
  }

  signed(size: number): bigint {
    return BigInt.asIntN(8 * size, this.unsigned(size));
  }
}

function readPrefixes(cursor: Cursor, mode: Mode): Prefixes {
  const prefixes: Prefixes = { lock: false, o16: false, a16or32: false, repeat: 0, segment: undefined, rex: 0 };
  // 64-bit mode ignores ES, CS, SS and DS overrides, also behind FS or GS
  const override = (segment: Seg) => {
    const ignored = mode === 64 && segment < Seg.FS;
    if (!ignored || prefixes.segment === undefined || prefixes.segment < Seg.FS) prefixes.segment = segment;
  };
  for (;;) {
    const byte = cursor.peek();
    if (byte === 0xf0) prefixes.lock = true;
    else if (byte === 0xf2 || byte === 0xf3) prefixes.repeat = byte;
    else if (byte === 0x66) prefixes.o16 = true;
    else if (byte === 0x67) prefixes.a16or32 = true;
    else if (byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e) override((byte >> 3) & 3);
    else if (byte === 0x64 || byte === 0x65) override(byte - 0x60);
    else if (mode === 64 && byte >= 0x40 && byte <= 0x4f) {
      // a REX that a legacy prefix follows is ignored
      prefixes.rex = byte;
      cursor.byte();
      continue;
    } else return prefixes;
    prefixes.rex = 0;
    cursor.byte();
  }
}

/** Which rows the prefix allows: a mandatory one must be there, NP forbids all. */
function prefixFits(row: Row, { o16, repeat }: Prefixes): boolean {
  switch (row.prefix) {
    case "":
      return true;
    case "NP":
      return !o16 && repeat === 0;
    case "66":
      return o16 && repeat === 0;
    case "F2":
      return repeat === 0xf2;
    case "F3":
      return repeat === 0xf3;
  }
}

function modrmFits(row: Row, modrm: number): boolean {
  if (!row.hasModrm) return true;
  if (row.fixedModrm !== undefined) return modrm >= row.fixedModrm.from && modrm <= row.fixedModrm.to;
  return row.digit === undefined || row.digit === ((modrm >> 3) & 7);
}

function modFits(row: Row, modrm: number): boolean {
  return row.mod === "any" || row.mod === "ignored" || (row.mod === "reg") === modrm >= 0xc0;
}

/** The first row that fits; otherwise whether one fits but for the mode, or but for memory where only memory is allowed. */
function select(rows: readonly Row[], modrm: number, prefixes: Prefixes, mode: Mode): Row | "invalid" | "unknown" {
  let failure: "invalid" | "unknown" = "unknown";
  for (const row of rows) {
    if (!prefixFits(row, prefixes) || !modrmFits(row, modrm)) continue;
    if (row.rexW && (prefixes.rex & 8) === 0) continue;
    if (row.flags.has("nob") && (prefixes.rex & 1) !== 0) continue;
    const modeFits = !row.flags.has(mode === 64 ? "i64" : "o64");
    if (modeFits && modFits(row, modrm)) return row.op === Op.UNSUPPORTED ? "unknown" : row;
    const encodesNothingElse = !row.flags.has("shared") && (row.mod !== "reg" || modFits(row, modrm));
    if (encodesNothingElse) failure = "invalid";
  }
  return failure;
}

const PAIRS_16: readonly (readonly [base?: number, index?: number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6],
  [7],
  [5],
  [3],
];

/** The memory operand behind a ModRM byte, without its size. */
function readMemory(
  cursor: Cursor,
  modrm: number,
  prefixes: Prefixes,
  mode: Mode,
  addrSize: number,
): Omit<MemoryOperand, "size"> {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  const segment = prefixes.segment === undefined ? {} : { segment: prefixes.segment };
  const build = (
    base: number | undefined,
    index: number | undefined,
    scale: 1 | 2 | 4 | 8,
    disp: bigint,
    ripRelative = false,
  ) => ({
    kind: "mem" as const,
    ...segment,
    ...(base === undefined ? {} : { base }),
    ...(index === undefined ? {} : { index }),
    scale,
    disp,
    ripRelative,
  });
  if (addrSize === 2) {
    const direct = mod === 0 && rm === 6;
    const [base, index] = direct ? [] : (PAIRS_16[rm] ?? []);
    return build(base, index, 1, direct || mod === 2 ? cursor.signed(2) : mod === 1 ? cursor.signed(1) : 0n);
  }
  const displacement = (absolute: boolean) =>
    mod === 1 ? cursor.signed(1) : mod === 2 || absolute ? cursor.signed(4) : 0n;
  if (rm !== 4) {
    const absolute = mod === 0 && rm === 5;
    const base = absolute ? undefined : rm | ((prefixes.rex & 1) << 3);
    return build(base, undefined, 1, displacement(absolute), absolute && mode === 64);
  }
  const sib = cursor.byte();
  const index = ((sib >> 3) & 7) | ((prefixes.rex & 2) << 2);
  const absolute = mod === 0 && (sib & 7) === 5;
  const base = absolute ? undefined : (sib & 7) | ((prefixes.rex & 1) << 3);
  return build(base, index === 4 ? undefined : index, (1 << (sib >> 6)) as 1 | 2 | 4 | 8, displacement(absolute));
}

function gpr(number: number, size: number, rex: number): Operand {
  // without REX, byte registers 4..7 are AH, CH, DH, BH
  if (size === 1 && rex === 0 && number >= 4 && number < 8)
    return { kind: "gpr", size: 1, number: number - 4, high: true };
  return { kind: "gpr", size: size as 1 | 2 | 4 | 8, number };
}

interface Context {
  readonly cursor: Cursor;
  readonly mode: Mode;
  readonly prefixes: Prefixes;
  readonly opcode: number;
  readonly modrm: number;
  readonly memory: Omit<MemoryOperand, "size"> | undefined;
  readonly opSize: number;
  readonly addrSize: number;
}

/** One operand; undefined where the registers it names do not exist. */
function readOperand(code: OperandCode, context: Context): Operand | undefined {
  const { cursor, mode, prefixes, opcode, modrm, memory, opSize, addrSize } = context;
  const { rex } = prefixes;
  const size = letterSize(code.size, opSize, mode, memory !== undefined);
  const reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
  const rm = (modrm & 7) | ((rex & 1) << 3);
  switch (code.letter) {
    case "E":
    case "M":
    case "R":
      return memory === undefined ? gpr(rm, size, rex) : { ...memory, size };
    case "G":
    case "B":
      return gpr(reg, size, rex);
    case "Z":
      return gpr((opcode & 7) | ((rex & 1) << 3), size, rex);
    case "I": {
      const bytes = code.size === "x" ? 1 : code.size === "z" ? Math.min(opSize, 4) : size;
      return { kind: "imm", size: code.size === "z" ? opSize : size, value: cursor.signed(bytes) };
    }
    case "U":
      return { kind: "imm", size, value: cursor.unsigned(size) };
    case "J":
      return { kind: "rel", size, value: cursor.signed(size) };
    case "A": {
      const offset = cursor.unsigned(opSize);
      return { kind: "far", offset, selector: Number(cursor.unsigned(2)) };
    }
    case "O": {
      const segment = prefixes.segment === undefined ? {} : { segment: prefixes.segment };
      return { kind: "mem", ...segment, size, scale: 1, disp: cursor.signed(addrSize), ripRelative: false };
    }
    case "S": {
      const number = (modrm >> 3) & 7;
      return number > Seg.GS ? undefined : { kind: "sreg", number };
    }
    case "C":
      return [0, 2, 3, 4, 8].includes(reg) ? { kind: "creg", number: reg } : undefined;
    case "D":
      return reg < 8 ? { kind: "dreg", number: reg } : undefined;
    case "fixed":
      if (code.text === "1") return { kind: "imm", size: 1, value: 1n };
      if (code.text === "AL") return gpr(0, 1, rex);
      if (code.text === "rAX") return gpr(0, size, rex);
      if (code.text === "CL") return gpr(1, 1, rex);
      if (code.text === "DX") return gpr(2, 2, rex);
      return { kind: "sreg", number: SEGMENT_NUMBERS[code.text] ?? Seg.ES };
  }
}

/** The segment that a memory access through this operand uses. */
function effectiveSegment(prefixes: Prefixes, memory: Omit<MemoryOperand, "size"> | undefined, mode: Mode): Seg {
  const override = prefixes.segment;
  if (override !== undefined && !(mode === 64 && override < Seg.FS)) return override;
  return memory?.base === 4 || memory?.base === 5 ? Seg.SS : Seg.DS;
}

/** What the formatter needs beside the instruction. */
export interface Decoded {
  readonly ok: true;
  readonly insn: Insn;
  readonly row: Row;
  readonly modrm: number;
  readonly rex: number;
}

/**
 * Decodes the instruction at the start of `bytes` (more bytes may follow it; give 15 where there are as many).
 * Operands, sizes and segments as `Insn` describes them.
 */
export function decode(bytes: Uint8Array, mode: Mode): DecodeResult {
  const result = decodeRow(bytes, mode);
  return result.ok ? { ok: true, insn: result.insn } : result;
}

/** `decode` together with the row of the table that matched. */
export function decodeRow(bytes: Uint8Array, mode: Mode): Decoded | Exclude<DecodeResult, { readonly ok: true }> {
  const cursor = new Cursor(bytes);
  const fail = (reason: "unknown" | "invalid"): Exclude<DecodeResult, { readonly ok: true }> => {
    if (!cursor.overrun) return { ok: false, reason };
    return { ok: false, reason: bytes.length < MAX_LENGTH ? "truncated" : "long" };
  };
  const prefixes = readPrefixes(cursor, mode);
  let opcode = cursor.byte();
  let map = 0;
  if (opcode === 0x0f && !cursor.overrun) {
    opcode = cursor.byte();
    map = 1;
    if (opcode === 0x38) {
      opcode = cursor.byte();
      map = 2;
    }
  }
  const rows = INDEX[map * 256 + opcode] ?? [];
  if (cursor.overrun || rows.length === 0) return fail("unknown");
  const modrm = rows.some((row) => row.hasModrm) ? cursor.byte() : 0;
  if (cursor.overrun) return fail("unknown");
  const row = select(rows, modrm, prefixes, mode);
  if (typeof row === "string") return fail(row);

  const o16 = prefixes.o16 && row.prefix !== "66";
  const opSize =
    row.op === Op.CMPXCHG8B ? (row.rexW ? 16 : 8) : operandSize(row.sizeRule, mode, o16, (prefixes.rex & 8) !== 0);
  const addrSize = mode === 64 ? (prefixes.a16or32 ? 4 : 8) : prefixes.a16or32 ? 2 : 4;
  const hasMemory = row.hasModrm && row.fixedModrm === undefined && modrm < 0xc0 && row.mod !== "ignored";
  const memory = hasMemory ? readMemory(cursor, modrm, prefixes, mode, addrSize) : undefined;
  const context: Context = { cursor, mode, prefixes, opcode, modrm, memory, opSize, addrSize };
  const operands: Operand[] = [];
  for (const code of row.operands) {
    const operand = readOperand(code, context);
    if (operand === undefined) return fail("invalid");
    operands.push(operand);
  }
  if (cursor.overrun) return fail("unknown");

  const [destination] = operands;
  if (prefixes.lock && !(row.flags.has("lock") && destination?.kind === "mem")) return fail("invalid");
  if (row.op === Op.MOVTOSEG && destination?.kind === "sreg" && destination.number === Seg.CS) return fail("invalid");
  const cond = row.plus === "c" ? opcode & 15 : undefined;
  const name = nameForSize(row.names, row.flags.has("byaddr") ? addrSize : opSize);
  return {
    ok: true,
    row,
    modrm,
    rex: prefixes.rex,
    insn: {
      op: row.op,
      mnemonic: cond === undefined ? name : name.replace("cc", CONDITIONS[cond] ?? ""),
      length: cursor.offset,
      bytes: bytes.slice(0, cursor.offset),
      opSize,
      addrSize,
      ...(cond === undefined ? {} : { cond }),
      lock: prefixes.lock,
      rep: prefixes.repeat === 0xf3 && row.prefix !== "F3",
      repne: prefixes.repeat === 0xf2 && row.prefix !== "F2",
      o16,
      segment: effectiveSegment(prefixes, memory, mode),
      operands,
    },
  };
}
