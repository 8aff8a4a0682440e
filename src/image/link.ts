// Symbols across modules, and relocation: from modules and the places of their sections to an image.

import { InputError, type Location } from "../diagnostic.js";
import type { Image, Section, SourceLine } from "./image.js";
import type { ObjectModule, ObjectSymbol, Relocation } from "./module.js";

/** Address of each section: `placement[module][section]`; undefined for sections that are not loaded. */
export type Placement = ReadonlyArray<ReadonlyArray<bigint | undefined>>;

export interface LinkOptions {
  readonly mode: 32 | 64;
  /** symbols that exist beside those of the modules, with what they are (for messages) */
  readonly symbols?: ReadonlyMap<
    string,
    { readonly value: bigint; readonly what: string; readonly location?: Location }
  >;
}

/** The names of all modules at their addresses. */
export interface SymbolTable {
  readonly values: ReadonlyMap<string, bigint>;
  /** local names that stand for different addresses in different places; using one is an error */
  readonly ambiguous: ReadonlySet<string>;
}

/**
 * Every symbol of every module. A global one hides local ones of its name. InputError: two globals of one name, or a global
 * with the name of one in `options.symbols`.
 */
export function resolveSymbols(
  modules: readonly ObjectModule[],
  placement: Placement,
  options: LinkOptions,
): SymbolTable {
  const globals = new Map<string, { value: bigint; where: string; weak?: boolean }>();
  for (const [name, { value, what }] of options.symbols ?? []) globals.set(name, { value, where: what });
  const locals = new Map<string, bigint>();
  const ambiguous = new Set<string>();
  modules.forEach((module, index) => {
    for (const symbol of module.symbols) {
      const value = symbolValue(symbol, placement[index] ?? [], options.mode);
      if (value === undefined || isSectionName(symbol, module)) continue;
      const given = options.symbols?.get(symbol.name);
      if (symbol.global || given !== undefined) {
        const other = globals.get(symbol.name);
        if (other !== undefined && symbol.weak) continue;
        if (other !== undefined && !other.weak) {
          throw new InputError(
            `symbol ${symbol.name} is defined twice: here and ${other.where}`,
            symbol.location ?? { file: module.file },
          );
        }
        globals.set(symbol.name, {
          value,
          where: `in ${describe(symbol.location, module.file)}`,
          weak: symbol.weak === true,
        });
      } else {
        const other = locals.get(symbol.name);
        if (other !== undefined && other !== value) ambiguous.add(symbol.name);
        locals.set(symbol.name, value);
      }
    }
  });
  const values = new Map<string, bigint>();
  for (const [name, value] of locals) if (!ambiguous.has(name)) values.set(name, value);
  for (const [name, { value }] of globals) {
    values.set(name, value);
    ambiguous.delete(name);
  }
  return { values, ambiguous };
}

/**
 * Puts the modules at their places and fills the relocated fields. A symbol that a module leaves undefined is looked up among
 * the globals of all modules and `options.symbols`, then among the local symbols, where it must be unambiguous.
 * InputError: symbols missing or defined twice, a value that does not fit its field.
 */
