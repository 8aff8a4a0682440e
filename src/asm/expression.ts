// Expressions: GNU as's operators and ranks (manual of as, "Infix Operators"), which are not C's: `| & ^ !` bind
// tighter than `+ -`, comparisons give -1 for true, `>>` shifts zeros in, and numbers are 64 bits wide.

import { Cursor, NAME } from "./cursor.js";
import type { Fragment } from "./section.js";
import { charEnd, type Statement } from "./source.js";

/** A position in a section: an offset into a piece of it that layout may move but not change. */
export interface Place {
  readonly fragment: Fragment;
  readonly offset: number;
}

export interface AsmSymbol {
  readonly name: string;
  binding: "local" | "global" | "weak";
  /** a label */
  place?: Place;
  /** `.set`: its value now, and the first one, which is what an earlier reference means */
  value?: Expr;
  first?: Expr;
  /** `.comm` */
  common?: { readonly size: number; readonly align: number };
  /** where it is defined, or else first mentioned */
  statement?: Statement;
  /** `.globl` and friends name it, or an expression does */
  referenced: boolean;
}

/** `size`: number of nodes, to bound what a chain of `.set` can build. */
export type Expr = { readonly size: number } & (
  | { readonly kind: "number"; readonly value: bigint }
  | { readonly kind: "symbol"; readonly symbol: AsmSymbol; readonly at: number; readonly statement: Statement }
  | { readonly kind: "place"; readonly place: Place }
  | { readonly kind: "unary"; readonly operator: string; readonly operand: Expr }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Expr; readonly right: Expr }
);

/** What an expression may mention; the assembler provides it. */
export interface Names {
  /** the symbol of that name, made if there is none */
  symbol(name: string, cursor: Cursor): AsmSymbol;
  /** `1f`, `1b` */
  numeric(digits: string, direction: "f" | "b", cursor: Cursor): AsmSymbol;
  /** `.` */
  here(): Place;
}

const MAX_NODES = 4000;
const MAX_DEPTH = 200;
/** what one evaluation may cost: chains of `.set` can mention each other, and themselves */
const MAX_EVALUATION = { depth: 5000, steps: 40_000 };
const RANK: Readonly<Record<string, number>> = {
  "||": 1,
  "&&": 2,
  "==": 3,
  "!=": 3,
  "<>": 3,
  "<": 3,
  ">": 3,
  "<=": 3,
  ">=": 3,
  "+": 4,
  "-": 4,
  "|": 5,
  "&": 5,
  "^": 5,
  "!": 5,
  "*": 6,
  "/": 6,
  "%": 6,
  "<<": 6,
  ">>": 6,
};
const OPERATOR = /\|\||&&|==|!=|<>|<=|>=|<<|>>|[<>+\-|&^!*/%]/y;
const NUMBER = /0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+/y;
const NUMERIC_LABEL = /[0-9]+[bf](?![\w.$])/y;

export const number = (value: bigint): Expr => ({ kind: "number", value: BigInt.asIntN(64, value), size: 1 });
export const atPlace = (place: Place): Expr => ({ kind: "place", place, size: 1 });

/** Reads an expression. Names that stand for a `.set` value are replaced by it, so that a later `.set` does not matter. */
export function parseExpression(cursor: Cursor, names: Names): Expr {
  return new Parser(cursor, names).binary(1, 0);
}

class Parser {
  readonly cursor: Cursor;
  readonly names: Names;

  constructor(cursor: Cursor, names: Names) {
    this.cursor = cursor;
    this.names = names;
  }

  binary(rank: number, depth: number): Expr {
    let left = this.unary(depth);
    for (;;) {
      const before = this.cursor.at;
      const operator = this.cursor.take(OPERATOR);
      const own = operator === undefined ? undefined : RANK[operator];
      if (operator === undefined || own === undefined || own < rank) {
        this.cursor.at = before;
        return left;
      }
      const right = this.binary(own + 1, depth + 1);
      left = this.fold(operator, left, right, before);
    }
  }

  fold(operator: string, left: Expr, right: Expr, at: number): Expr {
    if (left.kind !== "number" || right.kind !== "number") {
      return this.sized({ kind: "binary", operator, left, right, size: left.size + right.size + 1 });
    }
    const value = arithmetic(operator, left.value, right.value);
    if (value === undefined) throw this.cursor.error("division by zero", at);
    return number(value);
  }

  sized(expression: Expr): Expr {
    if (expression.size > MAX_NODES) throw this.cursor.error(`expression has more than ${MAX_NODES} parts`);
    return expression;
  }

