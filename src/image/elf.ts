// ELF for x86: relocatable objects and executables, 32 and 64 bits, little-endian. Source: the System V ABI (gABI chapters
// 4 and 5) and the x86-64 and i386 supplements (relocation types).

import { InputError } from "../diagnostic.js";
import type { ObjectModule, ObjectSection, ObjectSymbol, Relocation } from "./module.js";

export interface ElfFile {
  readonly mode: 32 | 64;
  readonly kind: "object" | "executable";
  readonly module: ObjectModule;
}

const MACHINES: Readonly<Record<number, string>> = {
  2: "SPARC",
  8: "MIPS",
  20: "PowerPC",
  21: "64-bit PowerPC",
  22: "S/390",
  40: "ARM",
  50: "IA-64",
  183: "AArch64",
  243: "RISC-V",
  247: "BPF",
  258: "LoongArch",
};
const EM_386 = 3;
const EM_X86_64 = 62;

const FILE_TYPES: Readonly<Record<number, string>> = {
  3: "a shared object or position-independent executable",
  4: "a core dump",
};
const ET_REL = 1;
const ET_EXEC = 2;

const SHT = { SYMTAB: 2, RELA: 4, NOBITS: 8, REL: 9 } as const;
const SHF = { WRITE: 1n, ALLOC: 2n, EXECINSTR: 4n } as const;
const SHN = { UNDEF: 0, ABS: 0xfff1, COMMON: 0xfff2, XINDEX: 0xffff } as const;
const STT = { SECTION: 3, FILE: 4 } as const;
const STB_WEAK = 2;
const PT_LOAD = 1;
const PF = { X: 1, W: 2 } as const;

/** All allocated bytes of one file together; the guest's memory is 32-bit addressed. */
const MAX_IMAGE = 1 << 30;

type RelocationShape = Pick<Relocation, "size" | "kind" | "signed">;
const absolute = (size: 1 | 2 | 4 | 8, signed = false): RelocationShape => ({ size, kind: "absolute", signed });
const relative = (size: 1 | 2 | 4 | 8): RelocationShape => ({ size, kind: "relative", signed: true });

/** By type number: what it does (undefined: nothing) and its name. */
const X86_64: Readonly<Record<number, readonly [string, RelocationShape | undefined]>> = {
  0: ["NONE", undefined],
  1: ["64", absolute(8)],
  2: ["PC32", relative(4)],
  4: ["PLT32", relative(4)],
  10: ["32", absolute(4)],
  11: ["32S", absolute(4, true)],
  12: ["16", absolute(2)],
  13: ["PC16", relative(2)],
  14: ["8", absolute(1)],
  15: ["PC8", relative(1)],
  24: ["PC64", relative(8)],
};
const I386: typeof X86_64 = {
  0: ["NONE", undefined],
  1: ["32", absolute(4)],
  2: ["PC32", relative(4)],
  4: ["PLT32", relative(4)],
  20: ["16", absolute(2)],
  21: ["PC16", relative(2)],
  22: ["8", absolute(1)],
  23: ["PC8", relative(1)],
};
/** Names of common types that are not supported, for the message. */
const UNSUPPORTED_NAMES: Readonly<Record<32 | 64, Readonly<Record<number, string>>>> = {
  64: {
    3: "GOT32",
    5: "COPY",
    6: "GLOB_DAT",
    7: "JUMP_SLOT",
    8: "RELATIVE",
    9: "GOTPCREL",
    19: "TLSGD",
    22: "GOTTPOFF",
    23: "TPOFF32",
    25: "GOTOFF64",
    26: "GOTPC32",
    41: "GOTPCRELX",
    42: "REX_GOTPCRELX",
  },
  32: {
    3: "GOT32",
    5: "COPY",
    6: "GLOB_DAT",
    7: "JMP_SLOT",
    8: "RELATIVE",
    9: "GOTOFF",
    10: "GOTPC",
    14: "TLS_TPOFF",
    43: "GOT32X",
  },
};

