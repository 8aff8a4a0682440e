// Operands in AT&T syntax: `%rax`, `$8`, `%gs:disp(base,index,scale)`, `symbol(%rip)`, `*%rax`, branch targets.

import type { Seg } from "../engine/abi.js";
import type { AsmOperand } from "../isa/insn.js";
import type { Cursor } from "./cursor.js";
import { constant, type Expr } from "./expression.js";
import type { Program } from "./program.js";

/** An operand, and the expression behind its number where it has one. */
export interface ParsedOperand {
  readonly operand: AsmOperand;
  readonly expression?: Expr;
  /** a `*` stood before it */
  readonly indirect: boolean;
  /** where it stands in the statement */
  readonly at: number;
}

type Register =
  | Exclude<AsmOperand, { kind: "mem" | "imm" | "rel" | "far" }>
  | { readonly kind: "ip"; readonly size: 4 | 8 };

const REGISTERS = registers();

function registers(): ReadonlyMap<string, Register> {
  const map = new Map<string, Register>();
  const gpr = (name: string, size: 1 | 2 | 4 | 8, at: number): unknown =>
    map.set(name, { kind: "gpr", size, number: at });
  for (const [at, name] of ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"].entries()) {
    gpr(name, 2, at);
    gpr(`e${name}`, 4, at);
    gpr(`r${name}`, 8, at);
  }
  for (const [at, name] of ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"].entries()) gpr(name, 1, at);
  for (const [at, name] of ["ah", "ch", "dh", "bh"].entries())
    map.set(name, { kind: "gpr", size: 1, number: at, high: true });
  for (let at = 8; at < 16; at++) {
    gpr(`r${at}`, 8, at);
    gpr(`r${at}d`, 4, at);
    gpr(`r${at}w`, 2, at);
    gpr(`r${at}b`, 1, at);
  }
  for (const [at, name] of ["es", "cs", "ss", "ds", "fs", "gs"].entries())
    map.set(name, { kind: "sreg", number: at as Seg });
  for (let at = 0; at < 16; at++) {
    map.set(`cr${at}`, { kind: "creg", number: at });
    map.set(`dr${at}`, { kind: "dreg", number: at }).set(`db${at}`, { kind: "dreg", number: at });
  }
  map.set("rip", { kind: "ip", size: 8 }).set("eip", { kind: "ip", size: 4 });
  return map;
}

/** The register here, with its `%`. */
function register(cursor: Cursor): Register {
  const start = cursor.mark();
  cursor.expect("%", "before a register");
  const name = cursor.take(/\w+/y) ?? "";
  const found = REGISTERS.get(name.toLowerCase());
  if (found === undefined) throw cursor.error(`unknown register \`%${name}\``, start);
  return found;
}

/** Reads one operand. `branch`: a bare expression is a branch target, not a memory address. */
export function parseOperand(cursor: Cursor, program: Program, branch: "short" | "near" | undefined): ParsedOperand {
  const at = cursor.mark();
  const indirect = cursor.eat("*");
  if (cursor.eat("$")) {
    const expression = program.expression(cursor);
    return { operand: { kind: "imm", value: constant(expression) }, expression, indirect, at };
  }
  if (cursor.peek() !== "%")
    return { ...memory(cursor, program, undefined, indirect ? undefined : branch), indirect, at };
  const start = cursor.at;
  const found = register(cursor);
  if (found.kind === "sreg" && cursor.eat(":"))
    return { ...memory(cursor, program, found.number, undefined), indirect, at };
  if (found.kind === "ip") throw cursor.error("the instruction pointer stands only in `symbol(%rip)`", start);
  return { operand: found, indirect, at };
}

const BASE_FOLLOWS = /\(\s*[%,]/y;

function memory(
  cursor: Cursor,
  program: Program,
  segment: Seg | undefined,
  branch: "short" | "near" | undefined,
): Omit<ParsedOperand, "indirect" | "at"> {
  const start = cursor.mark();
  const over = segment === undefined ? {} : { segment };
  BASE_FOLLOWS.lastIndex = start;
  const expression = BASE_FOLLOWS.test(cursor.statement.text) ? undefined : operandExpression(cursor, program);
  const parts = cursor.eat("(") ? address(cursor, program) : undefined;
  if (parts === undefined && branch !== undefined && expression !== undefined) {
    return { operand: { kind: "rel", value: undefined, form: branch }, expression };
  }
  if (parts?.port && expression === undefined && segment === undefined)
    return { operand: { kind: "gpr", size: 2, number: 2 } };
  const value = expression === undefined ? 0n : constant(expression);
  const narrow = (parts?.addrSize ?? (program.mode === 64 ? 8 : 4)) === 4;
  const disp = value !== undefined && narrow && value < 1n << 32n ? BigInt.asIntN(32, value) : value;
  const { port: _, ...rest } = parts ?? { port: false, scale: 1 as const, ripRelative: false };
  return { operand: { kind: "mem", ...over, disp, ...rest }, ...(expression === undefined ? {} : { expression }) };
}

function operandExpression(cursor: Cursor, program: Program): Expr {
  if (cursor.atEnd() || cursor.peek() === ",") throw cursor.error(`expected an operand, found ${cursor.found()}`);
  return program.expression(cursor);
}

interface Address {
  readonly base?: number;
  readonly index?: number;
  readonly scale: 1 | 2 | 4 | 8;
  readonly addrSize?: 2 | 4 | 8;
  readonly ripRelative: boolean;
  /** `(%dx)`, the port of IN and OUT */
  readonly port: boolean;
}

/** `base, index, scale)`, after the parenthesis. */
function address(cursor: Cursor, program: Program): Address {
  let base: Register | undefined;
  let index: Register | undefined;
  let scale: 1 | 2 | 4 | 8 = 1;
  const start = cursor.at;
  if (cursor.peek() === "%") base = register(cursor);
  if (cursor.eat(",")) {
    if (cursor.peek() === "%") index = register(cursor);
    if (cursor.eat(",")) {
      const at = cursor.mark();
      const written = program.known(cursor, "a scale");
      if (![1n, 2n, 4n, 8n].includes(written)) throw cursor.error(`a scale must be 1, 2, 4 or 8, found ${written}`, at);
      scale = Number(written) as 1 | 2 | 4 | 8;
    }
  }
  cursor.expect(")", "to close the address");
  if (base?.kind === "ip") {
    if (index !== undefined) throw cursor.error("an address relative to the instruction pointer has no index", start);
    if (program.mode !== 64)
      throw cursor.error("addresses relative to the instruction pointer need 64-bit code", start);
    if (base.size === 4) throw cursor.error("`%eip` is not supported as a base: use `%rip`", start);
    return { scale: 1, ripRelative: true, port: false };
  }
  const size = base?.kind === "gpr" ? base.size : index?.kind === "gpr" ? index.size : undefined;
  for (const part of [base, index]) {
    if (part === undefined) continue;
    if (part.kind !== "gpr" || part.size === 1 || part.size !== size) {
      throw cursor.error("base and index must be general registers of one size (16, 32 or 64 bits)", start);
    }
  }
  if (index?.kind === "gpr" && index.number === 4 && size !== 2)
    throw cursor.error("the stack pointer cannot be an index", start);
  return {
    ...(base?.kind === "gpr" ? { base: base.number } : {}),
    ...(index?.kind === "gpr" ? { index: index.number } : {}),
    ...(size === 2 || size === 4 || size === 8 ? { addrSize: size } : {}),
    scale,
    ripRelative: false,
    port: base?.kind === "gpr" && base.size === 2 && base.number === 2 && index === undefined,
  };
}