export function link(modules: readonly ObjectModule[], placement: Placement, options: LinkOptions): Image {
  const table = resolveSymbols(modules, placement, options);
  const sections: Section[] = [];
  const lines: SourceLine[] = [];
  const missing = new Map<string, Location>();
  modules.forEach((module, index) => {
    const places = placement[index] ?? [];
    const copies = module.sections.map((section) => section.bytes.slice());
    const byName = new Map(module.symbols.map((symbol) => [symbol.name, symbol]));
    for (const relocation of module.relocations) {
      const place = places[relocation.section];
      const bytes = copies[relocation.section];
      if (place === undefined || bytes === undefined) continue;
      const symbol =
        typeof relocation.symbol === "number" ? module.symbols[relocation.symbol] : byName.get(relocation.symbol);
      const name = symbol?.name ?? String(relocation.symbol);
      // A weak definition gives way to a strong one elsewhere; any other of the module's own is what the module means.
      const own = symbol === undefined ? undefined : symbolValue(symbol, places, options.mode);
      let target = symbol?.weak || own === undefined ? (table.values.get(name) ?? own) : own;
      if (target === undefined && symbol?.weak) target = 0n;
      if (target === undefined) {
        if (table.ambiguous.has(name)) {
          throw new InputError(
            `symbol ${name} is defined in more than one place and global in none; make one of them .globl`,
            relocation.location ?? { file: module.file },
          );
        }
        if (!missing.has(name)) missing.set(name, relocation.location ?? { file: module.file });
        continue;
      }
      applyRelocation(bytes, relocation, place + BigInt(relocation.offset), target, name, options.mode, module);
    }
    module.sections.forEach((section, number) => {
      const address = places[number];
      const bytes = copies[number];
      if (address === undefined || bytes === undefined || bytes.length === 0) return;
      sections.push({ name: section.name, address, bytes, executable: section.executable, writable: section.writable });
    });
    for (const { section, offset, file, line } of module.lines) {
      const address = places[section];
      if (address !== undefined) lines.push({ address: address + BigInt(offset), file, line });
    }
  });
  const [first] = missing.values();
  if (first !== undefined) {
    const names = [...missing.keys()].sort().join(", ");
    throw new InputError(
      `undefined ${missing.size === 1 ? "symbol" : "symbols"} ${names}; \`stubs\` of the scenario can define them`,
      first,
    );
  }
  lines.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return { sections, symbols: table.values, lines };
}

function symbolValue(
  symbol: ObjectSymbol,
  places: ReadonlyArray<bigint | undefined>,
  mode: 32 | 64,
): bigint | undefined {
  if (symbol.section === "undefined") return undefined;
  if (symbol.section === "absolute") return BigInt.asUintN(mode, symbol.value);
  const place = places[symbol.section];
  return place === undefined ? undefined : BigInt.asUintN(mode, place + symbol.value);
}

/** Assemblers name the start of a section by the section, and the number 0 by *ABS*: no names of the program. */
function isSectionName(symbol: ObjectSymbol, module: ObjectModule): boolean {
  if (symbol.name === "" || symbol.name === "*ABS*") return true;
  return typeof symbol.section === "number" && !symbol.global && module.sections[symbol.section]?.name === symbol.name;
}

/**
 * Writes one field. 64-bit: a 4-byte field must give the address back when the CPU sign-extends (`signed`) or zero-extends it.
 * 32-bit: addresses wrap at 4 GiB, so 4-byte fields always fit. Narrow absolute fields may be meant either way.
 */
function applyRelocation(
  bytes: Uint8Array,
  relocation: Relocation,
  field: bigint,
  target: bigint,
  name: string,
  mode: 32 | 64,
  module: ObjectModule,
): void {
  const { size, kind, signed, addend, offset } = relocation;
  const bits = size * 8;
  const value = BigInt.asUintN(mode, target + addend - (kind === "relative" ? field : 0n));
  const negative = BigInt.asIntN(mode, value);
  const half = 1n << BigInt(bits - 1);
  const fitsSigned = negative >= -half && negative < half;
  const fitsUnsigned = value < half * 2n;
  const fits = bits >= mode || (kind === "relative" || signed ? fitsSigned : fitsUnsigned || (bits < 32 && fitsSigned));
  if (!fits) {
    const how = kind === "relative" ? "relative " : "";
    const text = kind === "relative" ? negative.toString() : `0x${value.toString(16)}`;
    throw new InputError(
      `the ${how}address of ${name}${addend === 0n ? "" : ` with addend ${addend}`} (${text}) does not fit into ${bits} bits${signed && kind === "absolute" ? ", signed" : ""}`,
      relocation.location ?? { file: module.file },
      [`at ${module.sections[relocation.section]?.name}+0x${offset.toString(16)}`],
    );
  }
  let rest = BigInt.asUintN(bits, value);
  for (let index = 0; index < size; index++) {
    bytes[offset + index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}

function describe(location: Location | undefined, file: string): string {
  return location?.line === undefined ? (location?.file ?? file) : `${location.file}:${location.line}`;
}
