// Where everything stands in the guest's linear memory: sections, stacks, tables, regions; and the symbols for them.

import { InputError } from "../diagnostic.js";
import { type LinkOptions, type Placement, resolveSymbols } from "../image/link.js";
import type { ObjectModule, ObjectSection } from "../image/module.js";
import { evaluateAddress, type Names } from "./expression.js";
import type { Path, ScenarioSource } from "./read.js";
import type { RegionFile, StackFile } from "./schema.js";
import type { Range, Stack } from "./types.js";

export const PAGE = 0x1000n;

/** Default places, by mode. */
export const BASES = {
  64: {
    text: 0xffff_ffff_8100_0000n,
    tables: 0xffff_fe00_0000_0000n,
    stacks: 0xffff_fe00_0001_0000n,
    regions: 0xffff_8880_0000_0000n,
    userCode: 0x40_0000n,
    userRegions: 0x1000_0000n,
    userStackTop: 0x7fff_ffff_f000n,
  },
  32: {
    text: 0xc100_0000n,
    tables: 0xff80_0000n,
    stacks: 0xff81_0000n,
    regions: 0xf700_0000n,
    userCode: 0x0804_8000n,
    userRegions: 0x1000_0000n,
    userStackTop: 0xbfff_f000n,
  },
} as const;

/** A module and what it is in the scenario. */
export interface Part {
  readonly module: ObjectModule;
  /** entry: the code under test and its stubs; program: the interrupted one; region: initial contents of that region */
  readonly role: "entry" | "program" | "region";
  readonly user: boolean;
  readonly region?: string;
}

/** A mapped range of linear memory. */
export interface Mapping extends Range {
  readonly name: string;
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** What the layout has to place beside the modules. */
export interface LayoutRequest {
  readonly mode: 32 | 64;
  readonly parts: readonly Part[];
  readonly stacks: Readonly<Record<string, StackFile>>;
  readonly memory: Readonly<Record<string, RegionFile>>;
  /** the interrupted program's stack, if it needs one of its own */
  readonly programStack?: { readonly name: string; readonly size: bigint; readonly user: boolean; readonly path: Path };
  /** a zeroed page `percpu` is wanted unless the code or the file has one */
  readonly percpu: boolean;
}

export interface Layout {
  readonly placement: Placement;
  readonly symbols: NonNullable<LinkOptions["symbols"]>;
  readonly mappings: readonly Mapping[];
  readonly stacks: readonly Stack[];
  readonly tables: { readonly idt: bigint; readonly gdt: bigint; readonly tss: bigint };
}

/** Low ends of the table pages. */
export function tablePages(mode: 32 | 64): Layout["tables"] {
  const { tables } = BASES[mode];
  return { idt: tables, gdt: tables + PAGE, tss: tables + 2n * PAGE };
}

/**
 * Places everything. InputError: addresses that cannot be used, ranges that overlap, names that collide. `source` gives the
 * places of the messages.
 */
export function layOut(request: LayoutRequest, source: ScenarioSource): Layout {
  return new Planner(request, source).plan();
}

interface Claim extends Mapping {
  readonly kind: "section" | "stack" | "table" | "region";
}

const up = (value: bigint, align: bigint) => ((value + align - 1n) / align) * align;
const hex = (value: bigint) => `0x${value.toString(16)}`;

class Planner {
  private readonly claims: Claim[] = [];
  private readonly placement: (bigint | undefined)[][];
  private readonly symbols = new Map<string, { value: bigint; what: string }>();
  private readonly stacks: Stack[] = [];

  constructor(
    private readonly request: LayoutRequest,
    private readonly source: ScenarioSource,
  ) {
    this.placement = request.parts.map((part) => part.module.sections.map(() => undefined));
  }

  plan(): Layout {
    const { mode, memory, stacks, programStack, parts } = this.request;
    const bases = BASES[mode];
    const fixedEnd = this.placeFixed();
    this.placeModules(false, fixedEnd === undefined ? bases.text : up(fixedEnd, PAGE));
    this.placeModules(true, bases.userCode);
    const tables = tablePages(mode);
    for (const [name, low] of Object.entries(tables)) {
      this.claim(
        { kind: "table", name: `cpu_${name}`, low, high: low + PAGE, user: false, writable: true, executable: false },
        [],
      );
      this.define(`cpu_${name}`, low, "by the layout", []);
    }
    const code = resolveSymbols(
      parts.map((part) => part.module),
      this.placement,
      { mode },
    );
    if (this.request.percpu && memory.percpu === undefined && !code.values.has("percpu")) this.placePercpu();
    this.placeRegions(memory, code);
    this.placeStacks(stacks, code);
    if (programStack !== undefined) this.placeProgramStack(programStack);
    this.checkPages();
    return { placement: this.placement, symbols: this.symbols, mappings: this.claims, stacks: this.stacks, tables };
  }

