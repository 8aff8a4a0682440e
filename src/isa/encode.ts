// Instruction to bytes, by the table: of all rows that take the operands, the one with the fewest bytes, as GNU as chooses.

import { Op, Seg } from "../engine/abi.js";
import type { AsmOperand, Encoded, EncodedField, EncodeRequest, Mode } from "./insn.js";
import { type AsmMemory, addressSize, encodeMemory, fitsEither, fitsSigned } from "./memory.js";
import { letterSize, type OperandCode, type Row } from "./row.js";
import { type Spelling, spellings } from "./spelling.js";

interface Failure {
  readonly error: string;
}

const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"];
const REPEAT: Readonly<Record<string, number>> = { rep: 0xf3, repe: 0xf3, repz: 0xf3, repne: 0xf2, repnz: 0xf2 };

/** What GNU as takes a repeat prefix for: strings, and the old ways to write PAUSE, TZCNT and LZCNT. */
const REPEATABLE = new Set([
  ...[Op.MOVS, Op.CMPS, Op.STOS, Op.LODS, Op.SCAS, Op.INS, Op.OUTS],
  ...[Op.RET, Op.NOP, Op.BSF, Op.BSR],
]);

/** The prefixes as written, sorted into the slots that GNU as gives them. */
interface WrittenPrefixes {
  readonly lock: boolean;
  readonly repeat: number | undefined;
  readonly data16: boolean;
  readonly addr: 2 | 4 | undefined;
  readonly segment: Seg | undefined;
  readonly rexW: boolean;
}

function readPrefixes(words: readonly string[], mode: Mode): WrittenPrefixes | Failure {
  const taken = new Set<string>();
  let lock = false;
  let repeat: number | undefined;
  let data16 = false;
  let addr: 2 | 4 | undefined;
  let segment: Seg | undefined;
  let rexW = false;
  for (const word of words) {
    const slot = REPEAT[word] === undefined ? (SEGMENT_NAMES.includes(word) ? "segment" : word) : "repeat";
    if (taken.has(slot)) return { error: `the prefix \`${word}\` comes on top of another of its kind` };
    taken.add(slot);
    if (word === "lock") lock = true;
    else if (REPEAT[word] !== undefined) repeat = REPEAT[word];
    else if (word === "data16") data16 = true;
    else if (word === "addr32" && mode === 64) addr = 4;
    else if (word === "addr16" && mode === 32) addr = 2;
    else if (SEGMENT_NAMES.includes(word)) segment = SEGMENT_NAMES.indexOf(word);
    else if (word === "rex64" && mode === 64) rexW = true;
    else return { error: `there is no prefix \`${word}\` in ${mode}-bit mode` };
  }
  return { lock, repeat, data16, addr, segment, rexW };
}

/** Operand sizes that a row can have, the one without prefixes first. */
function possibleSizes(row: Row, mode: Mode): readonly number[] {
  if (row.rexW) return [8];
  switch (row.sizeRule) {
    case "b":
      return [1];
    case "v":
      return mode === 64 ? [4, 8, 2] : [4, 2];
    case "z":
      return [4, 2];
    case "y":
      return mode === 64 ? [4, 8] : [4];
    case "d64":
      return mode === 64 ? [8, 2] : [4, 2];
    case "f64":
      return mode === 64 ? [8] : [4, 2];
    case "m":
      return mode === 64 ? [8] : [4];
  }
}

/** `sizes`: the operand shows the operand size. `imprecise`: right kind, but the number does not fit. */
type Match = "yes" | "sizes" | "no" | { readonly imprecise: string };

function matchRegister(code: OperandCode, number: number, size: number, expected: number): Match {
  if (size !== expected) return "no";
  if (code.letter === "fixed" && number !== { AL: 0, rAX: 0, CL: 1, DX: 2 }[code.text]) return "no";
  return code.size === "b" || code.size === "w" || code.size === "e" ? "yes" : "sizes";
}

