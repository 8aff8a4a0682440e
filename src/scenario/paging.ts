// Page tables: 4-level for 64-bit mode, 2-level for 32-bit mode, 4 KiB pages (SDM volume 3, chapter 4).

import { type Mapping, PAGE } from "./layout.js";
import type { Scenario } from "./types.js";

const P = 1n;
const RW = 2n;
const US = 4n;
/** Accessed and dirty are set from the start, so that walks do not change memory. */
const A = 0x20n;
const D = 0x40n;
const NX = 1n << 63n;

export interface PhysicalMemory {
  /** linear page -> physical page */
  readonly pages: ReadonlyMap<bigint, number>;
  readonly cr3: bigint;
  /** the page tables by physical address */
  readonly tables: ReadonlyMap<number, Uint8Array>;
  /** bytes of physical memory needed, a multiple of 4096 */
  readonly size: number;
}

/** Physical memory that a scenario may need. */
const MAX_PHYSICAL = 1 << 30;

/**
 * Gives every page of the mappings a physical page, compactly from 0x1000 on, and builds the tables after them. Where mappings
 * share a page, it has the rights of both. RangeError when more than 1 GiB is needed.
 */
export function buildPaging(mode: 32 | 64, mappings: readonly Mapping[], noExecute: boolean): PhysicalMemory {
  const rights = new Map<bigint, { user: boolean; writable: boolean; executable: boolean }>();
  for (const { low, high, user, writable, executable } of mappings) {
    for (let page = low & ~(PAGE - 1n); page < high; page += PAGE) {
      const known = rights.get(page);
      rights.set(page, {
        user: user || (known?.user ?? false),
        writable: writable || (known?.writable ?? false),
        executable: executable || (known?.executable ?? false),
      });
      if (rights.size * Number(PAGE) > MAX_PHYSICAL)
        throw new RangeError("the scenario needs more than 1 GiB of memory");
    }
  }
  let next = Number(PAGE);
  const allocate = () => {
    const physical = next;
    next += Number(PAGE);
    return physical;
  };
  const pages = new Map<bigint, number>();
  for (const page of [...rights.keys()].sort((a, b) => (a < b ? -1 : 1))) pages.set(page, allocate());

  const entrySize = mode === 64 ? 8 : 4;
  const indexBits = mode === 64 ? 9n : 10n;
  const levels = mode === 64 ? 4 : 2;
  const tables = new Map<number, Uint8Array>();
  const newTable = () => {
    const physical = allocate();
    tables.set(physical, new Uint8Array(Number(PAGE)));
    return physical;
  };
  const entry = (table: number, index: number, value?: bigint): bigint => {
    const view = new DataView((tables.get(table) as Uint8Array).buffer);
    if (value !== undefined) {
      if (entrySize === 8) view.setBigUint64(index * 8, value, true);
      else view.setUint32(index * 4, Number(value), true);
      return value;
    }
    return entrySize === 8 ? view.getBigUint64(index * 8, true) : BigInt(view.getUint32(index * 4, true));
  };
  const root = newTable();
  for (const [page, physical] of pages) {
    let table = root;
    for (let level = levels - 1; level > 0; level--) {
      const index = Number((page >> (12n + indexBits * BigInt(level))) & ((1n << indexBits) - 1n));
      const known = entry(table, index);
      // Upper levels grant everything; the last level decides.
      const value = known === 0n ? entry(table, index, BigInt(newTable()) | P | RW | US | A) : known;
      table = Number(value & 0xffff_f000n);
    }
    const { user, writable, executable } = rights.get(page) as {
      user: boolean;
      writable: boolean;
      executable: boolean;
    };
    const flags =
      P | A | D | (writable ? RW : 0n) | (user ? US : 0n) | (!executable && noExecute && mode === 64 ? NX : 0n);
    entry(table, Number((page >> 12n) & ((1n << indexBits) - 1n)), BigInt(physical) | flags);
  }
  return { pages, cr3: BigInt(root), tables, size: next };
}

/** Page tables and contents by physical address; bytes that are zero all over a page are left out. */
export function chunks(
  memory: PhysicalMemory,
  contents: ReadonlyArray<{ address: bigint; bytes: Uint8Array }>,
): Scenario["memory"]["chunks"] {
  const result: { physical: number; bytes: Uint8Array }[] = [];
  for (const { address, bytes } of contents) {
    for (let at = 0; at < bytes.length; ) {
      const linear = address + BigInt(at);
      const inPage = Number(linear % PAGE);
      const piece = bytes.subarray(at, Math.min(bytes.length, at + Number(PAGE) - inPage));
      const physical = memory.pages.get(linear - BigInt(inPage));
      if (physical !== undefined && piece.some((byte) => byte !== 0))
        result.push({ physical: physical + inPage, bytes: piece });
      at += piece.length;
    }
  }
  for (const [physical, bytes] of memory.tables) result.push({ physical, bytes });
  return result;
}