  unary(depth: number): Expr {
    const { cursor } = this;
    if (depth > MAX_DEPTH) throw cursor.error(`expression nests deeper than ${MAX_DEPTH}`);
    const operator = cursor.take(/[-+~!]/y);
    if (operator === undefined) return this.primary(depth);
    const operand = this.unary(depth + 1);
    if (operator === "+") return operand;
    return this.sized({ kind: "unary", operator, operand, size: operand.size + 1 });
  }

  primary(depth: number): Expr {
    const { cursor, names } = this;
    const start = cursor.mark();
    if (cursor.eat("(")) {
      const inner = this.binary(1, depth + 1);
      cursor.expect(")", "to close the parenthesis");
      return inner;
    }
    if (cursor.peek() === "'") return this.character();
    const label = cursor.take(NUMERIC_LABEL);
    if (label !== undefined) {
      const symbol = names.numeric(label.slice(0, -1), label.endsWith("f") ? "f" : "b", cursor);
      return { kind: "symbol", symbol, at: start, statement: cursor.statement, size: 1 };
    }
    const digits = cursor.take(NUMBER);
    if (digits !== undefined) return this.number(digits, start);
    if (/[A-Za-z_.]/.test(cursor.peek())) {
      const name = cursor.take(NAME) ?? "";
      if (name === ".") return atPlace(names.here());
      const symbol = names.symbol(name, cursor);
      this.relocationOperator();
      if (symbol.value !== undefined) return this.sized(symbol.value);
      symbol.referenced = true;
      symbol.statement ??= cursor.statement;
      return { kind: "symbol", symbol, at: start, statement: cursor.statement, size: 1 };
    }
    throw cursor.error(`expected a number, a symbol or an expression, found ${cursor.found()}`);
  }

  number(digits: string, start: number): Expr {
    const { cursor } = this;
    if (/[\w.$]/.test(cursor.statement.text[cursor.at] ?? ""))
      throw cursor.error(`invalid number \`${digits}${cursor.take(/[\w.$]+/y)}\``, start);
    if (/^0[0-9]*[89]/.test(digits)) throw cursor.error(`invalid number \`${digits}\`: a leading 0 means octal`, start);
    const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
    if (value >> 64n !== 0n) throw cursor.error(`number \`${digits}\` does not fit in 64 bits`, start);
    return number(value);
  }

  character(): Expr {
    const { cursor } = this;
    const start = cursor.at;
    const { text } = cursor.statement;
    if (text[start + 1] === undefined) throw cursor.error("expected a character after `'`");
    if (text[start + 1] === "\\") {
      const inner = new Cursor(cursor.statement, start + 1);
      const value = inner.escape();
      cursor.at = inner.at + (text[inner.at] === "'" ? 1 : 0);
      return number(BigInt(value));
    }
    cursor.at = charEnd(text, start);
    return number(BigInt(text.charCodeAt(start + 1)));
  }

  /** A direct call through `@PLT` reaches the function itself in a static image; every other operator asks for a table that there is none of. */
  relocationOperator(): void {
    const { cursor } = this;
    const operator = cursor.take(/@[A-Za-z]\w*/y);
    if (operator !== undefined && operator.toUpperCase() !== "@PLT") {
      throw cursor.error(
        `relocation operator \`${operator}\` is not supported: name the symbol itself`,
        cursor.at - operator.length,
      );
    }
  }
}

/** A sum of a number and positions: labels, or symbols from elsewhere. */
export interface Value {
  readonly number: bigint;
  readonly plus: readonly Base[];
  readonly minus: readonly Base[];
}

export interface Base {
  readonly place?: Place | undefined;
  readonly symbol?: AsmSymbol | undefined;
  /** what mentions it */
  readonly statement?: Statement | undefined;
}

/** How far apart two places are, `to - from`; undefined while layout may still change it. */
export type Distance = (from: Place, to: Place) => number | undefined;

/** While parsing: only inside a run of bytes that nothing can stretch. */
export const fixedDistance: Distance = (from, to) =>
  from.fragment.run === to.fragment.run
    ? to.fragment.runOffset + to.offset - from.fragment.runOffset - from.offset
    : undefined;

/** After layout: in the same section. */
export const laidOutDistance: Distance = (from, to) =>
  from.fragment.section === to.fragment.section
    ? to.fragment.address + to.offset - from.fragment.address - from.offset
    : undefined;

