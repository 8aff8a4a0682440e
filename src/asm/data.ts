// Directives that put bytes into the section: numbers, strings, space, alignment.

import type { Cursor } from "./cursor.js";
import { constant, type Expr } from "./expression.js";
import type { Program } from "./program.js";
import { MAX_SECTION } from "./section.js";
import { errorAt } from "./source.js";

type Size = 1 | 2 | 4 | 8;

const littleEndian = (value: bigint, size: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, at) => Number((value >> BigInt(8 * at)) & 255n));

function each(cursor: Cursor, item: () => void): void {
  if (cursor.atEnd()) return;
  do item();
  while (cursor.eat(","));
  cursor.expectEnd();
}

/** `.byte` to `.quad`: expressions, which the linker may have to finish. */
export function numbers(cursor: Cursor, program: Program, size: Size): void {
  const { statement } = cursor;
  program.section.mark(statement);
  each(cursor, () => {
    const at = cursor.mark();
    const expression = program.expression(cursor);
    const value = constant(expression);
    if (value === undefined) {
      const fixup = {
        offset: 0,
        size,
        expression,
        kind: "absolute" as const,
        tail: size,
        signed: false,
        jump: false,
        at,
        statement,
      };
      program.section.append(new Uint8Array(size), statement, [fixup]);
      return;
    }
    const limit = 1n << BigInt(8 * size);
    if (size < 8 && (value <= -limit || value >= limit)) {
      throw cursor.error(`value ${value} does not fit in ${size} byte${size === 1 ? "" : "s"}`, at);
    }
    program.section.append(littleEndian(value, size), statement);
  });
}

/** `.octa`: 16 bytes each, plain numbers only. */
export function octa(cursor: Cursor, program: Program): void {
  program.section.mark(cursor.statement);
  each(cursor, () => {
    const digits = cursor.take(/-?(0[xX][0-9a-fA-F]+|[0-9]+)/y);
    if (digits === undefined) throw cursor.error(`expected a number, found ${cursor.found()}`);
    const value = digits.startsWith("-") ? -BigInt(digits.slice(1)) : BigInt(digits);
    if (value >= 1n << 128n || value <= -(1n << 128n)) throw cursor.error(`value ${digits} does not fit in 16 bytes`);
    program.section.append(littleEndian(value, 16), cursor.statement);
  });
}

/** `.ascii`, `.asciz`, `.string` */
export function strings(cursor: Cursor, program: Program, zero: boolean): void {
  program.section.mark(cursor.statement);
  each(cursor, () => {
    do program.section.append(cursor.string(), cursor.statement);
    while (cursor.peek() === '"');
    if (zero) program.section.append([0], cursor.statement);
  });
}

function pattern(value: bigint, size: number): Uint8Array {
  // only four bytes of the value count, the rest of a longer element is zero (manual of as, ".fill")
  return littleEndian(BigInt.asUintN(32, value), size);
}

function space(cursor: Cursor, program: Program, count: Expr, bytes: Uint8Array, at: number): void {
  const { statement } = cursor;
  program.section.mark(statement);
  const known = constant(count);
  if (known === undefined) {
    program.section.variable({ kind: "space", count, pattern: bytes, statement });
    return;
  }
  if (known < 0n) throw cursor.error(`the size must not be negative, found ${known}`, at);
  if (known * BigInt(bytes.length) > BigInt(MAX_SECTION)) {
    throw cursor.error(`${known} is more than a section may hold (${MAX_SECTION >> 20} MiB)`, at);
  }
  if (bytes.length > 0) program.section.fixed(Number(known), bytes, statement);
}

/** `.skip size, fill` */
export function skip(cursor: Cursor, program: Program): void {
  const at = cursor.mark();
  const count = program.expression(cursor);
  const fill = cursor.eat(",") ? program.knownWithin(cursor, "the fill byte", -255, 255) : 0;
  cursor.expectEnd();
  space(cursor, program, count, Uint8Array.of(fill), at);
}

/** `.fill repeat, size, value` */
export function fill(cursor: Cursor, program: Program): void {
  const at = cursor.mark();
  const count = program.expression(cursor);
  const size = cursor.eat(",") ? program.knownWithin(cursor, "the element size", 0, 8) : 1;
  const value = cursor.eat(",") ? program.known(cursor, "the fill value") : 0n;
  cursor.expectEnd();
  space(cursor, program, count, pattern(value, size), at);
}

/** `.org place, fill` and `. = place` */
export function org(cursor: Cursor, program: Program): void {
  const target = program.expression(cursor);
  const value = cursor.eat(",") ? program.knownWithin(cursor, "the fill byte", -255, 255) : 0;
  cursor.expectEnd();
  program.section.variable({ kind: "org", target, fill: value & 255, statement: cursor.statement });
}

/** `.align`, `.balign` (bytes) and `.p2align` (power of two): `amount, fill, at most` */
export function align(cursor: Cursor, program: Program, power: boolean): void {
  const { section } = program;
  const at = cursor.mark();
  const amount = cursor.peek() === "," ? 0 : program.knownWithin(cursor, "the alignment", 0, power ? 20 : 1 << 20);
  const bytes = power ? 1 << amount : Math.max(1, amount);
  if ((bytes & (bytes - 1)) !== 0) throw cursor.error(`the alignment must be a power of two, found ${amount}`, at);
  let value: number | undefined;
  let max = bytes;
  if (cursor.eat(",")) {
    if (!cursor.atEnd() && cursor.peek() !== ",") value = program.knownWithin(cursor, "the fill byte", -255, 255) & 255;
    if (cursor.eat(",") && !cursor.atEnd())
      max = program.knownWithin(cursor, "the most bytes to skip", 0, 1 << 20) || bytes;
  }
  cursor.expectEnd();
  if (section.flags.nobits && value)
    throw errorAt(cursor.statement, `section \`${section.name}\` holds no bytes: only zeros may stand in it`);
  section.align = Math.max(section.align, bytes);
  if (bytes === 1) return;
  const asCode = section.flags.executable && (value === undefined || value === 0x90);
  section.variable({ kind: "align", align: bytes, fill: asCode ? "nop" : Uint8Array.of(value ?? 0), max });
}
