// Linear to physical addresses: 4-level paging of IA-32e mode, 2-level 32-bit paging, or none (section 12 of the facts).
// Translations are cached, but never stale: a write to a page-table page, or to a control register that matters, drops them.

import { Lack, Reg } from "../abi";
import { PageFlag, Translations, writePhysical } from "./memory";
import {
  CR0_PG,
  CR0_WP,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  cpl,
  EFER_NXE,
  FLAG_AC,
  longMode,
  M,
  PF,
  raise,
  reg,
  setCold,
  unsupported,
} from "./state";

/** How memory is accessed. */
export enum Access {
  READ = 0,
  WRITE = 1,
  FETCH = 2,
  /** made by the CPU itself (descriptor tables, TSS, delivery's frame): supervisor whatever the CPL, SMAP whatever AC (4.13) */
  IMPLICIT = 4,
  /** the host's own look: no permission is asked for, no bit is set */
  HOST = 8,
}

const PTE_P: u64 = 1;
const PTE_W: u64 = 2;
const PTE_U: u64 = 4;
const PTE_A: u64 = 0x20;
const PTE_D: u64 = 0x40;
const PTE_PS: u64 = 0x80;
const PTE_NX: u64 = 0x8000000000000000;
/** physical addresses have 46 bits */
const PTE_RESERVED: u64 = 0x000fc00000000000;
const PTE_FRAME: u64 = 0x00003ffffffff000;

const ERROR_P: u64 = 1;
const ERROR_W: u64 = 2;
const ERROR_U: u64 = 4;
const ERROR_RSVD: u64 = 8;
const ERROR_I: u64 = 0x10;

/** Cached translations: 512 entries of u64 page number, u32 generation, u32 physical page, u32 PTE bits. */
const ENTRIES: u32 = 512;
const ENTRY: u32 = 24;
export const TLB_BYTES: usize = ENTRIES * ENTRY;

export class Tlb {
  static at: usize = 0;
}

/** What a translation allows: the entries' U, W and NX combined, D of the last. */
let walkBits: u64 = 0;
let walkPage: u64 = 0;

function pageFault(address: u64, access: i32, user: bool, present: u64): void {
  let code = present;
  if (access & Access.WRITE) code |= ERROR_W;
  if (user) code |= ERROR_U;
  const nx = (reg(Reg.EFER) & EFER_NXE) != 0 && (reg(Reg.CR4) & 0x20) != 0;
  if (access & Access.FETCH && (nx || (reg(Reg.CR4) & CR4_SMEP) != 0)) code |= ERROR_I;
  if (M.fault < 0) M.faultAddress = address;
  raise(PF, code);
}

/** May this access use a page with these bits? (12.1, 12.5, 12.7) */
function allowed(bits: u64, access: i32, user: bool): bool {
  if (access & Access.HOST) return true;
  if (user) {
    if ((bits & PTE_U) == 0) return false;
    if (access & Access.WRITE && (bits & PTE_W) == 0) return false;
  } else {
    if (access & Access.WRITE && (bits & PTE_W) == 0 && (reg(Reg.CR0) & CR0_WP) != 0) return false;
    if ((bits & PTE_U) != 0) {
      if (access & Access.FETCH) {
        if (reg(Reg.CR4) & CR4_SMEP) return false;
      } else if (reg(Reg.CR4) & CR4_SMAP) {
        if (access & Access.IMPLICIT || (reg(Reg.RFLAGS) & FLAG_AC) == 0) return false;
      }
    }
  }
  return !(access & Access.FETCH && (bits & PTE_NX) != 0);
}

function entryAt(physical: u64, size: i32): u64 {
  if (physical + 8 > M.ramSize) {
    unsupported(Lack.PHYSICAL, physical);
    return 0;
  }
  const page = M.pageFlags + <usize>(physical >> 12);
  store<u8>(page, load<u8>(page) | PageFlag.TABLE);
  const at = M.ram + <usize>physical;
  return size == 8 ? load<u64>(at) : <u64>load<u32>(at);
}

/** Sets A on every entry that a successful translation used, D on the last one of a write (12.8). */
function mark(physical: u64, size: i32, entry: u64, bits: u64): void {
  if ((entry & bits) != bits) writePhysical(physical, size, entry | bits);
}

function markAll(p0: u64, p1: u64, p2: u64, last: u64, entry: u64, access: i32): void {
  if (p0 != 0) mark(p0, 8, entryAt(p0, 8), PTE_A);
  if (p1 != 0) mark(p1, 8, entryAt(p1, 8), PTE_A);
  if (p2 != 0) mark(p2, 8, entryAt(p2, 8), PTE_A);
  mark(last, 8, entry, access & Access.WRITE ? PTE_A | PTE_D : PTE_A);
}

