// The shape of a row of the instruction table, and the reading of its short notation.

import type { Op } from "../engine/abi.js";
import type { Mode } from "./insn.js";

/**
 * One encoding: [operation, name, opcode, operands, flags]. Op.UNSUPPORTED marks an instruction that is not covered, where
 * without it another row would claim its bytes.
 *
 * - name: Intel mnemonic; `a|b|c` gives one per operand size 2, 4, 8 (per address size with `byaddr`); `cc` stands for the condition.
 * - opcode: `[NP|66|F2|F3] [REX.W] [0F [38]] XX[+r|+c] [/r|/0../7|MM|MM-MM]`. A prefix in front is mandatory and part of the
 *   opcode, `NP` forbids them; `+r` puts a register into the low three bits, `+c` a condition into the low four; MM is the ModRM byte
 *   itself or a range of it.
 * - operands: Intel order. E: register or memory by ModRM.rm; R, M: only one of them; G: register by ModRM.reg; B: one register in both
 *   fields; Z: register in the opcode; I: immediate, signed; U: immediate, unsigned; J: displacement; A: far pointer; O: absolute address;
 *   S, C, D: segment, control, debug register by ModRM.reg; and AL, rAX, CL, DX, 1, 3, ES..GS stand for themselves.
 *   Then the size: b 1, w 2, d 4, q 8, o 16 bytes, v operand size, z operand size but at most 4, x a byte extended to the operand size,
 *   u v for a register and w for memory, e w where v is 2 and d otherwise, m 8 in 64-bit mode and 4 elsewhere, p far pointer,
 *   s descriptor-table pseudo-descriptor, nothing: not accessed.
 * - flags: `lock` LOCK allowed on a memory destination; `i64` invalid in 64-bit mode; `o64` only there; `anymod` ModRM.mod is ignored;
 *   `nob` not with REX.B; `byaddr`; `asm` only for the assembler; `sized` the size shows although no
 *   operand has it; `def` without a suffix the assembler takes 4 bytes;
 *   `now` the assembler leaves REX.W away, since the 4-byte form extends with zeros;
 *   `shared` what the row excludes belongs to instructions that this table does not have; the operand size rule
 *   (b v z y d64 f64 m, see SizeRule); `att=` AT&T name; `as=` further names for the assembler, `name:size` for a single size.
 */
export type Notation = readonly [op: Op, name: string, opcode: string, operands?: string, flags?: string];

/** b: 1; v: 66 and REX.W; z: the same, at most 4; y: REX.W only; d64: 8 or (66) 2 in 64-bit mode; f64: always 8 there; m: 8 there, else 4. */
export type SizeRule = "b" | "v" | "z" | "y" | "d64" | "f64" | "m";

export type OperandLetter = "E" | "R" | "M" | "G" | "B" | "Z" | "I" | "U" | "J" | "A" | "O" | "S" | "C" | "D" | "fixed";
export type SizeLetter = "" | "b" | "w" | "d" | "q" | "o" | "v" | "z" | "x" | "u" | "e" | "m" | "p" | "s";

export interface OperandCode {
  readonly text: string;
  readonly letter: OperandLetter;
  readonly size: SizeLetter;
}

export interface Row {
  readonly op: Op;
  /** as the notation has it, for documentation */
  readonly opcodeText: string;
  readonly operandText: string;
  /** Intel names for operand (or address) sizes 2, 4, 8; one entry if they do not differ */
  readonly names: readonly string[];
  /** the same in AT&T syntax, without size suffix */
  readonly attNames: readonly string[];
  readonly asNames: readonly { readonly name: string; readonly size?: number }[];
  readonly map: 0 | 1 | 2;
  readonly opcode: number;
  readonly plus: "" | "r" | "c";
  readonly prefix: "" | "NP" | "66" | "F2" | "F3";
  readonly rexW: boolean;
  readonly hasModrm: boolean;
  /** the value that ModRM.reg must have */
  readonly digit: number | undefined;
  readonly fixedModrm: { readonly from: number; readonly to: number } | undefined;
  /** what ModRM.mod must say */
  readonly mod: "any" | "reg" | "mem" | "ignored";
  readonly operands: readonly OperandCode[];
  readonly sizeRule: SizeRule;
  /** operand size is visible in the operands, the name or the stack: the assembler must know it */
  readonly sized: boolean;
  readonly flags: ReadonlySet<string>;
}

export const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

const FIXED = new Set(["AL", "rAX", "CL", "DX", "1", "3", "ES", "CS", "SS", "DS", "FS", "GS"]);
const SIZE_RULES = new Set(["b", "v", "z", "y", "d64", "f64", "m"]);
const VARIABLE = new Set<SizeLetter>(["v", "z", "x", "u", "e", "m", "p"]);

