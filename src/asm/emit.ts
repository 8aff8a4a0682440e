// From fragments to an object module: final bytes, symbols, and relocations for what only the linker can know.

import type { ObjectModule, ObjectSymbol, Relocation } from "../image/module.js";
import { type AsmSymbol, type Base, evaluate, laidOutDistance, type Value } from "./expression.js";
import { knownNumber, layOut, originOf, why } from "./layout.js";
import { padding } from "./nops.js";
import type { Program } from "./program.js";
import { defaultFlags, type Fixup, type Fragment, type SectionBuilder } from "./section.js";
import { errorAt, locationAt } from "./source.js";

/** Rounds over all sections: the size of a `.skip` may depend on distances in another section. */
const MAX_ROUNDS = 20;

export function emit(program: Program, file: string): ObjectModule {
  placeCommons(program);
  placeSectionNames(program);
  program.requireNumericLabels();
  layOutAll(program);
  for (const { expression, statement } of program.sizes) knownNumber(expression, "`.size`", statement);
  const symbols = new SymbolTable(program);
  const relocations: Relocation[] = [];
  const sections = program.sections.map((section) => ({
    name: section.name,
    align: section.align,
    ...section.flags,
    bytes: sectionBytes(section, program, symbols, relocations),
  }));
  const lines = program.sections.flatMap((section) =>
    section.lines.map(({ place, file: source, line }) => ({
      section: section.index,
      offset: place.fragment.address + place.offset,
      file: source,
      line,
    })),
  );
  return { file, sections, symbols: symbols.list, relocations, lines };
}

/** `.comm`: a symbol of its own in a section of zeros. */
function placeCommons(program: Program): void {
  for (const symbol of program.symbols.values()) {
    if (symbol.common === undefined || symbol.statement === undefined) continue;
    const section = program.sectionNamed("COMMON", defaultFlags(".bss"), symbol.statement);
    section.align = Math.max(section.align, symbol.common.align);
    section.variable({ kind: "align", align: symbol.common.align, fill: Uint8Array.of(0), max: symbol.common.align });
    symbol.place = section.here();
    section.fixed(symbol.common.size, Uint8Array.of(0), symbol.statement);
  }
}

/** A section's name, where nothing else has it, stands for the section's start. */
function placeSectionNames(program: Program): void {
  for (const section of program.sections) {
    const symbol = program.symbols.get(section.name);
    if (symbol === undefined || symbol.place !== undefined || symbol.first !== undefined) continue;
    const first = section.fragments[0] ?? section.tail();
    symbol.place = { fragment: first, offset: 0 };
  }
}

function layOutAll(program: Program): void {
  let before = "";
  for (let round = 0; round < MAX_ROUNDS; round++) {
    for (const section of program.sections) layOut(section);
    const sizes = program.sections.map(sizeOf).join();
    if (sizes === before || program.sections.length === 1) return;
    before = sizes;
  }
  const [section] = program.sections;
  const cause = section?.fragments.find((fragment) => fragment.kind === "space");
  if (cause?.kind === "space")
    throw errorAt(cause.statement, "the sizes of the sections never settle: they depend on each other");
}

function sizeOf(section: SectionBuilder): number {
  const last = section.fragments.at(-1);
  return last === undefined ? 0 : last.address + last.size;
}

function sectionBytes(
  section: SectionBuilder,
  program: Program,
  symbols: SymbolTable,
  relocations: Relocation[],
): Uint8Array {
  const bytes = new Uint8Array(sizeOf(section));
  for (const fragment of section.fragments) {
    bytes.set(fragmentBytes(fragment, program), fragment.address);
    const fixups =
      fragment.kind === "bytes"
        ? fragment.fixups
        : fragment.kind === "jump"
          ? [fragment.long ? fragment.near.fixup : fragment.short.fixup]
          : [];
    for (const fixup of fixups) {
      const relocation = resolve(fixup, fragment, bytes, program, symbols);
      if (relocation !== undefined) relocations.push(relocation);
    }
  }
  return bytes;
}