/** Does a number fit the field? `x` (a sign-extended byte) takes known numbers only. */
function matchImmediate(code: OperandCode, value: bigint | undefined, opSize: number, mode: Mode): Match {
  if (code.size === "x" && value === undefined) return "no";
  if (value === undefined) return "yes";
  const size = code.size === "z" ? opSize : letterSize(code.size, opSize, mode, false);
  if (!fitsEither(value, 8 * size)) return { imprecise: `value ${value} does not fit in ${8 * size} bits` };
  const signed = BigInt.asIntN(8 * size, value);
  if (code.size === "x" && !fitsSigned(signed, 8)) return { imprecise: `value ${value} does not fit in 8 bits` };
  if (code.size === "z" && !fitsSigned(signed, 32)) return { imprecise: `value ${value} does not fit in 32 bits` };
  return "yes";
}

function matchOperand(code: OperandCode, operand: AsmOperand, opSize: number, mode: Mode): Match {
  const { letter } = code;
  const isFixedSegment = letter === "fixed" && SEGMENT_NAMES.includes(code.text.toLowerCase());
  switch (operand.kind) {
    case "gpr":
      if (isFixedSegment || !"ERGBZ".includes(letter.charAt(0))) {
        if (letter !== "fixed" || isFixedSegment || code.text === "1") return "no";
      }
      if (operand.high && letter === "fixed") return "no";
      return matchRegister(code, operand.number, operand.size, letterSize(code.size, opSize, mode, false));
    case "sreg":
      if (isFixedSegment) return SEGMENT_NAMES[operand.number] === code.text.toLowerCase() ? "yes" : "no";
      return letter === "S" ? "yes" : "no";
    case "creg":
      return letter === "C" ? "yes" : "no";
    case "dreg":
      return letter === "D" ? "yes" : "no";
    case "mem": {
      // in GNU syntax (%dx) is a port
      if (code.text === "DX")
        return operand.base === 2 && operand.index === undefined && operand.addrSize === 2 ? "yes" : "no";
      if (letter === "O")
        return operand.base === undefined && operand.index === undefined && !operand.ripRelative ? "yes" : "no";
      return letter === "E" || letter === "M" ? "yes" : "no";
    }
    case "imm":
      if (code.text === "1" || code.text === "3") return operand.value === BigInt(code.text) ? "yes" : "no";
      return letter === "I" || letter === "U" ? matchImmediate(code, operand.value, opSize, mode) : "no";
    case "rel": {
      if (letter !== "J" || (code.size === "b" && operand.form === "near")) return "no";
      const size = letterSize(code.size, opSize, mode, false);
      if (operand.value === undefined || fitsSigned(operand.value, 8 * size)) return "yes";
      return { imprecise: `displacement ${operand.value} does not fit in ${8 * size} bits` };
    }
    case "far":
      if (letter !== "A") return "no";
      if (operand.offset !== undefined && !fitsEither(operand.offset, 8 * opSize))
        return { imprecise: `offset ${operand.offset} does not fit in ${8 * opSize} bits` };
      if (operand.selector !== undefined && !fitsEither(operand.selector, 16))
        return { imprecise: `selector ${operand.selector} does not fit in 16 bits` };
      return "yes";
  }
}

/** Collects the bytes behind the opcode and where the numbers stand in them. */
class Writer {
  readonly bytes: number[] = [];
  readonly fields: EncodedField[] = [];

  number(
    value: bigint | undefined,
    size: 1 | 2 | 4 | 8,
    field: Pick<EncodedField, "operand" | "part" | "signed">,
  ): void {
    this.fields.push({ ...field, size, offset: this.bytes.length });
    const raw = BigInt.asUintN(8 * size, value ?? 0n);
    for (let i = 0; i < size; i++) this.bytes.push(Number((raw >> BigInt(8 * i)) & 0xffn));
  }
}

type FieldSize = 1 | 2 | 4 | 8;

