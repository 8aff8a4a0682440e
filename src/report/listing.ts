// Listings of machine code: what the assembler made of each source line, and what bytes mean.

import { InputError } from "../diagnostic.js";
import { firstAtOrAbove, labeller } from "../image/labels.js";
import type { ObjectModule, ObjectSection, Relocation } from "../image/module.js";
import type { Palette } from "./colour.js";
import { hex } from "./format.js";

/** The bytes that one source line made, in one piece. */
export interface AssembledLine {
  readonly file: string;
  /** 1-based */
  readonly line: number;
  readonly section: string;
  /** the offset in the section, or the address where it is fixed */
  readonly address: bigint;
  /** empty for a section without contents (`.bss`) */
  readonly bytes: Uint8Array;
  readonly source: string;
}

export interface DisassembledLine {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
  /** fields of the instruction that the linker fills in */
  readonly relocations: readonly string[];
}

/** A run of code under one symbol. */
export interface DisassembledBlock {
  readonly section: string;
  /** empty where no symbol stands at or before it */
  readonly symbol: string;
  readonly lines: readonly DisassembledLine[];
}

/**
 * Text and length of the instruction at `offset`; undefined where the bytes are none that the table knows. `symbol` names
 * addresses that the instruction refers to.
 */
export type DecodeAt = (
  bytes: Uint8Array,
  offset: number,
  address: bigint,
  symbol: (address: bigint) => string | undefined,
) => { readonly length: number; readonly text: string } | undefined;

export interface Selection {
  /** sections by name; default: the executable ones */
  readonly section?: string;
  /** only the code from this symbol to the next */
  readonly symbol?: string;
}

const BYTES_PER_ROW = 8;
/** Rows of bytes for one source line; fills are longer than anyone reads. */
const ROWS = 3;

/** The bytes of every source line, in the order of the source. `sources` maps file names to their texts. */
export function assembledLines(module: ObjectModule, sources: ReadonlyMap<string, string>): AssembledLine[] {
  const texts = new Map([...sources].map(([file, text]) => [file, text.split(/\r?\n/)]));
  /** per section: where the next piece begins, by where a piece begins */
  const ends = module.sections.map((_, section) => {
    const own = module.lines.filter((line) => line.section === section).map((line) => line.offset);
    const starts = [...new Set(own)].sort((a, b) => a - b);
    return new Map(starts.slice(1).map((next, at) => [starts[at], next]));
  });
  const lines = module.lines.flatMap(({ section, offset, file, line }) => {
    const from = module.sections[section];
    if (!from) return [];
    const end = ends[section]?.get(offset) ?? from.bytes.length;
    const bytes = from.nobits ? new Uint8Array() : from.bytes.slice(offset, end);
    const source = texts.get(file)?.[line - 1]?.trim() ?? "";
    return [{ file, line, section: from.name, address: (from.address ?? 0n) + BigInt(offset), bytes, source }];
  });
  const order = [...sources.keys()];
  return lines.sort((a, b) => order.indexOf(a.file) - order.indexOf(b.file) || a.line - b.line);
}

/** The listing of an assembly file: every source line, with line number, address and bytes where it made some. */
export function assemblyListing(
  lines: readonly AssembledLine[],
  sources: ReadonlyMap<string, string>,
  { quiet }: Palette,
): string {
  const byPlace = new Map<string, AssembledLine[]>();
  for (const line of lines) {
    const place = `${line.line}:${line.file}`;
    const there = byPlace.get(place);
    if (there) there.push(line);
    else byPlace.set(place, [line]);
  }
  const out: string[] = [];
  for (const [file, text] of sources) {
    const texts = text.replace(/\r?\n$/, "").split(/\r?\n/);
    for (const [index, source] of texts.entries()) {
      const made = byPlace.get(`${index + 1}:${file}`) ?? [];
      const rows = made.flatMap(byteRows);
      const number = String(index + 1).padStart(4);
      const [first = { address: "", bytes: "" }, ...rest] = rows;
      const left = `${first.address.padStart(8)} ${first.bytes.padEnd(2 * BYTES_PER_ROW)}`;
      out.push(`${quiet(number)} ${left}  ${source}`.trimEnd());
      for (const row of rest) out.push(`${quiet(number)} ${row.address.padStart(8)} ${row.bytes}`);
    }
  }
  return `${out.join("\n")}\n`;
}