function parseOperand(text: string): OperandCode {
  if (FIXED.has(text)) {
    const size = text === "AL" || text === "CL" ? "b" : text === "rAX" ? "v" : text === "1" || text === "3" ? "b" : "w";
    return { text, letter: "fixed", size };
  }
  return { text, letter: text.charAt(0) as OperandLetter, size: text.slice(1) as SizeLetter };
}

function defaultRule(operands: readonly OperandCode[]): SizeRule {
  if (operands.some(({ size }) => VARIABLE.has(size))) return "v";
  return operands[0]?.size === "b" || operands[1]?.text === "AL" ? "b" : "v";
}

/** Reads one row of the notation. */
export function parseRow([op, name, opcodeText, operandText = "", flagText = ""]: Notation): Row {
  const words = flagText.split(" ").filter((word) => word !== "");
  const value = (key: string) => words.find((word) => word.startsWith(key))?.slice(key.length);
  const operands = operandText === "" ? [] : operandText.split(",").map(parseOperand);

  const tokens = opcodeText.split(" ");
  const next = () => tokens.shift() ?? "";
  const prefix = /^(NP|66|F2|F3)$/.test(tokens[0] ?? "") && tokens.length > 1 ? (next() as Row["prefix"]) : "";
  const rexW = tokens[0] === "REX.W";
  if (rexW) next();
  let map: Row["map"] = 0;
  if (tokens[0] === "0F") {
    next();
    map = 1;
    if (tokens.at(0) === "38" && tokens.length > 1) {
      next();
      map = 2;
    }
  }
  const [opcode = "", plus = ""] = next().split("+");
  const modrm = next();
  const digit = /^\/[0-7]$/.test(modrm) ? Number(modrm.slice(1)) : undefined;
  const range =
    modrm === "" || modrm.startsWith("/") ? undefined : modrm.split("-").map((hex) => Number.parseInt(hex, 16));

  const flags = new Set(words.filter((word) => !word.includes("=")));
  const letters = operands.map(({ letter }) => letter);
  const sizeRule = (words.find((word) => SIZE_RULES.has(word)) as SizeRule | undefined) ?? defaultRule(operands);
  const names = name.split("|");
  return {
    op,
    opcodeText,
    operandText,
    names,
    attNames: (value("att=") ?? name).split("|"),
    asNames: (value("as=") ?? "")
      .split(",")
      .filter((text) => text !== "")
      .map((text) => {
        const [alias = "", size] = text.split(":");
        return size === undefined ? { name: alias } : { name: alias, size: Number(size) };
      }),
    map,
    opcode: Number.parseInt(opcode, 16),
    plus: plus as Row["plus"],
    prefix,
    rexW,
    hasModrm: modrm !== "",
    digit,
    fixedModrm: range === undefined ? undefined : { from: range[0] ?? 0, to: range[1] ?? range[0] ?? 0 },
    mod: flags.has("anymod")
      ? "ignored"
      : letters.includes("M")
        ? "mem"
        : letters.includes("R") || letters.includes("B")
          ? "reg"
          : "any",
    operands,
    sizeRule,
    sized:
      flags.has("sized") ||
      sizeRule !== "v" ||
      names.length > 1 ||
      operands.some(({ size, text }) => VARIABLE.has(size) || text === "rAX"),
    flags,
  };
}

/** Operand size in bytes that the prefixes give under a rule. */
export function operandSize(rule: SizeRule, mode: Mode, o16: boolean, rexW: boolean): number {
  const legacy = o16 ? 2 : 4;
  switch (rule) {
    case "b":
      return 1;
    case "v":
      return rexW ? 8 : legacy;
    case "z":
      return o16 && !rexW ? 2 : 4;
    case "y":
      return rexW ? 8 : 4;
    case "d64":
      return mode === 32 ? legacy : o16 && !rexW ? 2 : 8;
    case "f64":
      return mode === 32 ? legacy : 8;
    case "m":
      return mode === 32 ? 4 : 8;
  }
}

/** Bytes that a size letter stands for; `memory` tells a memory operand from a register. */
export function letterSize(letter: SizeLetter, opSize: number, mode: Mode, memory: boolean): number {
  switch (letter) {
    case "":
      return 0;
    case "b":
      return 1;
    case "w":
      return 2;
    case "d":
      return 4;
    case "q":
      return 8;
    case "o":
      return 16;
    case "v":
    case "x":
      return opSize;
    case "z":
      return Math.min(opSize, 4);
    case "u":
      return memory ? 2 : opSize;
    case "e":
      return opSize === 2 ? 2 : 4;
    case "m":
      return mode === 64 ? 8 : 4;
    case "p":
      return opSize + 2;
    case "s":
      return mode === 64 ? 10 : 6;
  }
}

/** The name for a size out of a list for sizes 2, 4, 8. */
export function nameForSize(names: readonly string[], size: number): string {
  return names[size === 2 ? 0 : size === 8 ? 2 : 1] ?? names[0] ?? "";
}