interface Header {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly address: bigint;
  readonly offset: bigint;
  readonly size: bigint;
  readonly link: number;
  readonly info: number;
  readonly align: bigint;
  readonly entrySize: bigint;
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads an ELF file. Executables keep their addresses (`ObjectSection.address`), and their relocations are done already.
 * InputError: not ELF, another machine, a type of file or of relocation that is not supported, or bounds outside the file.
 */
export function readElf(file: string, bytes: Uint8Array): ElfFile {
  return new Reader(file, bytes).read();
}

class Reader {
  private readonly view: DataView;
  private wide = true;

  constructor(
    private readonly file: string,
    private readonly bytes: Uint8Array,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): ElfFile {
    if (!isElf(this.bytes)) this.fail("not an ELF file; expected an x86 ELF object or executable");
    if (this.bytes.length < 20) this.fail("truncated ELF header");
    const [fileClass, data] = [this.bytes[4], this.bytes[5]];
    if (data === 2) this.fail("big-endian ELF file; expected little-endian x86");
    if (data !== 1) this.fail(`unknown ELF data encoding ${data}`);
    if (fileClass !== 1 && fileClass !== 2) this.fail(`unknown ELF class ${fileClass}`);
    const machine = this.u16(18, "machine");
    if (machine !== EM_386 && machine !== EM_X86_64) {
      this.fail(`ELF file for ${MACHINES[machine] ?? `machine ${machine}`}; expected x86-64 or i386`);
    }
    this.wide = fileClass === 2;
    if (this.wide !== (machine === EM_X86_64)) {
      this.fail("ELF class and machine do not belong together; expected ELF64 with x86-64 or ELF32 with i386");
    }
    const type = this.u16(16, "type");
    if (type !== ET_REL && type !== ET_EXEC) {
      this.fail(
        `${FILE_TYPES[type] ?? `ELF type ${type}`}; expected a relocatable object or an executable at fixed addresses`,
      );
    }
    const executable = type === ET_EXEC;
    const headers = this.headers();
    const module: ObjectModule = { file: this.file, sections: [], symbols: [], relocations: [], lines: [] };
    /** section number of the file -> index in `module.sections` */
    const places = new Map<number, number>();
    let total = 0n;
    headers.forEach((header, index) => {
      if ((header.flags & SHF.ALLOC) === 0n || header.size === 0n) return;
      total += header.size;
      if (total > BigInt(MAX_IMAGE)) this.fail(`section ${header.name} makes the image larger than ${MAX_IMAGE} bytes`);
      places.set(index, module.sections.length);
      module.sections.push(this.section(header, executable));
    });
    if (module.sections.length === 0) {
      if (executable) module.sections.push(...this.segments());
      if (module.sections.length === 0) this.fail("no sections with code or data");
    }
    const symtab = headers.findIndex((header) => header.type === SHT.SYMTAB);
    const table = symtab < 0 ? [] : this.symbols(headers, symtab, places, module, executable);
    // A symbol of a section that is not loaded keeps its place, so that relocations find theirs by number.
    module.symbols = table.map((symbol) => symbol ?? { name: "", section: "undefined", value: 0n, global: false });
    if (!executable) {
      for (const header of headers) {
        if (header.type === SHT.REL || header.type === SHT.RELA)
          this.relocations(header, symtab, places, table, module);
      }
    }
    return { mode: this.wide ? 64 : 32, kind: executable ? "executable" : "object", module };
  }

