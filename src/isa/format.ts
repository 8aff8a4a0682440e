// Instruction to text, as objdump prints it.

import { Op, Seg } from "../engine/abi.js";
import { type Decoded, decodeRow } from "./decode.js";
import type { Insn, MemoryOperand, Mode, Operand } from "./insn.js";
import { gprName, SEGMENT_NAMES } from "./register-names.js";
import { CONDITIONS, nameForSize, type Row } from "./row.js";

export type Syntax = "att" | "intel";

interface View {
  readonly insn: Insn;
  readonly row: Row;
  readonly mode: Mode;
  readonly modrm: number;
  readonly rex: number;
  readonly syntax: Syntax;
  readonly address: bigint;
  readonly symbol: (address: bigint) => string | undefined;
}

const ATT_SUFFIX: Readonly<Record<number, string>> = { 1: "b", 2: "w", 4: "l", 8: "q" };
const INTEL_SUFFIX: Readonly<Record<number, string>> = { 1: "b", 2: "w", 4: "d", 8: "q" };
const POINTER: Readonly<Record<number, string>> = {
  1: "BYTE PTR ",
  2: "WORD PTR ",
  4: "DWORD PTR ",
  6: "FWORD PTR ",
  8: "QWORD PTR ",
  10: "FWORD PTR ",
  16: "OWORD PTR ",
};

/** F2 in front of these is MPX's BND, which does nothing without MPX. */
const NEAR_BRANCHES = new Set([Op.JMP, Op.CALL, Op.RET, Op.JCC]);
const COUNTED_BRANCHES = new Set([Op.JCC, Op.LOOP, Op.LOOPE, Op.LOOPNE, Op.JCXZ]);
const READS_SOURCE = new Set([Op.MOVS, Op.CMPS, Op.LODS, Op.OUTS, Op.XLAT]);
const STRINGS = new Set([Op.MOVS, Op.CMPS, Op.STOS, Op.LODS, Op.SCAS, Op.INS, Op.OUTS, Op.XLAT]);