  /** Sections of executables stay where they are. Returns the end of the highest one. */
  private placeFixed(): bigint | undefined {
    let end: bigint | undefined;
    this.request.parts.forEach((part, index) => {
      part.module.sections.forEach((section, number) => {
        if (!section.alloc || section.address === undefined || section.bytes.length === 0) return;
        this.putSection(index, number, section.address);
        const high = section.address + BigInt(section.bytes.length);
        if (end === undefined || high > end) end = high;
      });
    });
    return end;
  }

  /** Text, read-only data, data: each from a new page on, sections in the order of the modules. */
  private placeModules(user: boolean, base: bigint): void {
    const groups: ((section: ObjectSection) => boolean)[] = [
      (section) => section.executable,
      (section) => !section.executable && !section.writable,
      (section) => !section.executable && section.writable,
    ];
    let next = base;
    for (const belongs of groups) {
      next = up(next, PAGE);
      this.request.parts.forEach((part, index) => {
        if (part.user !== user || part.role === "region") return;
        part.module.sections.forEach((section, number) => {
          if (!section.alloc || section.address !== undefined || !belongs(section)) return;
          next = up(next, BigInt(section.align));
          this.putSection(index, number, next);
          next += BigInt(section.bytes.length);
        });
      });
    }
  }

  /** An empty section has a place too, because labels may stand in it. */
  private putSection(index: number, number: number, low: bigint): void {
    const part = this.request.parts[index] as Part;
    const section = part.module.sections[number] as ObjectSection;
    (this.placement[index] as (bigint | undefined)[])[number] = low;
    const high = low + BigInt(section.bytes.length);
    const { user } = part;
    const { name, writable, executable } = section;
    if (high > low) this.claim({ kind: "section", name, low, high, user, writable, executable }, ["code"]);
  }

  private placeRegions(memory: LayoutRequest["memory"], code: Names): void {
    const { mode } = this.request;
    const bases = BASES[mode];
    // Addresses that the file gives come first; then the per-CPU region, whose default place is a fixed one.
    const rank = (name: string) => (memory[name]?.address !== undefined ? 0 : name === "percpu" ? 1 : 2);
    const names = Object.keys(memory).sort((a, b) => rank(a) - rank(b));
    for (const name of names) {
      const file = memory[name] as RegionFile;
      const path = ["memory", name];
      const data = this.dataSection(name, path);
      const bytes = BigInt(data?.section.bytes.length ?? 0);
      if (file.size === undefined && bytes === 0n)
        throw this.source.error(path, 'missing key "size"; only a region with `data` can do without');
      const size = file.size ?? bytes;
      if (bytes > size)
        throw this.source.error([...path, "data"], `${bytes} bytes of data do not fit into a region of ${size} bytes`);
      const user = file.user ?? false;
      let low: bigint;
      if (file.address === undefined) {
        low = this.free(user ? bases.userRegions : bases.regions, size);
      } else {
        low = this.address(file.address, code, [...path, "address"]);
      }
      if (data !== undefined) {
        if (low % BigInt(data.section.align) !== 0n) {
          throw this.source.error(
            [...path, "address"],
            `${hex(low)} is not aligned to the ${data.section.align} bytes that \`data\` asks for`,
          );
        }
        (this.placement[data.part] as (bigint | undefined)[])[data.number] = low;
      }
      const mapping = {
        name,
        low,
        high: low + size,
        user,
        writable: file.writable ?? true,
        executable: file.executable ?? false,
      };
      this.claim({ kind: "region", ...mapping }, file.address === undefined ? path : [...path, "address"]);
      this.define(symbolOf(name), low, `as memory region ${name}`, path);
    }
  }

  private placePercpu(): void {
    const low = BASES[this.request.mode].regions;
    const high = low + PAGE;
    this.claim({ kind: "region", name: "percpu", low, high, user: false, writable: true, executable: false }, []);
    this.define("percpu", low, "by the layout", []);
  }

  /** The first place from `low` on, at a page, that has an unmapped page on either side. */
  private free(low: bigint, size: bigint): bigint {
    for (;;) {
      const start = low;
      const near = this.claims.find((claim) => start - PAGE < claim.high && claim.low < up(start + size, PAGE) + PAGE);
      if (near === undefined) return low;
      low = up(near.high, PAGE) + PAGE;
    }
  }

  /** The one section that a region's assembly fills. */
  private dataSection(name: string, path: Path): { part: number; number: number; section: ObjectSection } | undefined {
    const part = this.request.parts.findIndex(({ role, region }) => role === "region" && region === name);
    const module = this.request.parts[part]?.module;
    if (module === undefined) return undefined;
    const filled = module.sections.flatMap((section, number) =>
      section.alloc && section.bytes.length > 0 ? [{ part, number, section }] : [],
    );
    if (filled.length !== 1) {
      throw this.source.error(
        [...path, "data"],
        `expected bytes in exactly one section, found ${filled.length} sections`,
      );
    }
    return filled[0];
  }