  private headers(): Header[] {
    const offset = this.word(this.wide ? 40 : 32, "section header offset");
    if (offset === 0n) return [];
    const entrySize = this.u16(this.wide ? 58 : 46, "section header size");
    const expected = this.wide ? 64 : 40;
    if (entrySize !== expected) this.fail(`section headers of ${entrySize} bytes; expected ${expected}`);
    // More than 0xff00 sections: the number stands in the size of section 0 (gABI, ELF header).
    let count = BigInt(this.u16(this.wide ? 60 : 48, "section count"));
    if (count === 0n) count = this.word(this.at(offset, 0n) + (this.wide ? 32 : 20), "section count");
    this.range(offset, count * BigInt(entrySize), "section headers");
    let strings = this.u16(this.wide ? 62 : 50, "section name table");
    if (strings === SHN.XINDEX) strings = this.u32(this.at(offset, 0n) + (this.wide ? 40 : 24), "section name table");
    const raw: (Omit<Header, "name"> & { nameOffset: number })[] = [];
    for (let index = 0n; index < count; index++) {
      const at = this.at(offset, index * BigInt(entrySize));
      const w = this.wide;
      raw.push({
        nameOffset: this.u32(at, "section name"),
        type: this.u32(at + 4, "section type"),
        flags: this.word(at + 8, "section flags"),
        address: this.word(at + (w ? 16 : 12), "section address"),
        offset: this.word(at + (w ? 24 : 16), "section offset"),
        size: this.word(at + (w ? 32 : 20), "section size"),
        link: this.u32(at + (w ? 40 : 24), "section link"),
        info: this.u32(at + (w ? 44 : 28), "section info"),
        align: this.word(at + (w ? 48 : 32), "section alignment"),
        entrySize: this.word(at + (w ? 56 : 36), "section entry size"),
      });
    }
    const names = raw[strings];
    if (raw.length > 0 && names === undefined) this.fail(`section name table ${strings} does not exist`);
    return raw.map(({ nameOffset, ...header }) => ({
      ...header,
      name: names === undefined ? "" : this.string(names, nameOffset, "section name"),
    }));
  }

  private section(header: Header, fixed: boolean): ObjectSection {
    const { align } = header;
    if (align > 1n && (align & (align - 1n)) !== 0n)
      this.fail(`section ${header.name} has alignment ${align}, not a power of two`);
    if (align > 0x100000n) this.fail(`section ${header.name} has alignment ${align}; at most 0x100000 is supported`);
    const nobits = header.type === SHT.NOBITS;
    return {
      name: header.name,
      align: Math.max(1, Number(align)),
      alloc: true,
      writable: (header.flags & SHF.WRITE) !== 0n,
      executable: (header.flags & SHF.EXECINSTR) !== 0n,
      nobits,
      bytes: nobits
        ? new Uint8Array(Number(header.size))
        : this.slice(header.offset, header.size, `section ${header.name}`),
      ...(fixed ? { address: header.address } : {}),
    };
  }

  /** PT_LOAD segments of an executable without section headers. */
  private segments(): ObjectSection[] {
    const offset = this.word(this.wide ? 32 : 28, "program header offset");
    const size = this.u16(this.wide ? 54 : 42, "program header size");
    const count = this.u16(this.wide ? 56 : 44, "program header count");
    if (count === 0) return [];
    const expected = this.wide ? 56 : 32;
    if (size !== expected) this.fail(`program headers of ${size} bytes; expected ${expected}`);
    this.range(offset, BigInt(size * count), "program headers");
    const sections: ObjectSection[] = [];
    for (let index = 0; index < count; index++) {
      const at = this.at(offset, BigInt(index * size));
      if (this.u32(at, "segment type") !== PT_LOAD) continue;
      const w = this.wide;
      const flags = this.u32(at + (w ? 4 : 24), "segment flags");
      const inFile = this.word(at + (w ? 32 : 16), "segment size in the file");
      const inMemory = this.word(at + (w ? 40 : 20), "segment size in memory");
      if (inMemory < inFile || inMemory > BigInt(MAX_IMAGE))
        this.fail(`segment ${index} has an impossible size ${inMemory}`);
      if (inMemory === 0n) continue;
      const bytes = new Uint8Array(Number(inMemory));
      bytes.set(this.slice(this.word(at + (w ? 8 : 4), "segment offset"), inFile, `segment ${index}`));
      sections.push({
        name: `segment${index}`,
        align: 1,
        alloc: true,
        writable: (flags & PF.W) !== 0,
        executable: (flags & PF.X) !== 0,
        nobits: false,
        bytes,
        address: this.word(at + (w ? 16 : 8), "segment address"),
      });
    }
    return sections;
  }