/** Walks the 4-level tables. True: walkPage and walkBits hold the result; false: a fault was raised. */
function walk4(address: u64, access: i32, user: bool): bool {
  let table = reg(Reg.CR3) & PTE_FRAME;
  let bits: u64 = PTE_U | PTE_W;
  let nx: u64 = 0;
  const reserved = PTE_RESERVED | (reg(Reg.EFER) & EFER_NXE ? 0 : PTE_NX);
  let shift: u64 = 39;
  let p0: u64 = 0,
    p1: u64 = 0,
    p2: u64 = 0;
  while (true) {
    const at = table + (((address >> shift) & 511) << 3);
    const entry = entryAt(at, 8);
    if (M.fault >= 0) return false;
    if ((entry & PTE_P) == 0) {
      pageFault(address, access, user, 0);
      return false;
    }
    let bad = (entry & reserved) != 0;
    const leaf = shift == 12 || (entry & PTE_PS) != 0;
    if (leaf && shift == 39) bad = true;
    if (leaf && shift > 12 && shift < 39) bad = bad || (entry & (((<u64>1) << shift) - 1) & 0xffffffffffffe000) != 0;
    if (bad) {
      pageFault(address, access, user, ERROR_P | ERROR_RSVD);
      return false;
    }
    bits &= entry;
    nx |= entry & PTE_NX;
    if (!leaf) {
      if (shift == 39) p0 = at;
      else if (shift == 30) p1 = at;
      else p2 = at;
      table = entry & PTE_FRAME;
      shift -= 9;
      continue;
    }
    bits |= nx;
    if (!allowed(bits, access, user)) {
      pageFault(address, access, user, ERROR_P);
      return false;
    }
    if ((access & Access.HOST) == 0) markAll(p0, p1, p2, at, entry, access);
    const inside = ((<u64>1) << shift) - 1;
    walkPage = ((entry & PTE_FRAME & ~inside) | (address & inside)) >> 12;
    walkBits = bits | (access & Access.WRITE ? PTE_D : entry & PTE_D);
    return true;
  }
}

/** Walks the 2-level tables of 32-bit paging without PAE. */
function walk2(address: u64, access: i32, user: bool): bool {
  const at1 = (reg(Reg.CR3) & 0xfffff000) + ((address >> 22) << 2);
  const directory = entryAt(at1, 4);
  if (M.fault >= 0) return false;
  if ((directory & PTE_P) == 0) {
    pageFault(address, access, user, 0);
    return false;
  }
  const large = (directory & PTE_PS) != 0 && (reg(Reg.CR4) & CR4_PSE) != 0;
  if (large && (directory & 0x3fe000) != 0) {
    pageFault(address, access, user, ERROR_P | ERROR_RSVD);
    return false;
  }
  let last = directory;
  let at = at1;
  if (!large) {
    at = (directory & 0xfffff000) + (((address >> 12) & 1023) << 2);
    last = entryAt(at, 4);
    if (M.fault >= 0) return false;
    if ((last & PTE_P) == 0) {
      pageFault(address, access, user, 0);
      return false;
    }
  }
  const bits = directory & last & (PTE_U | PTE_W);
  if (!allowed(bits, access, user)) {
    pageFault(address, access, user, ERROR_P);
    return false;
  }
  if ((access & Access.HOST) == 0) {
    if (!large) mark(at1, 4, directory, PTE_A);
    mark(at, 4, last, access & Access.WRITE ? PTE_A | PTE_D : PTE_A);
  }
  walkPage = large ? ((last & 0xffc00000) >> 12) | ((address >> 12) & 1023) : last >> 12;
  walkBits = bits | (access & Access.WRITE ? PTE_D : last & PTE_D);
  return true;
}

/** Physical address of a linear one for an access within its page; raises #PF. */
export function translate(address: u64, access: i32): u64 {
  if ((reg(Reg.CR0) & CR0_PG) == 0) return address & 0xffffffff;
  const user = cpl() == 3 && (access & Access.IMPLICIT) == 0;
  const page = address >> 12;
  const entry = Tlb.at + (<u32>page & (ENTRIES - 1)) * ENTRY;
  if (load<u64>(entry) == page && load<u32>(entry, 8) == Translations.generation) {
    const bits = load<u64>(entry, 16);
    if (allowed(bits, access, user) && !(access & Access.WRITE && (bits & PTE_D) == 0)) {
      return ((<u64>load<u32>(entry, 12)) << 12) | (address & 0xfff);
    }
  }
  const done = longMode() ? walk4(address, access, user) : walk2(address, access, user);
  if (!done) return 0;
  if (access & Access.HOST) return (walkPage << 12) | (address & 0xfff);
  store<u64>(entry, page);
  store<u32>(entry, Translations.generation, 8);
  store<u32>(entry, <u32>walkPage, 12);
  store<u64>(entry, walkBits, 16);
  return (walkPage << 12) | (address & 0xfff);
}

/** CR2 is written when a page fault is detected, before its delivery (12.2). */
export function latchCr2(): void {
  setCold(Reg.CR2, M.faultAddress);
}