function fragmentBytes(fragment: Fragment, program: Program): Uint8Array {
  switch (fragment.kind) {
    case "bytes":
      return Uint8Array.from(fragment.bytes);
    case "jump":
      return fragment.long ? fragment.near.bytes : fragment.short.bytes;
    case "align":
      return fragment.fill === "nop"
        ? padding(fragment.size, program.objectMode)
        : repeated(fragment.fill, fragment.size);
    case "org":
      if (originOf(fragment) < fragment.address) {
        throw errorAt(
          fragment.statement,
          `\`.org\` goes backwards: to ${originOf(fragment)}, and the section is at ${fragment.address} already`,
        );
      }
      return repeated(Uint8Array.of(fragment.fill), fragment.size);
    default:
      return repeated(fragment.pattern, fragment.size);
  }
}

function repeated(pattern: Uint8Array, size: number): Uint8Array {
  if (pattern.length === 1) return new Uint8Array(size).fill(pattern[0] ?? 0);
  return Uint8Array.from({ length: size }, (_, at) => pattern[at % pattern.length] ?? 0);
}

/** Writes a fixup's number, or says what the linker has to write there. */
function resolve(
  fixup: Fixup,
  fragment: Fragment,
  bytes: Uint8Array,
  program: Program,
  symbols: SymbolTable,
): Relocation | undefined {
  const value = evaluate(fixup.expression, laidOutDistance);
  const field = fragment.address + fixup.offset;
  const [base, ...more] = value?.plus ?? [];
  const [minus, ...moreMinus] = value?.minus ?? [];
  if (value === undefined || more.length > 0 || moreMinus.length > 0) {
    throw errorAt(fixup.statement, `expression cannot be resolved: ${why(fixup.expression)}`, fixup.at);
  }
  const common = {
    section: fragment.section.index,
    offset: field,
    size: fixup.size,
    location: locationAt(fixup.statement, fixup.at),
  };
  if (fixup.kind === "relative") {
    if (minus !== undefined)
      throw errorAt(fixup.statement, `a target cannot be a difference: ${why(fixup.expression)}`, fixup.at);
    if (base !== undefined && bindsHere(base, fixup, fragment)) {
      const place = base.place;
      const target = value.number + BigInt((place?.fragment.address ?? 0) + (place?.offset ?? 0));
      write(bytes, field, fixup, target - BigInt(field + fixup.tail));
      return undefined;
    }
    const { symbol, addend } = symbols.reference(base);
    return { ...common, kind: "relative", signed: true, symbol, addend: value.number + addend - BigInt(fixup.tail) };
  }
  if (minus === undefined && base === undefined) {
    write(bytes, field, fixup, BigInt.asIntN(64, value.number));
    return undefined;
  }
  if (base === undefined)
    throw errorAt(fixup.statement, `a negated address cannot be stored: ${why(fixup.expression)}`, fixup.at);
  if (fixup.size === 8 && program.objectMode === 32) {
    throw errorAt(fixup.statement, "an 8-byte address needs a 64-bit object: use `.long`", fixup.at);
  }
  const { symbol, addend } = symbols.reference(base);
  if (minus === undefined) {
    // in a 32-bit object every 32-bit address is good, with or without its top bit
    const signed = fixup.signed && program.objectMode === 64;
    return { ...common, kind: "absolute", signed, symbol, addend: value.number + addend };
  }
  if (minus.place?.fragment.section !== fragment.section) {
    throw errorAt(
      fixup.statement,
      `difference of places in two sections, neither of them this one: ${why(fixup.expression)}`,
      fixup.at,
    );
  }
  const from = minus.place.fragment.address + minus.place.offset;
  return { ...common, kind: "relative", signed: true, symbol, addend: value.number + addend + BigInt(field - from) };
}

/** Whether a relative reference is settled now. GNU as leaves all but jumps to a global symbol to the linker. */
function bindsHere(base: Base, fixup: Fixup, fragment: Fragment): boolean {
  if (base.place?.fragment.section !== fragment.section) return false;
  const binding = base.symbol?.binding ?? "local";
  return binding === "local" || (binding === "global" && fixup.jump);
}

