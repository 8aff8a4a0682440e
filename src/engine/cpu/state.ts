// The machine's own variables: where its parts lie in linear memory, and what one instruction remembers until it ends.
// Each WebAssembly instance is one machine, so these are its fields.

import { Reg, Seg, State } from "../abi";

export class M {
  /** register block (Reg) */
  static regs: usize = 0;
  /** guest physical memory */
  static ram: usize = 0;
  static ramSize: u64 = 0;
  /** one byte for each 8-byte word of guest memory: bit n set means byte n is undefined */
  static undef: usize = 0;
  /** one byte for each page of guest memory (PageFlag) */
  static pageFlags: usize = 0;
  /** for each page of guest memory: 0, or the address of 4096 record addresses (u32) */
  static pageIndex: usize = 0;
  /** undo log: first entry, next entry, one past the last */
  static log: usize = 0;
  static logTop: usize = 0;
  static logEnd: usize = 0;
  /** one past the last context record */
  static ctxEnd: usize = 0;

  // vendor and single switches
  static amd: bool = false;

  // what the current instruction remembers
  /** -1: none; 0..31: exception vector; ABORT_*: the step ends */
  static fault: i32 = -1;
  static faultCode: u64 = 0;
  /** linear address of a page fault */
  static faultAddress: u64 = 0;
  /** the instruction's address and the next one's */
  static rip: u64 = 0;
  static next: u64 = 0;
  /** RSP as it was before the instruction */
  static rspBefore: u64 = 0;
  /** shadows that were open at the instruction's start (State bits) */
  static shadows: u64 = 0;
  /** the record being executed */
  static rec: usize = 0;
  /** a debug-register move met DR7.GD (8.6) */
  static generalDetect: bool = false;
  /** vector delivered during the last step, or -1; for the trace */
  static delivered: i32 = -1;
  /** linear address of the frame it pushed */
  static deliveredFrame: u64 = 0;
  /** the last step executed an instruction (and did not only deliver a latched event) */
  static executed: bool = false;
  /** the last step resumed a context */
  static resumed: bool = false;
  /** physical address at which an instruction is to be decoded, and how many bytes could be fetched (see Fetch) */
  static request: u64 = 0;

  // the outcome of an aborted step
  static property: i32 = 0;
  static lack: i32 = 0;
  static detail: u64 = 0;
  static detail2: u64 = 0;
  /** facts that the verdict must name (Used bits) */
  static used: u32 = 0;
}

/** Values of M.fault that are not vectors. */
export const ABORT_VIOLATION: i32 = 256;
export const ABORT_UNSUPPORTED: i32 = 257;

export const FLAG_CF: u64 = 1;
export const FLAG_PF: u64 = 4;
export const FLAG_AF: u64 = 0x10;
export const FLAG_ZF: u64 = 0x40;
export const FLAG_SF: u64 = 0x80;
export const FLAG_TF: u64 = 0x100;
export const FLAG_IF: u64 = 0x200;
export const FLAG_DF: u64 = 0x400;
export const FLAG_OF: u64 = 0x800;
export const FLAG_IOPL: u64 = 0x3000;
export const FLAG_NT: u64 = 0x4000;
export const FLAG_RF: u64 = 0x10000;
export const FLAG_VM: u64 = 0x20000;
export const FLAG_AC: u64 = 0x40000;
export const FLAG_VIF: u64 = 0x80000;
export const FLAG_VIP: u64 = 0x100000;
export const FLAG_ID: u64 = 0x200000;
export const FLAGS_ARITH: u64 = 0x8d5;

export const CR0_PE: u64 = 1;
export const CR0_TS: u64 = 8;
export const CR0_ET: u64 = 0x10;
export const CR0_WP: u64 = 0x10000;
export const CR0_AM: u64 = 0x40000;
export const CR0_NW: u64 = 0x20000000;
export const CR0_CD: u64 = 0x40000000;
export const CR0_PG: u64 = 0x80000000;
export const CR4_TSD: u64 = 4;
export const CR4_DE: u64 = 8;
export const CR4_PSE: u64 = 0x10;
export const CR4_PAE: u64 = 0x20;
export const CR4_MCE: u64 = 0x40;
export const CR4_UMIP: u64 = 0x800;
export const CR4_FSGSBASE: u64 = 0x10000;
export const CR4_PCIDE: u64 = 0x20000;
export const CR4_SMEP: u64 = 0x100000;
export const CR4_SMAP: u64 = 0x200000;
/** bits of CR4 that the model accepts: VME, TSD..UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP; VME is for vm86 only, PVI is not in the model */
export const CR4_KNOWN: u64 = 0x370ffd;
/** single-step on branches */
export const DEBUGCTL_BTF: u64 = 2;
export const EFER_SCE: u64 = 1;
export const EFER_LME: u64 = 0x100;
export const EFER_LMA: u64 = 0x400;
export const EFER_NXE: u64 = 0x800;

