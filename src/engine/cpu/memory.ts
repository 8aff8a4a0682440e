// Guest physical memory: every write goes to the undo log and into the fingerprint; undefined bytes are known.

import { Lack, Prop, Reg } from "../abi";
import { Config } from "./config";
import { M, mix, reg, setReg, unsupported, violate } from "./state";

/** What the machine must do when a page is written. */
export enum PageFlag {
  /** a page-table page: cached translations go */
  TABLE = 1,
  /** holds decoded instructions: they are compared with memory from now on */
  CODE = 2,
  /** code that was written since it was decoded */
  CHANGED = 4,
  /** holds words whose writes are dropped */
  DISCARDED = 8,
}

/** Bumped whenever cached translations may be wrong. */
export class Translations {
  static generation: u32 = 1;
}

/** One undo entry: u32 word number, u32 undefined bits, u64 value. */
const ENTRY: usize = 16;

function wordMix(word: u32, value: u64, undef: u32): u64 {
  return mix(((<u64>word) << 8) | <u64>undef, value);
}

/** Replaces an aligned word and its undefined bits. */
function writeWord(word: u32, value: u64, undef: u32): void {
  const at = M.ram + ((<usize>word) << 3);
  const old = load<u64>(at);
  const oldUndef = <u32>load<u8>(M.undef + word);
  if (old == value && oldUndef == undef) return;
  if (M.logTop + ENTRY > M.logEnd) {
    unsupported(Lack.LOG, 0);
    return;
  }
  store<u32>(M.logTop, word);
  store<u32>(M.logTop, oldUndef, 4);
  store<u64>(M.logTop, old, 8);
  M.logTop += ENTRY;
  setReg(Reg.MEM_HASH, reg(Reg.MEM_HASH) ^ wordMix(word, old, oldUndef) ^ wordMix(word, value, undef));
  store<u64>(at, value);
  store<u8>(M.undef + word, <u8>undef);
}

function pageWritten(page: u32): void {
  const flags = load<u8>(M.pageFlags + page);
  if (flags & PageFlag.TABLE) Translations.generation++;
  if (flags & PageFlag.CODE) store<u8>(M.pageFlags + page, flags | <u8>PageFlag.CHANGED);
}

/** Rolls memory back to a mark of the undo log. The fingerprint is part of the register block, which the caller restores. */
export function undoMemory(mark: usize): void {
  while (M.logTop > mark) {
    M.logTop -= ENTRY;
    const word = load<u32>(M.logTop);
    store<u64>(M.ram + ((<usize>word) << 3), load<u64>(M.logTop, 8));
    store<u8>(M.undef + word, <u8>load<u32>(M.logTop, 4));
    if (load<u8>(M.pageFlags + (word >> 9)) != 0) pageWritten(word >> 9);
  }
}

function inRam(physical: u64, size: i32): bool {
  if (physical + <u64>size <= M.ramSize) return true;
  unsupported(Lack.PHYSICAL, physical);
  return false;
}

/** Reads up to 8 bytes that lie within one page. An undefined byte is a `stale-read`. */
export function readPhysical(physical: u64, size: i32): u64 {
  if (!inRam(physical, size)) return 0;
  const offset = <u32>physical & 7;
  const word = <usize>(physical >> 3);
  let stale = <u32>load<u8>(M.undef + word);
  if (<i32>offset + size > 8) stale |= (<u32>load<u8>(M.undef + word + 1)) << 8;
  if (stale != 0 && (stale >> offset) & ((1 << size) - 1)) {
    violate(Prop.STALE_READ, physical, <u64>size);
    return 0;
  }
  const at = M.ram + <usize>physical;
  switch (size) {
    case 8:
      return load<u64>(at);
    case 4:
      return <u64>load<u32>(at);
    case 2:
      return <u64>load<u16>(at);
    case 1:
      return <u64>load<u8>(at);
    default: {
      // the two halves of an access that crosses a page
      let value: u64 = 0;
      for (let i = size - 1; i >= 0; i--) value = (value << 8) | <u64>load<u8>(at + i);
      return value;
    }
  }
}

/** Writes up to 8 bytes that lie within one page. */
export function writePhysical(physical: u64, size: i32, value: u64): void {
  if (!inRam(physical, size)) return;
  const page = <u32>(physical >> 12);
  const pageFlags = load<u8>(M.pageFlags + page);
  if (pageFlags != 0) {
    if (pageFlags & PageFlag.DISCARDED && Config.isDiscarded(physical)) return;
    pageWritten(page);
  }
  const offset = <u32>physical & 7;
  const word = <u32>(physical >> 3);
  const bits = (<u64>offset) << 3;
  const mask: u64 = size == 8 ? ~(<u64>0) : ((<u64>1) << ((<u64>size) << 3)) - 1;
  const byteMask: u32 = (1 << size) - 1;
  value &= mask;
  const old = load<u64>(M.ram + ((<usize>word) << 3));
  const undef = <u32>load<u8>(M.undef + word);
  writeWord(word, (old & ~(mask << bits)) | (value << bits), undef & ~(byteMask << offset) & 0xff);
  if (<i32>offset + size > 8) {
    const high = word + 1;
    const rest = 64 - bits;
    const oldHigh = load<u64>(M.ram + ((<usize>high) << 3));
    const undefHigh = <u32>load<u8>(M.undef + high);
    writeWord(high, (oldHigh & ~(mask >> rest)) | (value >> rest), undefHigh & ~(byteMask >> (8 - offset)));
  }
}

/** Makes the bytes of whole words [low, high) undefined, except those of persistent slots. Physical, multiples of 8. */
export function forget(low: u32, high: u32): void {
  let word = low >> 3;
  const end = high >> 3;
  while (word < end) {
    if ((word & 7) == 0 && word + 8 <= end && load<u64>(M.undef + word) == ~(<u64>0)) {
      word += 8;
      continue;
    }
    const undef = <u32>load<u8>(M.undef + word);
    if (undef != 0xff) {
      const keep = Config.persistentBytes(word);
      const next = (undef | ~keep) & 0xff;
      if (next != undef) {
        const value = load<u64>(M.ram + ((<usize>word) << 3));
        writeWord(word, value & spread(~next & 0xff), next);
      }
    }
    word++;
  }
}

/** Eight bits to eight bytes of ones. */
function spread(bits: u32): u64 {
  let value: u64 = 0;
  for (let i = 0; i < 8; i++) if (bits & (1 << i)) value |= (<u64>0xff) << ((<u64>i) << 3);
  return value;
}