  private placeStacks(stacks: LayoutRequest["stacks"], code: Names): void {
    // Addresses that the file gives come first, so that the others find the gaps between them.
    const entries = Object.entries(stacks).sort(
      ([, a], [, b]) => Number(a.address === undefined) - Number(b.address === undefined),
    );
    for (const [name, file] of entries) {
      const path = ["stacks", name];
      if (file.size % 16n !== 0n)
        throw this.source.error([...path, "size"], `expected a multiple of 16, found ${file.size}`);
      let low: bigint;
      if (file.address === undefined) {
        low = this.freeStack(file.size);
      } else {
        low = this.address(file.address, code, [...path, "address"]);
        if (low % 16n !== 0n)
          throw this.source.error([...path, "address"], `expected a multiple of 16, found ${hex(low)}`);
      }
      this.addStack(name, low, low + file.size, false, path, file.address === undefined ? path : [...path, "address"]);
    }
    const order = Object.keys(stacks);
    this.stacks.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  }

  /** Low end for a stack whose high end is the end of a page; the pages around it stay unmapped. */
  private freeStack(size: bigint): bigint {
    const whole = up(size, PAGE);
    return this.free(BASES[this.request.mode].stacks + PAGE, whole) + whole - size;
  }

  private placeProgramStack({ name, size, user, path }: NonNullable<LayoutRequest["programStack"]>): void {
    if (size % 16n !== 0n) throw this.source.error(path, `expected a multiple of 16, found ${size}`);
    if (user) {
      const high = BASES[this.request.mode].userStackTop;
      this.addStack(name, high - size, high, true, path, path);
      return;
    }
    const low = this.freeStack(size);
    this.addStack(name, low, low + size, false, path, path);
  }

  /** A stack may lie inside a writable kernel section or region; otherwise it gets memory of its own. */
  private addStack(name: string, low: bigint, high: bigint, user: boolean, path: Path, at: Path): void {
    for (const other of this.stacks) {
      if (low < other.high && other.low < high)
        throw this.source.error(
          at,
          `stack ${name} overlaps stack ${other.name} (${hex(other.low)} to ${hex(other.high)})`,
        );
    }
    const around = this.claims.find(
      (claim) => claim.low <= low && high <= claim.high && claim.kind !== "table" && claim.kind !== "stack",
    );
    if (around === undefined || around.user !== user || !around.writable) {
      this.claim({ kind: "stack", name: `stack ${name}`, low, high, user, writable: true, executable: false }, at);
    }
    this.stacks.push(user ? { name, low, high, user } : { name, low, high });
    const symbol = symbolOf(name);
    this.define(`${symbol}_stack`, low, `as the low end of stack ${name}`, path);
    this.define(`${symbol}_stack_top`, high, `as the high end of stack ${name}`, path);
  }

  private address(value: bigint | string, code: Names, path: Path): bigint {
    try {
      return evaluateAddress(value, code, this.request.mode);
    } catch (error) {
      if (error instanceof RangeError) throw this.source.error(path, error.message);
      throw error;
    }
  }

  private claim(claim: Claim, path: Path): void {
    const { mode } = this.request;
    const { low, high, name } = claim;
    const canonical =
      mode === 32 ? high <= 1n << 32n : BigInt.asUintN(64, BigInt.asIntN(48, low)) === low && canonicalEnd(low, high);
    if (!canonical)
      throw this.source.error(
        path,
        `${name} at ${hex(low)} to ${hex(high)} is outside the ${mode === 64 ? "canonical" : "32-bit"} addresses`,
      );
    const other = this.claims.find((entry) => low < entry.high && entry.low < high);
    if (other !== undefined) {
      throw this.source.error(
        path,
        `${name} (${hex(low)} to ${hex(high)}) overlaps ${other.name} (${hex(other.low)} to ${hex(other.high)})`,
      );
    }
    this.claims.push(claim);
  }

  private define(name: string, value: bigint, what: string, path: Path): void {
    const other = this.symbols.get(name);
    if (other !== undefined)
      throw this.source.error(path, `symbol ${name} would be defined twice: here and ${other.what}`);
    this.symbols.set(name, { value, what });
  }

  /** One page has one owner: user or kernel. */
  private checkPages(): void {
    const sorted = [...this.claims].sort((a, b) => (a.low < b.low ? -1 : 1));
    sorted.forEach((claim, index) => {
      const before = sorted[index - 1];
      if (before === undefined || before.user === claim.user || (before.high - 1n) / PAGE !== claim.low / PAGE) return;
      throw new InputError(
        `${before.name} and ${claim.name} share the page at ${hex((claim.low / PAGE) * PAGE)}, but only one of them is accessible to user code`,
        { file: this.source.file },
      );
    });
  }
}

function canonicalEnd(low: bigint, high: bigint): boolean {
  return low < 1n << 47n ? high <= 1n << 47n : high <= 1n << 64n;
}

/** Stack and region names as the assembler can write them. */
export function symbolOf(name: string): string {
  return name.replace(/-/g, "_");
}
