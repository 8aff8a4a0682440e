// What several tests of the facts set up alike: words on a stack, a page of user code, a compatibility-mode program, a
// first fault to look at, and the page-table entries of an address.

import type { RegionFile } from "../../scenario/schema.js";
import type { Frame, Setup, World } from "./harness.js";

/** User pages at 0x10000000 up: code with the label `user_target`, and a stack. */
export const USERLAND: Readonly<Record<string, RegionFile>> = {
  user_code: { size: 4096n, user: true, executable: true, data: "user_target: nop\nnop\nnop\njmp user_target\n" },
  user_data: { size: 4096n, user: true },
};

/** Kernel code below 4 GiB, where compatibility mode can reach it. */
export const LOW = 0x10_0000n;

/** 32-bit code at LOW: the region `low` with these lines. */
export function compatCode(lines: string): Readonly<Record<string, RegionFile>> {
  return {
    low: { size: 4096n, address: LOW, executable: true, data: `.code32\n${lines}\n` },
    low_data: { size: 4096n, address: LOW + 0x10000n },
  };
}

/** Puts the machine into compatibility mode at CPL 0, at a label, with its stack in `low_data`. */
export function enterCompat(w: World, label: string): void {
  segment(w, "cs", 0x08n, 0xc9bn);
  segment(w, "ss", 0x18n, 0xc93n);
  segment(w, "ds", 0x18n, 0xc93n);
  w.set("rsp", w.symbol("low_data") + 0x800n);
  w.set("rip", w.symbol(label));
}

/** Writes a segment register as if it had been loaded: selector, attributes (Attr), base, limit. */
export function segment(w: World, name: string, selector: bigint, attr: bigint, base = 0n, limit = 0xffff_ffffn): void {
  w.set(`${name}_sel`, selector);
  w.set(`${name}_attr`, attr);
  w.set(`${name}_base`, base);
  w.set(`${name}_limit`, limit);
}

/** Puts words below RSP, the first at the lowest address, and moves RSP there. Gives the new RSP. */
export function push(w: World, size: 2 | 4 | 8, words: readonly bigint[]): bigint {
  const rsp = w.rsp - BigInt(size * words.length);
  words.forEach((word, n) => {
    w.write(rsp + BigInt(size * n), BigInt.asUintN(size * 8, word), size);
  });
  w.set("rsp", rsp);
  return rsp;
}

const WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

export interface Fault {
  readonly vector: number;
  readonly error: bigint | undefined;
  /** the saved RIP as `label+n` */
  readonly at: string;
  readonly frame: Frame;
}

/** Runs to the first delivery. */
export function fault(w: World): Fault {
  const vector = w.untilDelivery();
  const frame = w.frame({ error: WITH_CODE.has(vector) });
  return { vector, error: frame.error, at: w.near(frame.rip), frame };
}

/** The setup of a test that runs a few instructions at CPL 3. */
export function user(program: string, setup: Setup = {}): Setup {
  return { cpl: 3, program, ...setup };
}

// --- page tables ----------------------------------------------------------------------------------------------------

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

/** Physical address of the paging-structure entry that translates an address: level 1 is the page table. */
export function entryPlace(w: World, address: bigint, level = 1): number {
  const wide = w.mode === 64;
  const bits = wide ? 9n : 10n;
  let table = Number(w.reg("cr3") & 0x3fff_ffff_f000n);
  for (let at = wide ? 4 : 2; ; at--) {
    const index = (address >> (12n + bits * BigInt(at - 1))) & ((1n << bits) - 1n);
    const place = table + Number(index) * (wide ? 8 : 4);
    if (at === level) return place;
    table = Number(readPhysical(w, place) & 0x3fff_ffff_f000n);
  }
}

export function readPhysical(w: World, place: number): bigint {
  const at = w.machine.engine.ram() + place;
  return w.mode === 64 ? w.machine.view.getBigUint64(at, true) : BigInt(w.machine.view.getUint32(at, true));
}

export function entry(w: World, address: bigint, level = 1): bigint {
  return readPhysical(w, entryPlace(w, address, level));
}

/** Changes an entry as if it had always been so. */
export function setEntry(w: World, address: bigint, change: (old: bigint) => bigint, level = 1): void {
  const place = entryPlace(w, address, level);
  const at = w.machine.engine.ram() + place;
  const value = change(readPhysical(w, place));
  if (w.mode === 64) w.machine.view.setBigUint64(at, value, true);
  else w.machine.view.setUint32(at, Number(value), true);
  w.set("cr3", w.reg("cr3")); // drops cached translations
}
