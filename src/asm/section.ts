// A section under construction: a list of fragments, of which some get their size only from layout.

import type { InputError } from "../diagnostic.js";
import type { Expr, Place } from "./expression.js";
import { errorAt, type Statement } from "./source.js";

/** The most that one section may hold: far above any entry code, far below what would exhaust the host. */
export const MAX_SECTION = 64 << 20;

/** A number to be written once everything is placed. */
export interface Fixup {
  /** in its fragment */
  readonly offset: number;
  readonly size: 1 | 2 | 4 | 8;
  readonly expression: Expr;
  /** `relative`: to the end of the instruction, which is `tail` bytes after the field's start */
  readonly kind: "absolute" | "relative";
  readonly tail: number;
  readonly signed: boolean;
  /** a relaxable jump: binds to a global symbol of its own section at once, as GNU as does */
  readonly jump: boolean;
  readonly statement: Statement;
  /** where its expression stands in the statement */
  readonly at: number;
}

interface Common {
  readonly section: SectionBuilder;
  readonly index: number;
  /** fragments of one run have fixed distances from each other */
  readonly run: number;
  readonly runOffset: number;
  /** set by layout: offset in the section, size, and how many stretchable gaps stand before */
  address: number;
  size: number;
  region: number;
}

export type Fragment = Common &
  (
    | { readonly kind: "bytes"; readonly bytes: number[]; readonly fixups: Fixup[] }
    | { readonly kind: "fixed"; readonly count: number; readonly pattern: Uint8Array }
    | {
        readonly kind: "jump";
        readonly short: { readonly bytes: Uint8Array; readonly fixup: Fixup };
        readonly near: { readonly bytes: Uint8Array; readonly fixup: Fixup };
        long: boolean;
        readonly target: Expr;
      }
    | { readonly kind: "align"; readonly align: number; readonly fill: Uint8Array | "nop"; readonly max: number }
    | { readonly kind: "space"; readonly count: Expr; readonly pattern: Uint8Array; readonly statement: Statement }
    | { readonly kind: "org"; readonly target: Expr; readonly fill: number; readonly statement: Statement }
  );

type WithoutCommon<T> = T extends unknown ? Omit<T, keyof Common> : never;

export interface SectionFlags {
  readonly alloc: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly nobits: boolean;
}

export class SectionBuilder {
  readonly name: string;
  readonly index: number;
  readonly flags: SectionFlags;
  readonly fragments: Fragment[] = [];
  readonly lines: { place: Place; file: string; line: number }[] = [];
  align = 1;
  #run = 0;
  #runOffset = 0;
  #total = 0;

  constructor(name: string, index: number, flags: SectionFlags) {
    this.name = name;
    this.index = index;
    this.flags = flags;
  }

  /** The fragment that plain bytes go to. */
  tail(): Extract<Fragment, { kind: "bytes" }> {
    const last = this.fragments.at(-1);
    if (last?.kind === "bytes") return last;
    const fragment = {
      ...this.#common(),
      kind: "bytes" as const,
      bytes: [],
      fixups: [],
    };
    this.fragments.push(fragment);
    return fragment;
  }

  here(): Place {
    const fragment = this.tail();
    return { fragment, offset: fragment.bytes.length };
  }

  append(
    bytes: Iterable<number> & { readonly length: number },
    statement: Statement,
    fixups: readonly Fixup[] = [],
  ): void {
    const fragment = this.tail();
    const base = fragment.bytes.length;
    for (const byte of bytes) fragment.bytes.push(byte);
    for (const fixup of fixups) fragment.fixups.push({ ...fixup, offset: fixup.offset + base });
    this.#grow(bytes.length, statement);
    if (this.flags.nobits && (fixups.length > 0 || Array.from(bytes).some((byte) => byte !== 0))) {
      throw errorAt(statement, `section \`${this.name}\` holds no bytes: only zeros may stand in it`);
    }
  }

  /** `count` times `pattern`, a size that is known now. */
  fixed(count: number, pattern: Uint8Array, statement: Statement): void {
    const total = count * pattern.length;
    if (total <= 64) {
      this.append(
        Array.from({ length: total }, (_, at) => pattern[at % pattern.length] ?? 0),
        statement,
      );
      return;
    }
    if (this.flags.nobits && pattern.some((byte) => byte !== 0)) {
      throw errorAt(statement, `section \`${this.name}\` holds no bytes: only zeros may stand in it`);
    }
    this.fragments.push({ ...this.#common(), kind: "fixed", count, pattern });
    this.#grow(total, statement);
  }

  /** A fragment whose size layout finds out. */
  variable(fragment: WithoutCommon<Exclude<Fragment, { kind: "bytes" | "fixed" }>>): void {
    this.fragments.push({ ...this.#common(), ...fragment } as Fragment);
    this.#run++;
    this.#runOffset = 0;
  }

  mark(statement: Statement): void {
    const last = this.lines.at(-1);
    if (last?.line === statement.line && last.file === statement.file) return;
    this.lines.push({ place: this.here(), file: statement.file, line: statement.line });
  }

  #common(): Common {
    return {
      section: this,
      index: this.fragments.length,
      // runs of different sections must differ: the section takes part in the number
      run: this.#run * 65536 + this.index,
      runOffset: this.#runOffset,
      address: 0,
      size: 0,
      region: 0,
    };
  }

  #grow(bytes: number, statement: Statement): void {
    this.#runOffset += bytes;
    this.#total += bytes;
    if (this.#total > MAX_SECTION) throw tooLarge(this.name, statement);
  }
}

export function tooLarge(name: string, statement: Statement): InputError {
  return errorAt(statement, `section \`${name}\` grows beyond ${MAX_SECTION >> 20} MiB`);
}

const RULES: readonly (readonly [RegExp, string])[] = [
  [/^\.(text|init|fini)$/, "ax"],
  [/^\.text\./, "ax"],
  [/^\.(data|data1|init_array|fini_array|preinit_array)$/, "aw"],
  [/^\.data\./, "aw"],
  [/^\.(bss|bss\..*|tbss|tbss\..*)$/, "awB"],
  [/^\.(rodata|rodata1|rodata\..*|eh_frame)$/, "a"],
];

/** What a section of this name is when `.section` gives no flags (ELF conventions). */
export function defaultFlags(name: string): SectionFlags {
  const letters = RULES.find(([pattern]) => pattern.test(name))?.[1] ?? "";
  return {
    alloc: letters.includes("a"),
    writable: letters.includes("w"),
    executable: letters.includes("x"),
    nobits: letters.includes("B"),
  };
}
