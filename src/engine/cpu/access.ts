// Data accesses: segment and offset to linear address, checks, watchpoints, then memory; and the stack.

import { Attr, Prop, Reg, Seg, State } from "../abi";
import { Config } from "./config";
import { readPhysical, writePhysical } from "./memory";
import { Access, translate } from "./paging";
import {
  AC,
  CR0_AM,
  CR4_DE,
  canonical,
  clearState,
  cpl,
  FLAG_AC,
  flags,
  GP,
  long64,
  M,
  raise,
  reg,
  SS,
  segReg,
  setCold,
  setReg,
  setState,
  state,
  violate,
} from "./state";

/** Where the last resolved access lies: one physical run, or two when it crosses a page. */
class Place {
  static first: u64 = 0;
  static second: u64 = 0;
  /** bytes in the first run */
  static bytes: i32 = 0;
}

/** Linear address of seg:offset for an access of `size` bytes, with the checks of the mode (limits and types only outside 64-bit mode). */
export function linear(seg: i32, offset: u64, size: i32, access: i32): u64 {
  const s = segReg(seg);
  if (long64()) {
    const address = seg >= Seg.FS ? offset + reg(s + 1) : offset;
    if (!canonical(address) || (size > 1 && !canonical(address + <u64>(size - 1)))) raise(seg == Seg.SS ? SS : GP, 0);
    return address;
  }
  const attr = reg(s + 3);
  const vector = seg == Seg.SS ? SS : GP;
  if (attr & Attr.NULL || (attr & Attr.P) == 0) {
    raise(GP, 0);
    return 0;
  }
  if (
    attr & Attr.CODE
      ? (access & Access.WRITE) != 0 || (attr & Attr.RW) == 0
      : (access & Access.WRITE) != 0 && (attr & Attr.RW) == 0
  ) {
    raise(GP, 0);
    return 0;
  }
  offset &= 0xffffffff;
  const last = offset + <u64>(size - 1);
  const limit = reg(s + 2);
  let outside: bool;
  if ((attr & (Attr.CODE | Attr.DC)) == Attr.DC) {
    outside = offset <= limit || last > (attr & Attr.DB ? <u64>0xffffffff : <u64>0xffff);
  } else {
    outside = last > limit;
  }
  if (outside) raise(vector, 0);
  return (offset + reg(s + 1)) & 0xffffffff;
}

/** Translates [address, address + size); false: a fault was raised. */
function resolve(address: u64, size: i32, access: i32): bool {
  const room = 4096 - (<i32>address & 4095);
  Place.first = translate(address, access);
  if (M.fault >= 0) return false;
  Place.bytes = size;
  if (size > room) {
    Place.bytes = room;
    let next = address + <u64>room;
    if (!long64()) next &= 0xffffffff;
    Place.second = translate(next, access);
    if (M.fault >= 0) return false;
  }
  return true;
}

function readPlace(size: i32): u64 {
  if (Place.bytes == size) return readPhysical(Place.first, size);
  const low = readPhysical(Place.first, Place.bytes);
  return low | (readPhysical(Place.second, size - Place.bytes) << ((<u64>Place.bytes) << 3));
}

function writePlace(size: i32, value: u64): void {
  writePhysical(Place.first, Place.bytes, value);
  if (Place.bytes != size) writePhysical(Place.second, size - Place.bytes, value >> ((<u64>Place.bytes) << 3));
}

/** Kinds of breakpoint that an access meets: bit R/W field of DR7. */
const BREAKS_READ: u32 = 1 << 3;
const BREAKS_WRITE: u32 = (1 << 1) | (1 << 3);
const BREAKS_PORT: u32 = 1 << 2;

/** Data breakpoints: a trap is pending once the access is done (8.5). */
export function watch(address: u64, size: i32, write: bool): void {
  if ((reg(Reg.DR7) & 0xff) != 0) match(address, size, write ? BREAKS_WRITE : BREAKS_READ);
}

/** I/O breakpoints: they exist with CR4.DE only. */
export function watchPort(port: u64, size: i32): void {
  if ((reg(Reg.DR7) & 0xff) != 0 && (reg(Reg.CR4) & CR4_DE) != 0) match(port, size, BREAKS_PORT);
}

function match(address: u64, size: i32, kinds: u32): void {
  const dr7 = reg(Reg.DR7);
  let hit: u64 = 0;
  let enabled: u64 = 0;
  for (let n = 0; n < 4; n++) {
    const kind = <u32>(dr7 >> <u64>(16 + 4 * n)) & 3;
    if (((kinds >> kind) & 1) == 0) continue;
    const code = (dr7 >> <u64>(18 + 4 * n)) & 3;
    const length: u64 = code == 0 ? 1 : code == 1 ? 2 : code == 3 ? 4 : 8;
    const at = reg(Reg.DR0 + n) & ~(length - 1);
    if (address + <u64>size <= at || address >= at + length) continue;
    hit |= (<u64>1) << (<u64>n);
    if ((dr7 >> <u64>(2 * n)) & 3) enabled |= (<u64>1) << (<u64>n);
  }
  if (enabled != 0) setCold(Reg.PENDING_DB, reg(Reg.PENDING_DB) | hit | PENDING);
}

/** In PENDING_DB beside the DR6 bits: something is pending at all. */
export const PENDING: u64 = 0x100000000;

function checkGs(seg: i32, address: u64): void {
  if (seg == Seg.GS && cpl() == 0 && Config.checks(Prop.GS_BASE) && reg(Reg.GS_BASE) != Config.kernelGs) {
    violate(Prop.GS_BASE, reg(Reg.GS_BASE), address);
  }
}