export const DE: i32 = 0;
export const DB: i32 = 1;
export const NMI: i32 = 2;
export const BP: i32 = 3;
export const OF: i32 = 4;
export const UD: i32 = 6;
export const DF: i32 = 8;
export const TS: i32 = 10;
export const NP: i32 = 11;
export const SS: i32 = 12;
export const GP: i32 = 13;
export const PF: i32 = 14;
export const AC: i32 = 17;
export const MC: i32 = 18;

export function reg(index: i32): u64 {
  return load<u64>(M.regs + ((<usize>index) << 3));
}

/** Writes one of the words that change at every step. */
export function setReg(index: i32, value: u64): void {
  store<u64>(M.regs + ((<usize>index) << 3), value);
}

/** The part of a word in the fingerprint; `where` tells words apart. */
export function mix(where: u64, value: u64): u64 {
  let x = (value ^ (where * 0x9e3779b97f4a7c15)) * 0xd6e8feb86659fd93;
  x ^= x >> 32;
  x = (x + where) * 0xbf58476d1ce4e5b9;
  return x ^ (x >> 29);
}

/** Writes a word that seldom changes, and keeps the fingerprint of the cold words. */
export function setCold(index: i32, value: u64): void {
  const old = reg(index);
  if (old == value) return;
  setReg(Reg.COLD_HASH, reg(Reg.COLD_HASH) ^ mix(<u64>index, old) ^ mix(<u64>index, value));
  setReg(index, value);
}

export function state(): u64 {
  return reg(Reg.STATE);
}

export function setState(bits: u64): void {
  setReg(Reg.STATE, reg(Reg.STATE) | bits);
}

export function clearState(bits: u64): void {
  setReg(Reg.STATE, reg(Reg.STATE) & ~bits);
}

export function cpl(): i32 {
  return <i32>(reg(Reg.STATE) & State.CPL_MASK);
}

export function setCpl(value: i32): void {
  setReg(Reg.STATE, (reg(Reg.STATE) & ~(<u64>State.CPL_MASK)) | <u64>value);
}

export function flags(): u64 {
  return reg(Reg.RFLAGS);
}

export function setFlags(value: u64): void {
  setReg(Reg.RFLAGS, value);
}

/** 64-bit mode: EFER.LMA and CS.L. */
export function long64(): bool {
  return (reg(Reg.CS_ATTR) & 0x200) != 0 && (reg(Reg.EFER) & EFER_LMA) != 0;
}

export function longMode(): bool {
  return (reg(Reg.EFER) & EFER_LMA) != 0;
}

/** Index of a segment register's first word (selector); base, limit and attributes follow. */
export function segReg(seg: i32): i32 {
  return Reg.ES_SEL + (seg << 2);
}

/** Raises an exception; the first one of an instruction counts. */
export function raise(vector: i32, code: u64): void {
  if (M.fault >= 0) return;
  M.fault = vector;
  M.faultCode = code;
}

/** Ends the step: a property does not hold. */
export function violate(property: i32, detail: u64, detail2: u64): void {
  if (M.fault >= ABORT_VIOLATION) return;
  M.fault = ABORT_VIOLATION;
  M.property = property;
  M.detail = detail;
  M.detail2 = detail2;
}

/** Ends the step: the model lacks something (Lack). */
export function unsupported(lack: i32, detail: u64): void {
  if (M.fault >= ABORT_VIOLATION) return;
  M.fault = ABORT_UNSUPPORTED;
  M.lack = lack;
  M.detail = detail;
}

export function canonical(address: u64): bool {
  return <u64>(((<i64>address) << 16) >> 16) == address;
}

/** Code and stack are accessed through 64-bit addresses in 64-bit mode, 32-bit ones elsewhere. */
export function sizeMask(bytes: i32): u64 {
  return bytes >= 8 ? ~(<u64>0) : ((<u64>1) << (<u64>(bytes << 3))) - 1;
}
