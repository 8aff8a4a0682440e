// Addresses in scenario files: a number, or a sum and difference of symbols and numbers.

import { suggestion } from "./names.js";

/** What a name stands for, and which names cannot be used because they stand for several addresses. */
export interface Names {
  readonly values: ReadonlyMap<string, bigint>;
  readonly ambiguous: ReadonlySet<string>;
}

const TERM = /\s*([+-])?\s*(0[xX][0-9a-fA-F]+|[0-9]+(?![\w.$])|[A-Za-z_.$][\w.$]*)\s*/y;

/**
 * Value of an address as an unsigned number of the mode's width. Throws RangeError with a sentence: a missing or ambiguous
 * label, bad syntax, a value that is too large.
 */
export function evaluateAddress(value: bigint | string, names: Names, mode: 32 | 64): bigint {
  const sum = typeof value === "bigint" ? value : parse(value, names);
  const limit = 1n << BigInt(mode);
  if (sum < 0n || sum >= limit) throw new RangeError(`0x${sum.toString(16)} is not an address of ${mode} bits`);
  return sum;
}

function parse(text: string, names: Names): bigint {
  let sum = 0n;
  let at = 0;
  while (at < text.length) {
    TERM.lastIndex = at;
    const match = TERM.exec(text);
    const [, sign, term] = match ?? [];
    if (match === null || term === undefined || (at > 0 && sign === undefined)) {
      throw new RangeError(
        `expected an address: a label, a number, or a sum like label+8, found ${JSON.stringify(text)}`,
      );
    }
    const value = /^\d/.test(term) ? BigInt(term) : lookUp(term, names);
    sum += sign === "-" ? -value : value;
    at = TERM.lastIndex;
  }
  return sum;
}

function lookUp(name: string, names: Names): bigint {
  const value = names.values.get(name);
  if (value !== undefined) return value;
  if (names.ambiguous.has(name))
    throw new RangeError(`label "${name}" is defined in more than one place; make one of them .globl`);
  throw new RangeError(`no label "${name}" in the code${suggestion(name, names.values.keys())}`);
}