function aligned(address: u64, size: i32): void {
  if (cpl() == 3 && (flags() & FLAG_AC) != 0 && (reg(Reg.CR0) & CR0_AM) != 0 && (address & <u64>(size - 1)) != 0)
    raise(AC, 0);
}

/** Resolves seg:offset for reading (or, with WRITE, for read-modify-write: `writeResolved` then writes to the same place). */
export function prepare(seg: i32, offset: u64, size: i32, access: i32): u64 {
  const address = linear(seg, offset, size, access);
  if (M.fault >= 0) return 0;
  checkGs(seg, address);
  aligned(address, size);
  if (M.fault >= 0 || !resolve(address, size, access)) return 0;
  watch(address, size, (access & Access.WRITE) != 0);
  return address;
}

export function readMemory(seg: i32, offset: u64, size: i32): u64 {
  prepare(seg, offset, size, Access.READ);
  return M.fault >= 0 ? 0 : readPlace(size);
}

/** First half of read-modify-write: checks for writing, reads. */
export function readForWrite(seg: i32, offset: u64, size: i32): u64 {
  prepare(seg, offset, size, Access.WRITE);
  return M.fault >= 0 ? 0 : readPlace(size);
}

/** Second half: writes where `readForWrite` read. */
export function writeBack(size: i32, value: u64): void {
  writePlace(size, value);
}

export function writeMemory(seg: i32, offset: u64, size: i32, value: u64): void {
  prepare(seg, offset, size, Access.WRITE);
  if (M.fault < 0) writePlace(size, value);
}

/** The CPU's own accesses (4.13): linear address, supervisor. */
export function readSystem(address: u64, size: i32): u64 {
  if (!resolve(address, size, Access.READ | Access.IMPLICIT)) return 0;
  return readPlace(size);
}

export function writeSystem(address: u64, size: i32, value: u64): void {
  if (resolve(address, size, Access.WRITE | Access.IMPLICIT)) writePlace(size, value);
}

/** What stands at a linear address within one page, without any check or trace; 0 where nothing is mapped. */
export function look(address: u64, size: i32): u64 {
  const before = M.fault;
  const physical = translate(address, Access.HOST);
  const mapped = M.fault == before && physical + 8 <= M.ramSize;
  M.fault = before;
  if (!mapped) return 0;
  const at = M.ram + <usize>physical;
  return size == 8 ? load<u64>(at) : <u64>load<u32>(at);
}

// --- the stack ---------------------------------------------------------------------------------------------------

/** Bytes of the stack pointer: 8 in 64-bit mode, else SS.B. */
export function stackSize(): i32 {
  return long64() ? 8 : reg(Reg.SS_ATTR) & Attr.DB ? 4 : 2;
}

/** RSP with its part that the stack size covers replaced. */
export function setStackPointer(value: u64): void {
  const size = stackSize();
  if (size == 8) setReg(Reg.RSP, value);
  else if (size == 4) setReg(Reg.RSP, value & 0xffffffff);
  else setReg(Reg.RSP, (reg(Reg.RSP) & ~(<u64>0xffff)) | (value & 0xffff));
}

export function stackPointer(): u64 {
  const size = stackSize();
  return size == 8 ? reg(Reg.RSP) : size == 4 ? reg(Reg.RSP) & 0xffffffff : reg(Reg.RSP) & 0xffff;
}

/** Properties of a push or pop at CPL 0 at a linear address. */
export function checkStack(address: u64, size: i32, write: bool): void {
  if (state() & State.USER_RSP && Config.checks(Prop.USER_STACK)) {
    violate(Prop.USER_STACK, address, <u64>write);
    return;
  }
  if (write && Config.checks(Prop.STACK_BOUNDS) && Config.stackOf(address, address + <u64>size) < 0) {
    violate(Prop.STACK_BOUNDS, address, <u64>size);
  }
}

/** Pushes without committing anything else: the caller's instruction may still fault before it (one push only). */
export function push(size: i32, value: u64): void {
  const at = maskStack(stackPointer() - <u64>size);
  writeStack(at, size, value);
  if (M.fault < 0) setStackPointer(at);
}

export function maskStack(offset: u64): u64 {
  const size = stackSize();
  return size == 8 ? offset : size == 4 ? offset & 0xffffffff : offset & 0xffff;
}

/** Writes to the stack at an offset in SS, as a push does. */
export function writeStack(offset: u64, size: i32, value: u64): void {
  if (cpl() == 0) {
    checkStack(linear(Seg.SS, offset, size, Access.WRITE), size, true);
    if (M.fault >= 0) return;
  }
  writeMemory(Seg.SS, offset, size, value);
}

/** Reads from the stack at an offset from its pointer, as a pop does, without moving it. */
export function peek(offset: u64, size: i32): u64 {
  const at = maskStack(stackPointer() + offset);
  if (cpl() == 0) {
    checkStack(linear(Seg.SS, at, size, Access.READ), size, false);
    if (M.fault >= 0) return 0;
  }
  return readMemory(Seg.SS, at, size);
}

export function pop(size: i32): u64 {
  const value = peek(0, size);
  if (M.fault < 0) setStackPointer(stackPointer() + <u64>size);
  return value;
}

/** Code breakpoints are looked for with DR7 as it stands at the boundary (8.4). */
export function codeBreakpoint(address: u64): u64 {
  const dr7 = reg(Reg.DR7);
  if ((dr7 & 0xff) == 0) return 0;
  let hit: u64 = 0;
  let enabled = false;
  for (let n = 0; n < 4; n++) {
    if (((dr7 >> <u64>(16 + 4 * n)) & 3) != 0 || reg(Reg.DR0 + n) != address) continue;
    hit |= (<u64>1) << (<u64>n);
    if ((dr7 >> <u64>(2 * n)) & 3) enabled = true;
  }
  return enabled ? hit : 0;
}