/** The selected code, symbol by symbol. InputError when the selection names nothing. */
export function disassemble(module: ObjectModule, selection: Selection, decodeAt: DecodeAt): DisassembledBlock[] {
  const { section: wanted, symbol } = selection;
  const sections = module.sections
    .map((section, index) => ({ section, index }))
    .filter(({ section }) =>
      wanted === undefined ? symbol !== undefined || section.executable : section.name === wanted,
    )
    .filter(({ section }) => !section.nobits && section.bytes.length > 0);
  if (wanted !== undefined && sections.length === 0) {
    const names = module.sections.map(({ name }) => name).filter((name) => name !== "");
    throw new InputError(`no section \`${wanted}\` with contents; the file has ${names.join(", ")}`, {
      file: module.file,
    });
  }
  const blocks = sections.flatMap(({ section, index }) => blocksOf(module, section, index, symbol, decodeAt));
  if (symbol !== undefined && blocks.length === 0) {
    throw new InputError(`no symbol \`${symbol}\` with contents`, { file: module.file });
  }
  return blocks;
}

/** The listing of a disassembly. */
export function disassemblyListing(blocks: readonly DisassembledBlock[], { strong, quiet }: Palette): string {
  const all = blocks.flatMap(({ lines }) => lines);
  const widest = (least: number, width: (line: DisassembledLine) => number) =>
    all.reduce((most, line) => Math.max(most, width(line)), least);
  const addressWidth = widest(4, ({ address }) => address.toString(16).length);
  const bytesWidth = widest(0, ({ bytes }) => 3 * bytes.length - 1);
  const out: string[] = [];
  let section = "";
  for (const block of blocks) {
    if (out.length > 0) out.push("");
    if (block.section !== section) out.push(strong(`section ${block.section}`), "");
    section = block.section;
    if (block.symbol !== "") out.push(`${strong(block.symbol)}:`);
    for (const { address, bytes, text, relocations } of block.lines) {
      const left = `${address.toString(16).padStart(addressWidth)}  ${quiet(spaced(bytes).padEnd(bytesWidth))}`;
      out.push(`  ${left}  ${text}`);
      for (const relocation of relocations)
        out.push(`  ${" ".repeat(addressWidth + bytesWidth + 4)}${quiet(relocation)}`);
    }
  }
  return `${out.join("\n")}\n`;
}

/** Bytes without a file around them, as a module with one nameless section at address 0. */
export function bytesModule(bytes: Uint8Array): ObjectModule {
  const flags = { align: 1, alloc: true, writable: false, executable: true, nobits: false };
  const section = { name: "", ...flags, bytes, address: 0n };
  return { file: "", sections: [section], symbols: [], relocations: [], lines: [] };
}

/** The document of `asm --json`. */
export function assemblyJson(mode: 32 | 64, module: ObjectModule, lines: readonly AssembledLine[]) {
  const sectionName = (section: number | "absolute" | "undefined") =>
    typeof section === "number" ? module.sections[section]?.name : section;
  return {
    mode,
    lines: lines.map((line) => ({ ...line, bytes: spaced(line.bytes) })),
    symbols: module.symbols.map(({ name, section, value }) => ({ name, section: sectionName(section), value })),
  };
}

/** The document of `disasm --json`. */
export function disassemblyJson(mode: 32 | 64, blocks: readonly DisassembledBlock[]) {
  return {
    mode,
    blocks: blocks.map(({ section, symbol, lines }) => ({
      section,
      symbol,
      lines: lines.map((line) => ({ ...line, bytes: spaced(line.bytes) })),
    })),
  };
}

