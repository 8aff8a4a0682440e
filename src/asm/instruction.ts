// One instruction: prefixes, mnemonic, operands; bytes from the instruction table, numbers that are not known yet as fixups.

import { encode } from "../isa/encode.js";
import type { AsmOperand, Encoded, EncodeRequest } from "../isa/insn.js";
import type { Cursor } from "./cursor.js";
import { constant, type Expr } from "./expression.js";
import { type ParsedOperand, parseOperand } from "./operand.js";
import type { Program } from "./program.js";
import type { Fixup } from "./section.js";
import { errorAt } from "./source.js";

/** SDM volume 2A, 2.1.1 and 2.2.1. */
const PREFIXES: ReadonlyMap<string, number> = new Map([
  ["lock", 0xf0],
  ["rep", 0xf3],
  ["repe", 0xf3],
  ["repz", 0xf3],
  ["repne", 0xf2],
  ["repnz", 0xf2],
  ["data16", 0x66],
  ["addr32", 0x67],
  ["es", 0x26],
  ["cs", 0x2e],
  ["ss", 0x36],
  ["ds", 0x3e],
  ["fs", 0x64],
  ["gs", 0x65],
  ["rex64", 0x48],
]);

const RELAXABLE = /^j(?!e?cxz|rcxz)/;
const ALWAYS_SHORT = /^(j[er]?cxz|loop)/;
const ALWAYS_NEAR = /^call/;
/** AT&T syntax leaves the operands of ENTER in the manual's order. */
const NOT_REVERSED = /^enter/;

/** Assembles the instruction that begins at the cursor. */
export function assembleInstruction(cursor: Cursor, program: Program): void {
  const { statement } = cursor;
  const { section } = program;
  const start = cursor.mark();
  const { prefixes, mnemonic } = words(cursor);
  if (section.flags.nobits)
    throw errorAt(statement, `section \`${section.name}\` holds no bytes: no code may stand in it`, start);
  section.mark(statement);
  if (mnemonic === "") {
    section.append(
      prefixes.map((word) => PREFIXES.get(word) ?? 0),
      statement,
    );
    return;
  }
  const branch =
    RELAXABLE.test(mnemonic) || ALWAYS_NEAR.test(mnemonic) ? "near" : ALWAYS_SHORT.test(mnemonic) ? "short" : undefined;
  const parsed: ParsedOperand[] = [];
  while (!cursor.atEnd()) {
    parsed.push(parseOperand(cursor, program, branch));
    if (!cursor.eat(",")) break;
    if (cursor.atEnd()) throw cursor.error("expected an operand after `,`");
  }
  cursor.expectEnd();
  const { operands, numbers } = intelOrder(mnemonic, parsed);
  const request: EncodeRequest = {
    mode: program.mode,
    mnemonic,
    operands,
    indirect: parsed.some((operand) => operand.indirect),
    prefixes,
  };
  const build = (wanted: EncodeRequest): { bytes: Uint8Array; fixups: Fixup[] } => {
    const encoded = encode(wanted);
    if ("error" in encoded) throw errorAt(statement, encoded.error, start);
    return { bytes: encoded.bytes, fixups: fixups(encoded, wanted, numbers, cursor) };
  };
  const near = build(request);
  const target = numbers[0]?.number;
  if (branch === "near" && RELAXABLE.test(mnemonic) && operands[0]?.kind === "rel" && target !== undefined) {
    const short = build({ ...request, operands: [{ ...operands[0], form: "short" }] });
    const [shortFixup, nearFixup] = [short.fixups[0], near.fixups[0]];
    if (shortFixup !== undefined && nearFixup !== undefined) {
      section.variable({
        kind: "jump",
        short: { bytes: short.bytes, fixup: { ...shortFixup, jump: true } },
        near: { bytes: near.bytes, fixup: { ...nearFixup, jump: true } },
        long: false,
        target,
      });
      return;
    }
  }
  section.append(near.bytes, statement, near.fixups);
}

function words(cursor: Cursor): { prefixes: string[]; mnemonic: string } {
  const prefixes: string[] = [];
  while (!cursor.atEnd()) {
    const start = cursor.at;
    const word = cursor.take(/[A-Za-z][\w.]*/y)?.toLowerCase();
    if (word === undefined)
      throw cursor.error(`expected an instruction, a directive or a label, found ${cursor.found()}`, start);
    if (word === "notrack") prefixes.push("ds");
    else if (PREFIXES.has(word)) prefixes.push(word);
    else return { prefixes, mnemonic: word };
  }
  return { prefixes, mnemonic: "" };
}

interface Numbers {
  /** immediate, displacement or branch target; of a far pointer the offset */
  readonly number?: Expr | undefined;
  readonly selector?: Expr | undefined;
  /** where the operand stands in the statement */
  readonly at: number;
}

function intelOrder(
  mnemonic: string,
  parsed: readonly ParsedOperand[],
): { operands: AsmOperand[]; numbers: Numbers[] } {
  const [first, second] = parsed;
  if (/^l(jmp|call)/.test(mnemonic) && first?.operand.kind === "imm" && second?.operand.kind === "imm") {
    const far: AsmOperand = { kind: "far", selector: first.operand.value, offset: second.operand.value };
    return { operands: [far], numbers: [{ number: second.expression, selector: first.expression, at: second.at }] };
  }
  const ordered = NOT_REVERSED.test(mnemonic) ? parsed : [...parsed].reverse();
  return {
    operands: ordered.map(({ operand }) => operand),
    numbers: ordered.map(({ expression, at }) => ({ number: expression, at })),
  };
}

/** The fields whose numbers are not in the bytes yet. */
function fixups(encoded: Encoded, request: EncodeRequest, numbers: readonly Numbers[], cursor: Cursor): Fixup[] {
  const result: Fixup[] = [];
  for (const field of encoded.fields) {
    const from = numbers[field.operand];
    const expression = field.part === "selector" ? from?.selector : from?.number;
    if (expression === undefined) continue;
    if (field.part !== "rel" && constant(expression) !== undefined) continue;
    const operand = request.operands[field.operand];
    const relative = field.part === "rel" || (field.part === "disp" && operand?.kind === "mem" && operand.ripRelative);
    result.push({
      offset: field.offset,
      size: field.size,
      expression,
      kind: relative ? "relative" : "absolute",
      tail: encoded.bytes.length - field.offset,
      signed: field.signed,
      jump: false,
      at: from?.at ?? 0,
      statement: cursor.statement,
    });
  }
  return result;
}
