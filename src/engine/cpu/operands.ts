// Operands of the instruction being executed: effective addresses, reads and writes by kind.

import { Attr, Base, Kind, Rec, Reg } from "../abi";
import { prepare, readForWrite, readMemory, writeBack, writeMemory } from "./access";
import { long64, M, reg, setReg, sizeMask } from "./state";

export function opSize(): i32 {
  return <i32>load<u8>(M.rec, Rec.OPSIZE);
}

export function kindOf(n: i32): i32 {
  return <i32>load<u8>(M.rec + n, Rec.KIND0);
}

export function numberOf(n: i32): i32 {
  return <i32>load<u8>(M.rec + n, Rec.REG0);
}

export function sizeOf(n: i32): i32 {
  return <i32>load<u8>(M.rec + n, Rec.SIZE0);
}

export function immediate(): u64 {
  return load<u64>(M.rec, Rec.IMM);
}

export function segment(): i32 {
  return <i32>load<u8>(M.rec, Rec.SEG);
}

/** Offset part of the memory operand. */
export function effective(): u64 {
  let address = load<u64>(M.rec, Rec.DISP);
  const base = <i32>load<u8>(M.rec, Rec.BASE);
  if (base < Base.NONE) address += reg(base);
  else if (base == Base.RIP) address += M.next;
  const index = <i32>load<u8>(M.rec, Rec.INDEX);
  if (index < Base.NONE) address += reg(index) << (<u64>load<u8>(M.rec, Rec.SCALE));
  const size = <i32>load<u8>(M.rec, Rec.ADDRSIZE);
  return size == 8 ? address : size == 4 ? address & 0xffffffff : address & 0xffff;
}

/** Low `size` bytes of a general register. */
export function readGpr(number: i32, size: i32): u64 {
  return reg(number) & sizeMask(size);
}

/** Writes the low bytes of a general register; a 32-bit write clears the upper half. */
export function writeGpr(number: i32, size: i32, value: u64): void {
  if (size == 8) setReg(number, value);
  else if (size == 4) setReg(number, value & 0xffffffff);
  else if (size == 2) setReg(number, (reg(number) & ~(<u64>0xffff)) | (value & 0xffff));
  else setReg(number, (reg(number) & ~(<u64>0xff)) | (value & 0xff));
}

/** Value of operand n, zero-extended from its size (immediates as the decoder extended them, cut to the size). */
export function readOperand(n: i32): u64 {
  const size = sizeOf(n);
  switch (kindOf(n)) {
    case Kind.GPR:
      return readGpr(numberOf(n), size);
    case Kind.HIGH:
      return (reg(numberOf(n)) >> 8) & 0xff;
    case Kind.MEM:
      return readMemory(segment(), effective(), size);
    case Kind.IMM:
      return immediate() & sizeMask(size);
    case Kind.IMM2:
      return load<u64>(M.rec, Rec.IMM2) & sizeMask(size);
    default:
      return 0;
  }
}

/** Reads an operand that the instruction will write too. */
export function readDestination(n: i32): u64 {
  return kindOf(n) == Kind.MEM ? readForWrite(segment(), effective(), sizeOf(n)) : readOperand(n);
}

/** Writes an operand that `readDestination` has read. */
export function writeDestination(n: i32, value: u64): void {
  const kind = kindOf(n);
  if (kind == Kind.MEM) writeBack(sizeOf(n), value);
  else if (kind == Kind.HIGH) writeHigh(numberOf(n), value);
  else writeGpr(numberOf(n), sizeOf(n), value);
}

/** Writes an operand without reading it first. */
export function writeOperand(n: i32, value: u64): void {
  if (kindOf(n) == Kind.MEM) writeMemory(segment(), effective(), sizeOf(n), value);
  else writeDestination(n, value);
}

function writeHigh(number: i32, value: u64): void {
  setReg(number, (reg(number) & ~(<u64>0xff00)) | ((value & 0xff) << 8));
}

export function signExtend(value: u64, size: i32): u64 {
  const shift = <u64>(64 - (size << 3));
  return <u64>(<i64>(value << shift) >> <i64>shift);
}