function hex(value: bigint): string {
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

const register = (name: string, { syntax }: View) => (syntax === "att" ? `%${name}` : name);

/** A code or data address, with its symbol where there is one. */
function place(target: bigint, { symbol }: View): string {
  const name = symbol(target);
  return name === undefined ? `0x${target.toString(16)}` : `${target.toString(16)} <${name}>`;
}

/** Indirect near branches: 3E in front of them is CET's NOTRACK. (As a segment, DS is their default but for frames on the stack.) */
const takesNotrack = ({ insn, row, mode }: View) =>
  (row.op === Op.JMP || row.op === Op.CALL) && row.hasModrm && !(mode === 64 && insn.o16);

/** The segment override that the memory operand shows. 64-bit mode ignores all but FS and GS. */
function shownSegment({ segment }: MemoryOperand, view: View): Seg | undefined {
  const ignored = view.mode === 64 ? (segment ?? 0) < Seg.FS : segment === Seg.DS && takesNotrack(view);
  return ignored ? undefined : segment;
}

/** `%eiz` or `%riz`: a SIB byte without an index, where the same address has an encoding without one. */
function phantomIndex({ base, scale }: MemoryOperand, view: View): string {
  const { insn, mode, modrm } = view;
  const hasSib = insn.addrSize !== 2 && modrm >> 6 !== 3 && (modrm & 7) === 4;
  // RSP and R12 need the byte, and so does an absolute address in 64-bit mode
  const needsSib = base === undefined ? mode === 64 && insn.addrSize === 8 : (base & 7) === 4;
  return hasSib && view.row.hasModrm && (scale !== 1 || !needsSib)
    ? register(insn.addrSize === 8 ? "riz" : "eiz", view)
    : "";
}

function formatMemory(memory: MemoryOperand, view: View): string {
  const { insn, modrm, syntax } = view;
  const { addrSize } = insn;
  const name = (number: number | undefined) => (number === undefined ? "" : register(gprName(number, addrSize), view));
  const base = memory.ripRelative ? register(addrSize === 8 ? "rip" : "eip", view) : name(memory.base);
  const index = memory.index === undefined ? phantomIndex(memory, view) : name(memory.index);
  const segment = shownSegment(memory, view);
  const prefix = segment === undefined ? "" : `${register(SEGMENT_NAMES[segment] ?? "", view)}:`;
  const absolute = base === "" && index === "";
  const disp = absolute ? hex(BigInt.asUintN(8 * addrSize, memory.disp)) : hex(memory.disp);
  const showsDisp = modrm >> 6 !== 0 || base === "";
  if (syntax === "att") {
    if (absolute) return `${prefix}${disp}`;
    const scaled = index === "" ? "" : addrSize === 2 ? `,${index}` : `,${index},${memory.scale}`;
    return `${prefix}${showsDisp || memory.ripRelative ? disp : ""}(${base}${scaled})`;
  }
  const pointer = view.row.operands.some(({ letter, size }) => letter === "O" || size === "s")
    ? ""
    : view.row.op === Op.LEA || view.row.op === Op.INVPCID
      ? ""
      : (POINTER[memory.size === 0 ? 1 : memory.size] ?? "");
  if (absolute) return `${pointer}${prefix === "" ? "ds:" : prefix}${disp}`;
  const parts = [base, index === "" ? "" : addrSize === 2 ? index : `${index}*${memory.scale}`].filter(
    (part) => part !== "",
  );
  const tail =
    showsDisp || memory.ripRelative
      ? memory.disp < 0n && !memory.ripRelative
        ? disp
        : `+${hex(memory.ripRelative ? BigInt.asUintN(8 * addrSize, memory.disp) : memory.disp)}`
      : "";
  return `${pointer}${prefix}[${parts.join("+")}${tail}]`;
}

function formatOperand(operand: Operand, index: number, view: View): string {
  const { insn, row, syntax } = view;
  switch (operand.kind) {
    case "gpr": {
      // the manual's 16-bit source, which objdump names by operand size
      const wide = row.op === Op.LAR || row.op === Op.LSL || row.op === Op.MOVTOSEG;
      const size = wide && index === 1 && row.operands[1]?.size === "w" ? insn.opSize : operand.size;
      const text = register(gprName(operand.number, size, operand.high), view);
      const port = row.operands[index]?.text === "DX" && syntax === "att";
      return port ? `(${text})` : text;
    }
    case "sreg":
      return register(SEGMENT_NAMES[operand.number] ?? "", view);
    case "creg":
      return register(`cr${operand.number}`, view);
    case "dreg":
      return register(`${syntax === "att" ? "db" : "dr"}${operand.number}`, view);
    case "imm": {
      if (row.operands[index]?.text === "1") return "1";
      const text = hex(BigInt.asUintN(8 * operand.size, operand.value));
      return syntax === "att" ? `$${text}` : text;
    }
    case "rel":
      return place(relativeTarget(operand.value, view), view);
    case "far": {
      const [selector, offset] = [hex(BigInt(operand.selector)), hex(operand.offset)];
      return syntax === "att" ? `$${selector},$${offset}` : `${selector}:${offset}`;
    }
    case "mem":
      return formatMemory(operand, view);
  }
}

function relativeTarget(displacement: bigint, { insn, address }: View): bigint {
  return BigInt.asUintN(8 * insn.opSize, address + BigInt(insn.length) + displacement);
}

/** The operands that string instructions imply and objdump prints, in Intel order. */
function impliedOperands(view: View): readonly string[] {
  const { insn, syntax } = view;
  const pointer = syntax === "intel" ? (POINTER[insn.opSize] ?? "") : "";
  const at = (segment: Seg, number: number) => {
    const name = register(SEGMENT_NAMES[segment] ?? "", view);
    const base = register(gprName(number, insn.addrSize), view);
    return syntax === "att" ? `${name}:(${base})` : `${pointer}${name}:[${base}]`;
  };
  const source = at(insn.segment, 6);
  const destination = at(Seg.ES, 7);
  const accumulator = register(gprName(0, insn.opSize), view);
  const port = syntax === "att" ? "(%dx)" : "dx";
  switch (insn.op) {
    case Op.MOVS:
      return [destination, source];
    case Op.CMPS:
      return [source, destination];
    case Op.STOS:
      return [destination, accumulator];
    case Op.LODS:
      return [accumulator, source];
    case Op.SCAS:
      return [accumulator, destination];
    case Op.INS:
      return [destination, port];
    case Op.OUTS:
      return [port, source];
    default:
      return syntax === "att" ? [at(insn.segment, 3)] : [at(insn.segment, 3).replace(pointer, "BYTE PTR ")];
  }
}

/** Size that needs no suffix; undefined where every size but a register's shows one. */
function silentSize({ row, mode }: View): number | undefined {
  if (row.flags.has("def") && !(mode === 64 && row.sizeRule === "y")) return 4;
  if (row.sizeRule === "d64" || row.sizeRule === "f64" || row.sizeRule === "m") return mode === 64 ? 8 : 4;
  return undefined;
}

/** Operands by which a reader sees the size: registers of that size. */
function registersShowSize({ insn, row }: View): boolean {
  return row.operands.some(({ text, letter, size }, i) => {
    if (insn.operands[i]?.kind !== "gpr" || text === "CL" || text === "DX") return false;
    return letter !== "fixed" ? size !== "w" : true;
  });
}

function mnemonic(view: View): string {
  const { insn, row, syntax, mode } = view;
  const att = syntax === "att";
  const isFar = row.op === Op.JMPF || row.op === Op.CALLF;
  const isString = STRINGS.has(row.op);
  const namesBySize = row.names.length > 1 && row.attNames.length > 1;
  const extends_ = row.op === Op.MOVZX || row.op === Op.MOVSX;
  const hasAbsolute = row.attNames[0] === "movabs";
  const names = att || isString || hasAbsolute || (row.names.length > 1 && !namesBySize) ? row.attNames : row.names;
  const base = nameForSize(names, row.flags.has("byaddr") ? insn.addrSize : insn.opSize);
  const name = insn.cond === undefined ? base : base.replace("cc", CONDITIONS[insn.cond] ?? "");
  const suffix = (att ? ATT_SUFFIX : INTEL_SUFFIX)[insn.opSize] ?? "";
  const hasMemory = insn.operands.some(({ kind }) => kind === "mem");

  if (extends_) return att ? (name === "movsl" && insn.opSize !== 8 ? "movsxd" : name + suffix) : name;
  if (isString) {
    const showsAccumulator = row.op === Op.STOS || row.op === Op.LODS || row.op === Op.SCAS || row.op === Op.XLAT;
    return att && !showsAccumulator ? name + suffix : name;
  }
  if (isWideNop(view)) return "xchg";
  if (
    !row.sized ||
    namesBySize ||
    row.op === Op.SETCC ||
    COUNTED_BRANCHES.has(row.op) ||
    row.operands.some(({ size }) => size === "u")
  )
    return name;
  if (registersShowSize(view)) return name;
  // lgdtl and sysretl show what the mode alone would not
  if (row.operands[0]?.size === "s") return mode === 64 ? name : name + suffix;
  if (isFar && insn.opSize === 8) return name;
  if (insn.opSize === silentSize(view)) return name;
  // in Intel syntax a memory operand or a far pointer says its size itself
  return !att && (hasMemory || isFar) ? name : name + suffix;
}

/** A segment register or selector goes to memory as one word, whatever the operand size. */
function storesWord({ insn, row }: View): boolean {
  return row.operands.some(({ size }, i) => size === "u" && insn.operands[i]?.kind === "mem");
}

/** 66 90, which objdump calls by its old name. */
const isWideNop = ({ insn, row }: View) => row.op === Op.NOP && row.opcode === 0x90 && insn.opSize === 2;

/** `rex.WB` where a bit of the REX prefix has no effect (or the whole prefix has none), with all its bits as objdump does. */
function unusedRex(view: View): string {
  const { insn, row, modrm, rex } = view;
  if (rex === 0) return "";
  const has = (...letters: string[]) => row.operands.some(({ letter }) => letters.includes(letter));
  const memory = insn.operands.some(({ kind }) => kind === "mem") && row.hasModrm;
  const sizeIsVisible = row.sizeRule === "v" || row.sizeRule === "y" || row.rexW;
  const isFarPointer = row.op === Op.JMPF || row.op === Op.CALLF;
  const usesW = row.rexW || (sizeIsVisible && row.sized && !isFarPointer && !storesWord(view));
  const usesX = memory && (modrm & 7) === 4;
  const usesB = memory || has("E", "R", "Z", "M");
  const used = (usesW ? 8 : 0) | (has("G", "C", "D") ? 4 : 0) | (usesX ? 2 : 0) | (usesB ? 1 : 0);
  const bits = rex & 15;
  const choosesByte = insn.operands.some(
    (operand) => operand.kind === "gpr" && operand.size === 1 && operand.number >= 4,
  );
  if (bits === 0 ? choosesByte : (bits & ~used) === 0) return "";
  const names = ["W", "R", "X", "B"].filter((_, i) => (bits & (8 >> i)) !== 0).join("");
  return names === "" ? "rex" : `rex.${names}`;
}

const segmentOf = (byte: number): Seg => (byte >= 0x64 ? byte - 0x60 : (byte >> 3) & 3);
const PREFIX_BYTES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/** The name of a prefix that has no effect; undefined where the mnemonic or an operand shows it. */
function prefixWord(byte: number, view: View): string | undefined {
  const { insn, row, mode } = view;
  const memory = insn.operands.find((operand) => operand.kind === "mem");
  switch (byte) {
    case 0x66: {
      if (row.prefix === "66") return undefined;
      const changesSize = insn.opSize === 2 && !COUNTED_BRANCHES.has(row.op);
      const sizeIsHidden = (!row.sized || storesWord(view)) && !isWideNop(view);
      return !changesSize || sizeIsHidden ? "data16" : undefined;
    }
    case 0x67: {
      const implied = STRINGS.has(row.op) || row.flags.has("byaddr");
      const usesAddress = memory !== undefined || implied || row.operands.some(({ letter }) => letter === "M");
      return usesAddress ? undefined : mode === 64 ? "addr32" : "addr16";
    }
    case 0xf0:
      return "lock";
    case 0xf2:
      return row.prefix === "F2" ? undefined : NEAR_BRANCHES.has(row.op) ? "bnd" : "repnz";
    case 0xf3: {
      const comparesString = row.op === Op.CMPS || row.op === Op.SCAS;
      return row.prefix === "F3" ? undefined : STRINGS.has(row.op) && !comparesString ? "rep" : "repz";
    }
    default: {
      if (byte === 0x3e && takesNotrack(view)) return "notrack";
      const segment = segmentOf(byte);
      const used = READS_SOURCE.has(row.op)
        ? insn.segment === segment
        : memory !== undefined && shownSegment(memory, view) === segment;
      return used ? undefined : SEGMENT_NAMES[segment];
    }
  }
}

/** A prefix that comes again later: only its last copy counts. */
function repeatedPrefix(byte: number, mode: Mode): string | undefined {
  if (byte === 0x66) return "data16";
  if (byte === 0x67) return mode === 64 ? "addr32" : "addr16";
  if (byte === 0xf0) return "lock";
  if (byte === 0xf2 || byte === 0xf3) return byte === 0xf2 ? "repnz" : "repz";
  return SEGMENT_NAMES[segmentOf(byte)];
}

/** Prefixes that change nothing the operands show, by their names, in the order of the bytes. */
function prefixWords(view: View): readonly string[] {
  const { bytes } = view.insn;
  const prefixes = bytes.subarray(
    0,
    bytes.findIndex((byte) => !PREFIX_BYTES.has(byte)),
  );
  const words = Array.from(prefixes, (byte, i) =>
    prefixes.includes(byte, i + 1) ? repeatedPrefix(byte, view.mode) : prefixWord(byte, view),
  ).filter((word) => word !== undefined);
  const rexText = unusedRex(view);
  if (rexText !== "") words.push(rexText);
  return words;
}

/** The mode an instruction was decoded in: only there do its bytes give its address size. */
function decodeAgain(insn: Insn): { readonly decoded: Decoded; readonly mode: Mode } | undefined {
  for (const mode of [64, 32] as const) {
    const decoded = decodeRow(insn.bytes, mode);
    if (decoded.ok && decoded.insn.addrSize === insn.addrSize && decoded.insn.length === insn.length)
      return { decoded, mode };
  }
  return undefined;
}

/**
 * One line of text, as objdump prints it (AT&T, or Intel with `-M intel`). `address` is that of the instruction; `symbol` may name
 * the targets of branches and of RIP-relative operands (`name` or `name+0x10`).
 */
export function format(
  insn: Insn,
  address: bigint,
  syntax: Syntax,
  symbol: (address: bigint) => string | undefined = () => undefined,
): string {
  const again = decodeAgain(insn);
  if (again === undefined) return insn.mnemonic;
  const { row, modrm, rex } = again.decoded;
  const view: View = { insn, row, mode: again.mode, modrm, rex, syntax, address, symbol };
  const att = syntax === "att";
  const count = row.op === Op.LSEG ? 2 : insn.operands.length;
  const explicit = insn.operands.slice(0, count).map((operand, i) => formatOperand(operand, i, view));
  // AT&T leaves out a shift count of one
  const shown = att && row.operands[1]?.text === "1" ? explicit.slice(0, 1) : explicit;
  const wideNop = Array.from({ length: 2 }, () => register("ax", view));
  const operands = STRINGS.has(row.op) ? impliedOperands(view) : isWideNop(view) ? wideNop : shown;
  const ordered = att && row.op !== Op.ENTER ? [...operands].reverse() : operands;
  const isBranch = row.op === Op.JMP || row.op === Op.CALL || row.op === Op.JMPF || row.op === Op.CALLF;
  const indirect = isBranch && (insn.operands[0]?.kind === "mem" || insn.operands[0]?.kind === "gpr");
  const operandText = `${indirect && att ? "*" : ""}${ordered.join(",")}`;

  const relative = insn.operands.find((operand) => operand.kind === "mem" && operand.ripRelative);
  const target = relative?.kind === "mem" ? address + BigInt(insn.length) + relative.disp : undefined;
  const note = target === undefined ? "" : `# ${place(BigInt.asUintN(8 * insn.addrSize, target), view)}`;
  return [...prefixWords(view), mnemonic(view), operandText, note].filter((part) => part !== "").join(" ");
}