interface Choice {
  readonly row: Row;
  readonly opSize: number;
  readonly cond: number | undefined;
  readonly addrSize: number | undefined;
}

const REX_W = 8;
const REX_R = 4;

/** Which REX bits registers ask for, and whether one of AH..BH forbids REX. */
function registerRex(row: Row, operands: readonly AsmOperand[]): { rex: number; needed: boolean; forbidden: boolean } {
  let rex = 0;
  let needed = false;
  let forbidden = false;
  operands.forEach((operand, i) => {
    if (operand.kind !== "gpr" && operand.kind !== "creg" && operand.kind !== "dreg") return;
    const letter = row.operands[i]?.letter;
    if (operand.number >= 8) rex |= letter === "B" ? 5 : letter === "G" || letter === "C" || letter === "D" ? REX_R : 1;
    if (operand.kind === "gpr" && operand.size === 1) {
      if (operand.high) forbidden = true;
      else if (operand.number >= 4) needed = true;
    }
  });
  return { rex, needed, forbidden };
}

function registerNumber(operand: AsmOperand | undefined): number {
  if (operand === undefined || !("number" in operand)) return 0;
  return (operand.kind === "gpr" && operand.high ? operand.number + 4 : operand.number) & 7;
}

/** Writes the bytes of one choice. */
function emit(choice: Choice, request: EncodeRequest, written: WrittenPrefixes): Encoded | Failure {
  const { row, opSize, cond } = choice;
  const { mode, operands } = request;
  const letterAt = (...letters: string[]) => row.operands.findIndex(({ letter }) => letters.includes(letter));
  const registers = registerRex(row, operands);
  let { rex } = registers;
  const ruleHas16 = row.sizeRule !== "b" && row.sizeRule !== "y" && row.sizeRule !== "m";
  const data16 = written.data16 || row.prefix === "66" || (opSize === 2 && ruleHas16 && row.sized);
  if (
    written.rexW ||
    row.rexW ||
    (opSize === 8 && (row.sizeRule === "v" || row.sizeRule === "y") && !row.flags.has("now"))
  )
    rex |= REX_W;

  const memoryAt = operands.findIndex((operand, i) => operand.kind === "mem" && row.operands[i]?.letter !== "fixed");
  const memory = operands[memoryAt] as AsmMemory | undefined;
  const addrSize =
    memory === undefined ? (choice.addrSize ?? written.addr ?? mode / 8) : addressSize(memory, mode, written.addr);
  if (choice.addrSize !== undefined && addrSize === (mode === 64 ? 2 : 8))
    return { error: `\`${request.mnemonic}\` does not exist in ${mode}-bit mode` };

  const tail = new Writer();
  if (row.hasModrm) {
    if (row.fixedModrm !== undefined) tail.bytes.push(row.fixedModrm.from);
    else {
      const reg = row.digit ?? registerNumber(operands[letterAt("G", "B", "S", "C", "D")]);
      const rmAt = letterAt("E", "M", "R", "B");
      const target = operands[rmAt];
      if (target?.kind === "mem") {
        const encoded = encodeMemory(target, mode, addrSize as 2 | 4 | 8);
        if ("error" in encoded) return encoded;
        rex |= encoded.rex;
        tail.bytes.push(encoded.modrm | (reg << 3));
        if (encoded.sib !== undefined) tail.bytes.push(encoded.sib);
        if (encoded.dispSize !== 0) {
          const signed = encoded.dispSize === 1 || addrSize === 8 || target.ripRelative;
          tail.number(encoded.disp, encoded.dispSize, { operand: rmAt, part: "disp", signed });
        }
      } else tail.bytes.push(0xc0 | (reg << 3) | registerNumber(target));
    }
  }
  row.operands.forEach((code, i) => {
    const operand = operands[i];
    if (code.letter === "O" && operand?.kind === "mem")
      tail.number(operand.disp, addrSize as FieldSize, { operand: i, part: "disp", signed: false });
    else if (operand?.kind === "imm" && code.letter !== "fixed") {
      const size = (
        code.size === "x" ? 1 : code.size === "z" ? Math.min(opSize, 4) : letterSize(code.size, opSize, mode, false)
      ) as FieldSize;
      tail.number(operand.value, size, {
        operand: i,
        part: "imm",
        signed: code.size === "x" || (code.size === "z" && opSize === 8),
      });
    } else if (operand?.kind === "rel") {
      tail.number(operand.value, letterSize(code.size, opSize, mode, false) as FieldSize, {
        operand: i,
        part: "rel",
        signed: true,
      });
    } else if (operand?.kind === "far") {
      tail.number(operand.offset, opSize as FieldSize, { operand: i, part: "offset", signed: false });
      tail.number(operand.selector, 2, { operand: i, part: "selector", signed: false });
    }
  });

  if (mode === 32 && rex !== 0) return { error: "registers 8 to 15 and 64-bit operands need 64-bit mode" };
  if (mode === 32 && registers.needed) return { error: "%spl, %bpl, %sil and %dil need 64-bit mode" };
  if (registers.forbidden && (rex !== 0 || registers.needed))
    return { error: "%ah, %ch, %dh and %bh cannot stand beside a register that needs REX" };
  const mandatory = row.prefix === "F2" ? 0xf2 : row.prefix === "F3" ? 0xf3 : undefined;
  if (written.repeat !== undefined && (mandatory !== undefined || !REPEATABLE.has(row.op)))
    return { error: `\`${request.mnemonic}\` takes no repeat prefix` };
  if (written.lock && !(row.flags.has("lock") && operands.some(({ kind }) => kind === "mem")))
    return { error: `\`lock\` is not allowed with these operands of \`${request.mnemonic}\`` };

  // the order of GNU as: segment, address size, operand size, repeat, lock, REX
  const head: number[] = [];
  const defaultSegment = memory?.base === 4 || memory?.base === 5 ? Seg.SS : Seg.DS;
  const override = memory?.segment !== undefined && memory.segment !== defaultSegment ? memory.segment : undefined;
  if (written.segment !== undefined && override !== undefined)
    return { error: "two segments are given for one operand" };
  const segment = written.segment ?? override;
  if (segment !== undefined) head.push(SEGMENT_PREFIX[segment] ?? 0);
  if (addrSize !== mode / 8) head.push(0x67);
  if (data16) head.push(0x66);
  const repeat = mandatory ?? written.repeat;
  if (repeat !== undefined) head.push(repeat);
  if (written.lock) head.push(0xf0);
  if (rex !== 0 || registers.needed) head.push(0x40 | rex);
  if (row.map > 0) head.push(0x0f);
  if (row.map === 2) head.push(0x38);
  const low = row.plus === "c" ? (cond ?? 0) : row.plus === "r" ? registerNumber(operands[letterAt("Z")]) : 0;
  head.push(row.opcode | low);
  return {
    bytes: Uint8Array.from([...head, ...tail.bytes]),
    fields: tail.fields.map((field) => ({ ...field, offset: field.offset + head.length })),
  };
}