  /** The symbol table in the file's own order; section symbols have no name; undefined: a symbol of a section that is not loaded. */
  private symbols(
    headers: readonly Header[],
    symtab: number,
    places: ReadonlyMap<number, number>,
    module: ObjectModule,
    executable: boolean,
  ): (ObjectSymbol | undefined)[] {
    const header = headers[symtab] as Header;
    const size = this.wide ? 24 : 16;
    if (header.entrySize !== BigInt(size)) this.fail(`symbols of ${header.entrySize} bytes; expected ${size}`);
    this.range(header.offset, header.size, "symbol table");
    const strings = headers[header.link];
    if (strings === undefined) this.fail(`the symbol table names string table ${header.link}, which does not exist`);
    const result: (ObjectSymbol | undefined)[] = [];
    let common: { index: number; size: number } | undefined;
    for (let at = Number(header.offset); at + size <= Number(header.offset + header.size); at += size) {
      const info = this.view.getUint8(at + (this.wide ? 4 : 12));
      const place = this.u16(at + (this.wide ? 6 : 14), "symbol section");
      let value = this.word(at + (this.wide ? 8 : 4), "symbol value");
      const type = info & 0xf;
      const global = info >> 4 !== 0;
      const binding: Pick<ObjectSymbol, "global" | "weak"> =
        info >> 4 === STB_WEAK ? { global, weak: true } : { global };
      const name =
        type === STT.SECTION || type === STT.FILE
          ? ""
          : this.string(strings, this.u32(at, "symbol name"), "symbol name");
      if (place === SHN.XINDEX) this.fail(`symbol ${name} is in a section beyond 0xff00, which is not supported`);
      if (place === SHN.UNDEF) result.push({ name, section: "undefined", value: 0n, ...binding });
      else if (place === SHN.ABS) result.push({ name, section: "absolute", value, ...binding });
      else if (place === SHN.COMMON) {
        // A common symbol has its alignment as its value, and is storage that the linker provides.
        common ??= { index: module.sections.length, size: 0 };
        const bytes = Number(this.word(at + (this.wide ? 16 : 8), "symbol size"));
        const align = Math.max(1, Number(value));
        const start = Math.ceil(common.size / align) * align;
        if (!(start + bytes <= MAX_IMAGE)) this.fail(`common symbol ${name} has an impossible size`);
        common.size = start + bytes;
        result.push({ name, section: common.index, value: BigInt(start), ...binding });
      } else {
        const index = places.get(place);
        const section = index === undefined ? undefined : module.sections[index];
        if (place >= headers.length) this.fail(`symbol ${name} is in section ${place}, which does not exist`);
        if (index === undefined || section === undefined) {
          result.push(undefined);
          continue;
        }
        if (executable) value -= section.address ?? 0n;
        result.push({ name, section: index, value, ...binding });
      }
    }
    if (common !== undefined) {
      const bytes = new Uint8Array(common.size);
      module.sections.push({
        name: "COMMON",
        align: 64,
        alloc: true,
        writable: true,
        executable: false,
        nobits: true,
        bytes,
      });
    }
    return result;
  }