function blocksOf(
  module: ObjectModule,
  section: ObjectSection,
  index: number,
  symbol: string | undefined,
  decodeAt: DecodeAt,
): DisassembledBlock[] {
  const base = section.address ?? 0n;
  const symbols = module.symbols
    .filter((one) => one.section === index && one.name !== "" && Number(one.value) < section.bytes.length)
    .map(({ name, value }) => ({ name, offset: Number(value) }))
    .sort((a, b) => a.offset - b.offset);
  const starts = [{ name: "", offset: 0 }, ...symbols].filter(
    // of several names for one place the last one stands in the listing; the leading one without a name only where needed
    (one, at, list) => list[at + 1]?.offset !== one.offset || one.name === symbol,
  );
  const relocations = module.relocations.filter((one) => one.section === index).sort((a, b) => a.offset - b.offset);
  const symbolAt = symbolsSeenFrom(module, index);
  return starts.flatMap(({ name, offset }, at) => {
    if (symbol !== undefined && name !== symbol) return [];
    let following = at + 1;
    while (starts[following]?.offset === offset) following += 1;
    const end = starts[following]?.offset ?? section.bytes.length;
    let field = firstAtOrAbove(relocations, offset, (one) => one.offset);
    const lines: DisassembledLine[] = [];
    for (let here = offset; here < end; ) {
      const address = base + BigInt(here);
      const decoded = decodeAt(section.bytes.subarray(0, end), here, address, symbolAt) ?? { length: 1, text: "(bad)" };
      const next = here + decoded.length;
      const inside: string[] = [];
      for (let one = relocations[field]; one !== undefined && one.offset < next; one = relocations[++field]) {
        inside.push(relocationText(module, one));
      }
      lines.push({ address, bytes: section.bytes.slice(here, next), text: decoded.text, relocations: inside });
      here = next;
    }
    return [{ section: section.name, symbol: name, lines }];
  });
}

/** Names for addresses, as seen from one section: its own symbols, and those of every section with a fixed address. */
function symbolsSeenFrom(module: ObjectModule, index: number): (address: bigint) => string | undefined {
  const sections = module.sections
    .filter((section, at) => at === index || section.address !== undefined)
    .map(({ name, address = 0n, bytes, executable, writable }) => ({ name, address, bytes, executable, writable }));
  const symbols = module.symbols.flatMap(({ name, section, value }): [string, bigint][] => {
    if (typeof section !== "number" || name === "") return [];
    const address = module.sections[section]?.address;
    return section === index || address !== undefined ? [[name, (address ?? 0n) + value]] : [];
  });
  const label = labeller({ sections, symbols: new Map(symbols), lines: [] });
  return (address) => {
    const text = label(address);
    return text === hex(address) ? undefined : text;
  };
}

function relocationText(module: ObjectModule, { symbol, addend, kind, size, offset }: Relocation): string {
  const name = typeof symbol === "string" ? symbol : (module.symbols[symbol]?.name ?? `symbol ${symbol}`);
  const sum = addend === 0n ? name : `${name}${addend < 0n ? "-" : "+"}${hex(addend < 0n ? -addend : addend)}`;
  return `${hex(BigInt(offset))}: ${kind} ${8 * size} bits: ${sum}`;
}

function byteRows({ address, bytes }: AssembledLine): { address: string; bytes: string }[] {
  if (bytes.length === 0) return [{ address: address.toString(16).padStart(4, "0"), bytes: "" }];
  const rows: { address: string; bytes: string }[] = [];
  for (let at = 0; at < bytes.length; at += BYTES_PER_ROW) {
    if (rows.length === ROWS) {
      rows.push({ address: "", bytes: `... ${bytes.length} bytes` });
      break;
    }
    const digits = spaced(bytes.subarray(at, at + BYTES_PER_ROW)).replaceAll(" ", "");
    rows.push({ address: (address + BigInt(at)).toString(16).padStart(4, "0"), bytes: digits });
  }
  return rows;
}

function spaced(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