/** Rules of GNU as that the operands alone do not give. */
function allowed(
  row: Row,
  opSize: number,
  request: EncodeRequest,
  written: WrittenPrefixes,
  hasShort: boolean,
): boolean {
  const [first, second] = request.operands;
  if (row.op === Op.JMP || row.op === Op.CALL) {
    const direct = row.operands[0]?.letter === "J";
    if (direct === request.indirect) return false;
  }
  if (first?.kind === "rel") {
    // the assembler counts on the length it asked for
    if (row.operands[0]?.size === "z" && first.form === "short" && hasShort) return false;
    if (written.data16 && request.mode === 32 && opSize !== 2) return false;
  }
  // undefined by the manual
  if (row.op === Op.BSWAP && opSize === 2) return false;
  // 90 does not clear the upper half of RAX
  const isNop = row.map === 0 && row.opcode === 0x90 && request.mode === 64 && opSize === 4;
  return !(isNop && first?.kind === "gpr" && second?.kind === "gpr" && first.number === 0 && second.number === 0);
}

/** Operand sizes to try for a spelling: the one its suffix names, or all. */
function sizesOf({ row, opSize }: Spelling, request: EncodeRequest): readonly number[] {
  const possible = possibleSizes(row, request.mode);
  const word = row.operands.findIndex(({ size }) => size === "u");
  // a segment register or selector is stored as one word, whatever the operand size
  if (word >= 0 && request.operands[word]?.kind === "mem") return opSize === undefined || opSize === 2 ? [4] : [];
  if (!row.sized) return possible.slice(0, 1);
  return opSize === undefined ? possible : possible.filter((size) => size === opSize);
}