/** Value of an expression; undefined where an operator needs plain numbers and does not get them; `explain` hears why. */
export function evaluate(
  expression: Expr,
  distance: Distance,
  explain: (reason: string) => void = () => undefined,
): Value | undefined {
  let steps = 0;
  const visit = (node: Expr, depth: number): Value | undefined => {
    if (++steps > MAX_EVALUATION.steps || depth > MAX_EVALUATION.depth) {
      explain("a symbol is set to an expression of itself, or to one that grows too large");
      return undefined;
    }
    switch (node.kind) {
      case "number":
        return { number: node.value, plus: [], minus: [] };
      case "place":
        return { number: 0n, plus: [{ place: node.place }], minus: [] };
      case "symbol": {
        const { symbol, statement } = node;
        if (symbol.first !== undefined) return visit(symbol.first, depth + 1);
        return { number: 0n, plus: [{ place: symbol.place, symbol, statement }], minus: [] };
      }
      case "unary": {
        const value = visit(node.operand, depth + 1);
        if (value === undefined) return undefined;
        if (node.operator === "-") return { number: -value.number, plus: value.minus, minus: value.plus };
        if (!isNumber(value)) {
          explain(`\`${node.operator}\` needs a plain number, and got an address`);
          return undefined;
        }
        return { number: node.operator === "~" ? ~value.number : value.number === 0n ? 1n : 0n, plus: [], minus: [] };
      }
      case "binary": {
        const left = visit(node.left, depth + 1);
        const right = visit(node.right, depth + 1);
        if (left === undefined || right === undefined) return undefined;
        return binaryValue(node.operator, left, right, distance, explain);
      }
    }
  };
  return visit(expression, 0);
}

export const isNumber = (value: Value): boolean => value.plus.length === 0 && value.minus.length === 0;

/** The expression's number, if it is one already. */
export function constant(expression: Expr, distance: Distance = fixedDistance): bigint | undefined {
  const value = evaluate(expression, distance);
  return value !== undefined && isNumber(value) ? BigInt.asIntN(64, value.number) : undefined;
}

function sum(a: Value, b: Value, distance: Distance): Value {
  let total = a.number + b.number;
  const plus: Base[] = [];
  const minus = [...a.minus, ...b.minus];
  for (const base of [...a.plus, ...b.plus]) {
    const partner = minus.findIndex((other) => apart(other, base, distance) !== undefined);
    if (partner < 0) plus.push(base);
    else {
      const [other] = minus.splice(partner, 1);
      total += BigInt((other && apart(other, base, distance)) ?? 0);
    }
  }
  return { number: BigInt.asIntN(64, total), plus, minus };
}

function apart(from: Base, to: Base, distance: Distance): number | undefined {
  if (from.place !== undefined && to.place !== undefined) return distance(from.place, to.place);
  return from.symbol !== undefined && from.symbol === to.symbol ? 0 : undefined;
}

const truth = (condition: boolean): bigint => (condition ? -1n : 0n);

function binaryValue(
  operator: string,
  left: Value,
  right: Value,
  distance: Distance,
  explain: (reason: string) => void,
): Value | undefined {
  if (operator === "+") return sum(left, right, distance);
  const difference = sum(left, { number: -right.number, plus: right.minus, minus: right.plus }, distance);
  if (operator === "-") return difference;
  const result = (n: bigint): Value => ({ number: BigInt.asIntN(64, n), plus: [], minus: [] });
  if (RANK[operator] === 3 && !isNumber(left) && isNumber(difference))
    return result(compare(operator, difference.number, 0n));
  if (!isNumber(left) || !isNumber(right)) {
    explain(`\`${operator}\` needs plain numbers, and got an address`);
    return undefined;
  }
  const n = arithmetic(operator, BigInt.asIntN(64, left.number), BigInt.asIntN(64, right.number));
  if (n === undefined) explain("division by zero");
  return n === undefined ? undefined : result(n);
}

function compare(operator: string, a: bigint, b: bigint): bigint {
  switch (operator) {
    case "==":
      return truth(a === b);
    case "<":
      return truth(a < b);
    case ">":
      return truth(a > b);
    case "<=":
      return truth(a <= b);
    case ">=":
      return truth(a >= b);
    default:
      return truth(a !== b);
  }
}

function arithmetic(operator: string, a: bigint, b: bigint): bigint | undefined {
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return b === 0n ? undefined : a / b;
    case "%":
      return b === 0n ? undefined : a % b;
    case "<<":
      return b < 0n || b > 63n ? 0n : a << b;
    case ">>":
      return b < 0n || b > 63n ? 0n : BigInt.asUintN(64, a) >> b;
    case "|":
      return a | b;
    case "&":
      return a & b;
    case "^":
      return a ^ b;
    case "!":
      return a | ~b;
    case "&&":
      return a !== 0n && b !== 0n ? 1n : 0n;
    case "||":
      return a !== 0n || b !== 0n ? 1n : 0n;
    default:
      return compare(operator, a, b);
  }
}
