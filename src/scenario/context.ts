// What every step after linking needs: the checked file, its symbols, and the ranges of code that names stand for.

import type { InputError } from "../diagnostic.js";
import { evaluateAddress, type Names } from "./expression.js";
import type { Path, ScenarioSource } from "./read.js";
import type { Range } from "./types.js";

export class Context {
  constructor(
    readonly source: ScenarioSource,
    readonly mode: 32 | 64,
    readonly names: Names,
    /** linked code by area: `kernel` is all supervisor text, `entry` that without the program */
    readonly areas: Readonly<Record<"user" | "kernel" | "entry" | "program", readonly Range[]>>,
  ) {}

  /** Value of an address that stands at `path`; InputError there when it has none. */
  address(value: bigint | string, path: Path): bigint {
    try {
      return evaluateAddress(value, this.names, this.mode);
    } catch (error) {
      if (error instanceof RangeError) throw this.error(path, error.message);
      throw error;
    }
  }

  /** Values of a list of addresses. */
  addresses(values: ReadonlyArray<bigint | string> | undefined, path: Path): bigint[] {
    return (values ?? []).map((value, index) => this.address(value, [...path, index]));
  }

  error(path: Path, text: string): InputError {
    return this.source.error(path, text);
  }
}

/** Touching and overlapping ranges joined, ascending. */
export function joinRanges(ranges: readonly Range[]): Range[] {
  const joined: { low: bigint; high: bigint }[] = [];
  for (const { low, high } of [...ranges].sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0))) {
    const last = joined.at(-1);
    if (last !== undefined && low <= last.high) {
      if (high > last.high) last.high = high;
    } else {
      joined.push({ low, high });
    }
  }
  return joined;
}