  private relocations(
    header: Header,
    symtab: number,
    places: ReadonlyMap<number, number>,
    symbols: readonly (ObjectSymbol | undefined)[],
    module: ObjectModule,
  ): void {
    const target = places.get(header.info);
    const section = target === undefined ? undefined : module.sections[target];
    // Debugging and other sections that are not loaded.
    if (target === undefined || section === undefined) return;
    if (header.link !== symtab)
      this.fail(`relocations ${header.name} name symbol table ${header.link}, which does not exist`);
    const explicit = header.type === SHT.RELA;
    const size = (this.wide ? 16 : 8) + (explicit ? (this.wide ? 8 : 4) : 0);
    if (header.entrySize !== BigInt(size))
      this.fail(`relocations ${header.name} of ${header.entrySize} bytes; expected ${size}`);
    this.range(header.offset, header.size, `relocations ${header.name}`);
    for (let at = Number(header.offset); at + size <= Number(header.offset + header.size); at += size) {
      const offset = Number(this.word(at, "relocation offset"));
      const info = this.word(at + (this.wide ? 8 : 4), "relocation");
      const type = Number(this.wide ? info & 0xffffffffn : info & 0xffn);
      const number = Number(info >> (this.wide ? 32n : 8n));
      const where = `${section.name}+0x${offset.toString(16)}`;
      const known = (this.wide ? X86_64 : I386)[type];
      if (known === undefined) {
        const prefix = this.wide ? "R_X86_64_" : "R_386_";
        const name = UNSUPPORTED_NAMES[this.wide ? 64 : 32][type];
        this.fail(
          `relocation ${name === undefined ? `type ${type}` : prefix + name} at ${where} is not supported; compile for a fixed address (-fno-pic)`,
        );
      }
      const shape = known[1];
      if (shape === undefined) continue;
      if (!(offset + shape.size <= section.bytes.length) || section.nobits)
        this.fail(`relocation at ${where} lies outside its section`);
      let addend: bigint;
      if (explicit) addend = BigInt.asIntN(this.wide ? 64 : 32, this.word(at + (this.wide ? 16 : 8), "addend"));
      else addend = readSigned(section.bytes, offset, shape.size);
      const symbol = symbols[number];
      if (symbol === undefined)
        this.fail(`relocation at ${where} names symbol ${number}, which does not exist or is not loaded`);
      module.relocations.push({ section: target, offset, ...shape, symbol: number, addend });
    }
  }

  private string(table: Pick<Header, "offset" | "size">, offset: number, what: string): string {
    const start = this.at(table.offset, BigInt(offset));
    const limit = Math.min(Number(table.offset + table.size), this.bytes.length);
    if (start >= limit) this.fail(`${what} lies outside its string table`);
    const end = this.bytes.indexOf(0, start);
    if (end < 0 || end >= limit) this.fail(`${what} is not terminated`);
    return new TextDecoder().decode(this.bytes.subarray(start, end));
  }

  private slice(offset: bigint, size: bigint, what: string): Uint8Array {
    this.range(offset, size, what);
    return this.bytes.slice(Number(offset), Number(offset + size));
  }

  private range(offset: bigint, size: bigint, what: string): void {
    if (offset + size > BigInt(this.bytes.length)) {
      this.fail(
        `truncated: ${what} ends at 0x${(offset + size).toString(16)}, the file at 0x${this.bytes.length.toString(16)}`,
      );
    }
  }

  private at(base: bigint, offset: bigint): number {
    const sum = base + offset;
    return sum > BigInt(this.bytes.length) ? this.bytes.length : Number(sum);
  }

  private word(at: number, what: string): bigint {
    if (!this.wide) return BigInt(this.u32(at, what));
    this.range(BigInt(at), 8n, what);
    return this.view.getBigUint64(at, true);
  }

  private u32(at: number, what: string): number {
    this.range(BigInt(at), 4n, what);
    return this.view.getUint32(at, true);
  }

  private u16(at: number, what: string): number {
    this.range(BigInt(at), 2n, what);
    return this.view.getUint16(at, true);
  }

  private fail(text: string): never {
    throw new InputError(text, { file: this.file });
  }
}

function readSigned(bytes: Uint8Array, offset: number, size: 1 | 2 | 4 | 8): bigint {
  let value = 0n;
  for (let index = size - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[offset + index] ?? 0);
  return BigInt.asIntN(size * 8, value);
}
