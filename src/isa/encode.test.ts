import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Seg } from "../engine/abi.js";
import { encode } from "./encode.js";
import type { AsmOperand, EncodeRequest, Mode } from "./insn.js";

interface Vector {
  readonly line: string;
  readonly mode: Mode;
  readonly bytes?: string;
  readonly refused?: true;
}

// bytes that no line gives are for the decoder alone
const VECTORS = (
  JSON.parse(readFileSync(new URL("./vectors/gas.vectors.json", import.meta.url), "utf8")) as readonly Vector[]
).filter(({ line }) => !line.startsWith(".byte"));

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

// A small part of AT&T syntax, enough for the recorded lines; `sym` is an unknown number.

const LOW = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const PREFIX_WORDS = new Set("lock rep repe repz repne repnz data16 addr16 addr32 rex64 es cs ss ds fs gs".split(" "));

function parseRegister(text: string): Exclude<AsmOperand, { kind: "mem" | "imm" | "rel" | "far" }> | undefined {
  const name = text.slice(1);
  const special = /^(cr|db|dr)(\d+)$/.exec(name);
  if (special) return { kind: special[1] === "cr" ? "creg" : "dreg", number: Number(special[2]) };
  const segment = ["es", "cs", "ss", "ds", "fs", "gs"].indexOf(name);
  if (segment >= 0) return { kind: "sreg", number: segment as Seg };
  const extended = /^r(8|9|1[0-5])([bwd]?)$/.exec(name);
  if (extended) {
    const size = extended[2] === "b" ? 1 : extended[2] === "w" ? 2 : extended[2] === "d" ? 4 : 8;
    return { kind: "gpr", size, number: Number(extended[1]) };
  }
  const byte = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"].indexOf(name);
  if (byte >= 0) return { kind: "gpr", size: 1, number: byte };
  const high = ["ah", "ch", "dh", "bh"].indexOf(name);
  if (high >= 0) return { kind: "gpr", size: 1, number: high, high: true };
  const number = LOW.indexOf(name.length === 2 ? name : name.slice(1));
  if (number < 0) return undefined;
  return { kind: "gpr", size: name.length === 2 ? 2 : name.startsWith("r") ? 8 : 4, number };
}

function parseNumber(text: string): bigint | undefined {
  if (text === "") return 0n;
  if (text === "sym") return undefined;
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
}

function parseMemory(text: string): AsmOperand | undefined {
  const match = /^(?:%([c-gs]s):)?([^()]*)(?:\(([^)]*)\))?$/.exec(text);
  if (match === null) return undefined;
  const [, segmentName, dispText = "", inside] = match;
  const segment = segmentName === undefined ? {} : { segment: Seg[segmentName.toUpperCase() as "DS"] };
  const [baseText = "", indexText = "", scaleText = "1"] = (inside ?? "").split(",");
  const disp = parseNumber(dispText);
  const common = { kind: "mem", ...segment, disp, scale: Number(scaleText) as 1 | 2 | 4 | 8 } as const;
  if (baseText === "%rip" || baseText === "%eip")
    return { ...common, ripRelative: true, addrSize: baseText === "%rip" ? 8 : 4 };
  const [base, index] = [baseText, indexText].map((name) => (name === "" ? undefined : parseRegister(name)));
  const size = base?.kind === "gpr" ? base.size : index?.kind === "gpr" ? index.size : undefined;
  return {
    ...common,
    ...(base?.kind === "gpr" ? { base: base.number } : {}),
    ...(index?.kind === "gpr" ? { index: index.number } : {}),
    ...(size === 2 || size === 4 || size === 8 ? { addrSize: size } : {}),
    ripRelative: false,
  };
}

function parseOperand(text: string): AsmOperand | undefined {
  if (/^%[a-z0-9]+$/.test(text)) return parseRegister(text);
  if (text.startsWith("$")) return { kind: "imm", value: parseNumber(text.slice(1)) };
  return parseMemory(text);
}

/** The request of a line; undefined where it names something that does not exist. `.+n` needs the length of the instruction. */
function parseLine(line: string, mode: Mode, form: "short" | "near", length: number): EncodeRequest | undefined {
  const tokens = line.split(" ");
  const prefixes: string[] = [];
  while (tokens.length > 1 && PREFIX_WORDS.has(tokens[0] ?? "")) prefixes.push(tokens.shift() ?? "");
  const [mnemonic = "", operandText = ""] = tokens;
  const indirect = operandText.startsWith("*");
  const texts = operandText === "" ? [] : operandText.replace("*", "").split(/,(?![^(]*\))/);
  if (texts[0]?.startsWith(".")) {
    const value = BigInt(texts[0].slice(1) || "0") - BigInt(length);
    return { mode, mnemonic, prefixes, indirect, operands: [{ kind: "rel", form, value }] };
  }
  const operands = texts.map(parseOperand);
  if (operands.some((operand) => operand === undefined)) return undefined;
  const known = operands as AsmOperand[];
  const [first, second] = known;
  if (/^l(jmp|call)/.test(mnemonic) && first?.kind === "imm" && second?.kind === "imm")
    return {
      mode,
      mnemonic,
      prefixes,
      indirect,
      operands: [{ kind: "far", selector: first.value, offset: second.value }],
    };
  // ENTER is written in the manual's order in both syntaxes
  return { mode, mnemonic, prefixes, indirect, operands: mnemonic.startsWith("enter") ? known : known.reverse() };
}

/** Bytes of a line, or the error; branches take the short form where it reaches. */
function assemble(line: string, mode: Mode): string {
  for (const form of ["short", "near"] as const) {
    for (const length of [2, 3, 4, 5, 6]) {
      const request = parseLine(line, mode, form, length);
      if (request === undefined) return "error: unreadable";
      const result = encode(request);
      const isBranch = request.operands[0]?.kind === "rel";
      if ("error" in result) {
        if (!isBranch || (form === "near" && length === 6)) return `error: ${result.error}`;
      } else if (!isBranch || result.bytes.length === length) return hex(result.bytes);
    }
  }
  return "error: no length fits";
}

describe("encode", () => {
  it("gives the bytes of GNU as", () => {
    const wrong = VECTORS.filter(({ refused }) => !refused).flatMap(({ line, mode, bytes }) => {
      const mine = assemble(line, mode);
      return mine === bytes ? [] : [`${mode}: ${line}: ${mine}, GNU as: ${bytes}`];
    });
    expect(wrong).toEqual([]);
  });

  it("refuses what GNU as refuses", () => {
    const wrong = VECTORS.filter(({ refused }) => refused).filter(
      ({ line, mode }) => !assemble(line, mode).startsWith("error"),
    );
    expect(wrong).toEqual([]);
  });
});
