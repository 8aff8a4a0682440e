// What the assembler knows while it reads: sections, symbols, the current position and mode.

import type { Mode } from "../isa/insn.js";
import type { Cursor } from "./cursor.js";
import { type AsmSymbol, constant, type Expr, type Names, number, type Place, parseExpression } from "./expression.js";
import { defaultFlags, SectionBuilder, type SectionFlags } from "./section.js";
import { errorAt, type Statement } from "./source.js";

export class Program implements Names {
  /** of the object, which decides the padding and what `.quad` may refer to */
  readonly objectMode: Mode;
  /** of the code, `.code32` and `.code64` */
  mode: Mode;
  readonly sections: SectionBuilder[] = [];
  readonly symbols = new Map<string, AsmSymbol>();
  readonly sizes: { expression: Expr; statement: Statement }[] = [];
  section: SectionBuilder;
  #previous: SectionBuilder | undefined;
  readonly #stack: { section: SectionBuilder; previous: SectionBuilder | undefined }[] = [];
  readonly #numeric = new Map<string, { last?: AsmSymbol; next?: AsmSymbol; asked?: Statement }>();

  constructor(mode: Mode, define: ReadonlyMap<string, bigint>) {
    this.objectMode = this.mode = mode;
    this.section = this.#find(".text") ?? this.#create(".text", defaultFlags(".text"));
    for (const [name, value] of define) {
      this.symbols.set(name, { name, binding: "local", value: number(value), first: number(value), referenced: false });
    }
  }

  setMode(mode: Mode): void {
    this.mode = mode;
  }

  // --- symbols ---

  symbol(name: string, _cursor?: Cursor): AsmSymbol {
    let symbol = this.symbols.get(name);
    if (symbol === undefined) {
      symbol = { name, binding: "local", referenced: false };
      this.symbols.set(name, symbol);
    }
    return symbol;
  }

  numeric(digits: string, direction: "f" | "b", cursor: Cursor): AsmSymbol {
    const key = String(BigInt(digits));
    const entry = this.#numeric.get(key) ?? {};
    this.#numeric.set(key, entry);
    if (direction === "b") {
      if (entry.last === undefined)
        throw cursor.error(`no label \`${key}:\` stands before \`${key}b\``, cursor.at - digits.length - 1);
      return entry.last;
    }
    entry.next ??= { name: `${key}:`, binding: "local", referenced: true };
    entry.asked ??= cursor.statement;
    return entry.next;
  }

  here(): Place {
    return this.section.here();
  }

  label(name: string, statement: Statement): void {
    const place = this.here();
    if (/^[0-9]/.test(name)) {
      const key = String(BigInt(name));
      const symbol = this.#numeric.get(key)?.next ?? { name: `${key}:`, binding: "local", referenced: false };
      symbol.place = place;
      this.#numeric.set(key, { last: symbol });
      return;
    }
    if (name === ".") throw errorAt(statement, "`.` is the location counter and cannot be a label");
    const symbol = this.symbol(name);
    this.requireNew(symbol, statement);
    symbol.place = place;
    symbol.statement = statement;
  }

  requireNew(symbol: AsmSymbol, statement: Statement): void {
    if (!isDefined(symbol)) return;
    const first = symbol.statement;
    const notes = first === undefined ? [] : [`first defined at ${first.file}:${first.line}`];
    throw errorAt(statement, `symbol \`${symbol.name}\` is already defined`, 0, notes);
  }

  /** `.set` */
  assign(name: string, value: Expr, statement: Statement): void {
    const symbol = this.symbol(name);
    if (symbol.place !== undefined || symbol.common !== undefined) this.requireNew(symbol, statement);
    const folded = constant(value);
    symbol.value = folded === undefined ? value : number(folded);
    symbol.first ??= symbol.value;
    symbol.statement = statement;
  }

  /** Every forward reference must have found its label. */
  requireNumericLabels(): void {
    for (const [key, entry] of this.#numeric) {
      if (entry.next !== undefined && entry.asked !== undefined) {
        throw errorAt(entry.asked, `no label \`${key}:\` follows \`${key}f\``);
      }
    }
  }

  // --- expressions ---

  expression(cursor: Cursor): Expr {
    return parseExpression(cursor, this);
  }

  /** An expression whose number must be known here and now. */
  known(cursor: Cursor, what: string): bigint {
    const at = cursor.mark();
    const value = constant(this.expression(cursor));
    if (value === undefined) {
      throw cursor.error(
        `${what} must be a constant that is known here: no symbol that comes later, no distance over a jump or alignment`,
        at,
      );
    }
    return value;
  }

  /** A known number within bounds. */
  knownWithin(cursor: Cursor, what: string, low: number, high: number): number {
    const at = cursor.mark();
    const value = this.known(cursor, what);
    if (value < BigInt(low) || value > BigInt(high))
      throw cursor.error(`${what} must be ${low} to ${high}, found ${value}`, at);
    return Number(value);
  }

  // --- sections ---

  #find(name: string): SectionBuilder | undefined {
    return this.sections.find((section) => section.name === name);
  }

  #create(name: string, flags: SectionFlags): SectionBuilder {
    const section = new SectionBuilder(name, this.sections.length, flags);
    this.sections.push(section);
    return section;
  }

  /** The section of that name; `flags` as written, undefined where none were. */
  sectionNamed(name: string, flags: SectionFlags | undefined, statement: Statement): SectionBuilder {
    const existing = this.#find(name);
    if (existing === undefined) return this.#create(name, flags ?? defaultFlags(name));
    const differs =
      flags !== undefined &&
      (["alloc", "writable", "executable", "nobits"] as const).some((flag) => flags[flag] !== existing.flags[flag]);
    if (differs) throw errorAt(statement, `section \`${name}\` was begun with other flags`);
    return existing;
  }

  enter(section: SectionBuilder): void {
    this.#previous = this.section;
    this.section = section;
  }

  push(section: SectionBuilder): void {
    this.#stack.push({ section: this.section, previous: this.#previous });
    this.enter(section);
  }

  pop(statement: Statement): void {
    const top = this.#stack.pop();
    if (top === undefined) throw errorAt(statement, "`.popsection` without `.pushsection`");
    this.section = top.section;
    this.#previous = top.previous;
  }

  previous(statement: Statement): void {
    if (this.#previous === undefined) throw errorAt(statement, "`.previous` without an earlier section");
    this.enter(this.#previous);
  }
}

export const isDefined = (symbol: AsmSymbol): boolean =>
  symbol.place !== undefined || symbol.value !== undefined || symbol.common !== undefined;