function write(bytes: Uint8Array, at: number, fixup: Fixup, value: bigint): void {
  const bits = BigInt(fixup.size * 8);
  const relative = fixup.kind === "relative";
  const low = relative || fixup.signed ? -(1n << (bits - 1n)) : 1n - (1n << bits);
  const high = (relative || fixup.signed ? 1n << (bits - 1n) : 1n << bits) - 1n;
  if (fixup.size < 8 && (value < low || value > high)) {
    const text = relative
      ? `target is ${value} bytes away: this instruction reaches ${low} to ${high}`
      : `value ${value} does not fit in ${fixup.size} byte${fixup.size === 1 ? "" : "s"}`;
    throw errorAt(fixup.statement, text, fixup.at);
  }
  for (let byte = 0; byte < fixup.size; byte++) bytes[at + byte] = Number((value >> BigInt(8 * byte)) & 255n);
}

/** The module's symbols; those of sections are added when a relocation needs them. */
class SymbolTable {
  readonly list: ObjectSymbol[] = [];
  readonly #index = new Map<AsmSymbol | SectionBuilder | "absolute", number>();

  constructor(program: Program) {
    for (const symbol of program.symbols.values()) this.#add(symbol);
  }

  #add(symbol: AsmSymbol): void {
    const entry = describe(symbol);
    if (entry === undefined) return;
    this.#index.set(symbol, this.list.length);
    this.list.push({
      name: symbol.name,
      ...entry,
      global: symbol.binding !== "local" || entry.section === "undefined",
      ...(symbol.binding === "weak" ? { weak: true } : {}),
      ...(symbol.statement === undefined ? {} : { location: locationAt(symbol.statement) }),
    });
  }

  #special(key: SectionBuilder | "absolute"): number {
    let index = this.#index.get(key);
    if (index === undefined) {
      index = this.list.length;
      this.#index.set(key, index);
      const name = key === "absolute" ? "*ABS*" : key.name;
      this.list.push({ name, section: key === "absolute" ? key : key.index, value: 0n, global: false });
    }
    return index;
  }

  /** The symbol that a relocation names for a base, and what to add to it: local places are named by their section. */
  reference(base: Base | undefined): { symbol: number; addend: bigint } {
    if (base === undefined) return { symbol: this.#special("absolute"), addend: 0n };
    const { place, symbol } = base;
    const listed = symbol === undefined ? undefined : this.#index.get(symbol);
    if (place === undefined || (symbol !== undefined && symbol.binding !== "local")) {
      if (listed !== undefined) return { symbol: listed, addend: 0n };
    }
    if (place === undefined) throw new Error(`symbol ${symbol?.name ?? ""} is referenced but not listed`);
    return { symbol: this.#special(place.fragment.section), addend: BigInt(place.fragment.address + place.offset) };
  }
}

/** Where a symbol is; undefined for what no one outside needs to know: `.L` labels, names that are never used. */
function describe(symbol: AsmSymbol): Pick<ObjectSymbol, "section" | "value"> | undefined {
  const hidden = symbol.name.startsWith(".L") && symbol.binding === "local";
  const { place, value, statement } = symbol;
  if (place !== undefined) {
    // section names are listed when a relocation needs them
    if (hidden || place.fragment.section.name === symbol.name) return undefined;
    return { section: place.fragment.section.index, value: BigInt(place.fragment.address + place.offset) };
  }
  if (value !== undefined) {
    if (hidden) return undefined;
    const final = evaluate(value, laidOutDistance);
    const position = located(final);
    if (position === undefined && symbol.binding !== "local" && statement !== undefined) {
      throw errorAt(statement, `symbol \`${symbol.name}\` cannot be exported: ${why(value)}`);
    }
    return position;
  }
  return symbol.referenced ? { section: "undefined", value: 0n } : undefined;
}

function located(value: Value | undefined): Pick<ObjectSymbol, "section" | "value"> | undefined {
  if (value === undefined || value.minus.length > 0 || value.plus.length > 1) return undefined;
  const [base] = value.plus;
  if (base === undefined) return { section: "absolute", value: BigInt.asUintN(64, value.number) };
  if (base.place === undefined) return undefined;
  const { fragment, offset } = base.place;
  return { section: fragment.section.index, value: value.number + BigInt(fragment.address + offset) };
}
