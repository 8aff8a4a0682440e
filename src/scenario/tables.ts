// IDT, GDT and TSS as bytes, and the segment registers that go with them (SDM volume 3, chapters 3, 6 and 7).

import { Attr } from "../engine/abi.js";

/** A descriptor as the GDT holds it and as a segment register caches it. */
export interface Descriptor {
  readonly base: bigint;
  /** bytes, already scaled */
  readonly limit: bigint;
  /** Attr bits */
  readonly attr: number;
}

const FLAT = 0xffff_ffffn;
const CODE = Attr.P | Attr.S | Attr.CODE | Attr.RW | Attr.ACCESSED;
const DATA = Attr.P | Attr.S | Attr.RW | Attr.ACCESSED;
const USER = 3 << Attr.DPL_SHIFT;
const BUSY_TSS = Attr.P | 0xb;
export const TSS_LIMIT = 0x67n;

/** Selectors of a Linux kernel of that width. */
export const SELECTORS = {
  64: { kernelCode: 0x10, kernelData: 0x18, userCode: 0x33, userData: 0x2b, tss: 0x40, sysenter: 0x10 },
  32: { kernelCode: 0x60, kernelData: 0x68, userCode: 0x73, userData: 0x7b, tss: 0x80, percpu: 0xd8, sysenter: 0x60 },
} as const;

/** The GDT by selector. `percpu`: base of the 32-bit kernel's per-CPU segment. */
export function descriptors(mode: 32 | 64, tss: bigint, percpu: bigint): ReadonlyMap<number, Descriptor> {
  const flat = (attr: number): Descriptor => ({ base: 0n, limit: FLAT, attr: attr | Attr.G });
  const task: Descriptor = { base: tss, limit: TSS_LIMIT, attr: BUSY_TSS };
  if (mode === 64) {
    return new Map([
      [0x08, flat(CODE | Attr.DB)],
      [0x10, flat(CODE | Attr.L)],
      [0x18, flat(DATA | Attr.DB)],
      [0x20, flat(CODE | USER | Attr.DB)],
      [0x28, flat(DATA | USER | Attr.DB)],
      [0x30, flat(CODE | USER | Attr.L)],
      [0x40, task],
    ]);
  }
  return new Map([
    [0x60, flat(CODE | Attr.DB)],
    [0x68, flat(DATA | Attr.DB)],
    [0x70, flat(CODE | USER | Attr.DB)],
    [0x78, flat(DATA | USER | Attr.DB)],
    [0x80, task],
    [0xd8, { base: percpu, limit: FLAT, attr: DATA | Attr.DB | Attr.G }],
  ]);
}

/** GDT bytes; its limit is its length - 1. System descriptors take 16 bytes in 64-bit mode. */
export function gdtBytes(mode: 32 | 64, table: ReadonlyMap<number, Descriptor>): Uint8Array {
  const last = Math.max(...table.keys());
  const bytes = new Uint8Array(last + 16);
  const view = new DataView(bytes.buffer);
  for (const [selector, { base, limit, attr }] of table) {
    const field = (attr & Attr.G) === 0 ? limit : limit >> 12n;
    const low =
      (field & 0xffffn) |
      ((base & 0xff_ffffn) << 16n) |
      (BigInt(attr & 0xff) << 40n) |
      ((field >> 16n) << 48n) |
      (BigInt((attr >> 8) & 0xf) << 52n) |
      (((base >> 24n) & 0xffn) << 56n);
    view.setBigUint64(selector, low, true);
    if (mode === 64 && (attr & Attr.S) === 0) view.setBigUint64(selector + 8, base >> 32n, true);
  }
  return bytes;
}

export interface Gate {
  readonly vector: number;
  readonly offset: bigint;
  /** 0: none */
  readonly ist: number;
  readonly type: "interrupt" | "trap";
  readonly dpl: number;
}

/** IDT bytes: 256 gates. */
export function idtBytes(mode: 32 | 64, gates: readonly Gate[]): Uint8Array {
  const size = mode === 64 ? 16 : 8;
  const bytes = new Uint8Array(256 * size);
  const view = new DataView(bytes.buffer);
  for (const { vector, offset, ist, type, dpl } of gates) {
    const at = vector * size;
    view.setUint16(at, Number(offset & 0xffffn), true);
    view.setUint16(at + 2, SELECTORS[mode].kernelCode, true);
    view.setUint8(at + 4, ist);
    view.setUint8(at + 5, 0x80 | (dpl << 5) | (type === "interrupt" ? 0xe : 0xf));
    view.setUint16(at + 6, Number((offset >> 16n) & 0xffffn), true);
    if (mode === 64) view.setUint32(at + 8, Number(offset >> 32n), true);
  }
  return bytes;
}

/** TSS bytes (0x68). `ist[n]`: IST slot n, 1 to 7; facts 4.6, 4.7. */
export function tssBytes(mode: 32 | 64, rsp0: bigint, ist: ReadonlyMap<number, bigint>): Uint8Array {
  const bytes = new Uint8Array(Number(TSS_LIMIT) + 1);
  const view = new DataView(bytes.buffer);
  if (mode === 64) {
    view.setBigUint64(4, rsp0, true);
    for (const [slot, high] of ist) view.setBigUint64(28 + 8 * slot, high, true);
  } else {
    view.setUint32(4, Number(rsp0), true);
    view.setUint16(8, SELECTORS[32].kernelData, true);
  }
  // The I/O permission map lies beyond the limit: there is none.
  view.setUint16(0x66, Number(TSS_LIMIT) + 1, true);
  return bytes;
}