function takesDefaultSize({ row }: Spelling, opSize: number, mode: Mode): boolean {
  const { sizeRule, flags } = row;
  return (
    (flags.has("def") || sizeRule === "d64" || sizeRule === "f64" || sizeRule === "m") &&
    opSize === possibleSizes(row, mode)[0]
  );
}

/**
 * Assembles one instruction in the bytes that GNU as 2.40 gives.
 * `error` is one clause: why no encoding takes these operands, or which number does not fit.
 */
export function encode(request: EncodeRequest): Encoded | Failure {
  const { mode, mnemonic, operands } = request;
  const candidates = spellings(mnemonic);
  if (candidates.length === 0) return { error: `unknown instruction \`${mnemonic}\`` };
  const inMode = candidates.filter(({ row }) => !row.flags.has(mode === 64 ? "i64" : "o64"));
  if (inMode.length === 0) return { error: `\`${mnemonic}\` does not exist in ${mode}-bit mode` };
  const written = readPrefixes(request.prefixes, mode);
  if ("error" in written) return written;
  const hasShort = inMode.some(({ row }) => row.operands[0]?.text === "Jb");

  let best: Encoded | undefined;
  let failure: string | undefined;
  const unsized = new Map<number, Encoded>();
  for (const spelling of inMode) {
    const { row } = spelling;
    if (row.operands.length !== operands.length) continue;
    for (const opSize of sizesOf(spelling, request)) {
      if (!allowed(row, opSize, request, written, hasShort)) continue;
      const matches = row.operands.map((code, i) => matchOperand(code, operands[i] as AsmOperand, opSize, mode));
      if (matches.includes("no")) continue;
      const imprecise = matches.find((match) => typeof match === "object");
      if (imprecise !== undefined) {
        failure = imprecise.imprecise;
        continue;
      }
      if (row.operands.some(({ letter }) => letter === "B") && operands[0]?.kind !== "gpr") continue;
      const encoded = emit({ row, opSize, cond: spelling.cond, addrSize: spelling.addrSize }, request, written);
      if ("error" in encoded) {
        failure = encoded.error;
        continue;
      }
      const showsSize =
        spelling.opSize !== undefined ||
        !row.sized ||
        matches.includes("sizes") ||
        operands.some(
          (operand, i) =>
            operand.kind === "gpr" &&
            row.sizeRule === "b" &&
            row.operands[i]?.size === "b" &&
            row.operands[i]?.text !== "CL",
        ) ||
        row.operands.some(({ size }) => size === "u") ||
        takesDefaultSize(spelling, opSize, mode);
      if (!showsSize) {
        const other = unsized.get(opSize);
        if (other === undefined || encoded.bytes.length < other.bytes.length) unsized.set(opSize, encoded);
      } else if (best === undefined || encoded.bytes.length < best.bytes.length) best = encoded;
    }
  }
  if (best !== undefined) return best;
  if (unsized.size > 1) return { error: `\`${mnemonic}\` needs a size suffix here (b, w, l or q)` };
  const [only] = unsized.values();
  return only ?? { error: failure ?? `no form of \`${mnemonic}\` takes these operands` };
}
