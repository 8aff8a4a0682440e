// Arithmetic and logic with their flags (SDM vol. 2; appendix A of vol. 1 for the flags).

import { Kind, Op, Rec, Reg } from "../abi";
import {
  kindOf,
  opSize,
  readDestination,
  readGpr,
  readOperand,
  signExtend,
  sizeOf,
  writeDestination,
  writeGpr,
  writeOperand,
} from "./operands";
import {
  DE,
  FLAG_AF,
  FLAG_CF,
  FLAG_OF,
  FLAG_PF,
  FLAG_SF,
  FLAG_ZF,
  FLAGS_ARITH,
  flags,
  M,
  raise,
  reg,
  setFlags,
  setReg,
  sizeMask,
} from "./state";

/** SF, ZF and PF of a result. */
export function resultFlags(value: u64, size: i32): u64 {
  value &= sizeMask(size);
  let f: u64 = 0;
  if (value == 0) f |= FLAG_ZF;
  if ((value >> <u64>((size << 3) - 1)) & 1) f |= FLAG_SF;
  if ((popcnt<u32>(<u32>value & 0xff) & 1) == 0) f |= FLAG_PF;
  return f;
}

export function setArith(f: u64): void {
  setFlags((flags() & ~FLAGS_ARITH) | f);
}

/** CF, OF, AF and the result flags of a + b + carry; a and b are cut to the size. */
function addFlags(a: u64, b: u64, carry: u64, size: i32): u64 {
  const result = (a + b + carry) & sizeMask(size);
  let f = resultFlags(result, size);
  if (carry ? result <= a : result < a) f |= FLAG_CF;
  if ((((a ^ result) & (b ^ result)) >> <u64>((size << 3) - 1)) & 1) f |= FLAG_OF;
  f |= (a ^ b ^ result) & FLAG_AF;
  return f;
}

/** CF, OF, AF and the result flags of a - b - borrow. */
export function subFlags(a: u64, b: u64, borrow: u64, size: i32): u64 {
  const mask = sizeMask(size);
  a &= mask;
  b &= mask;
  const result = (a - b - borrow) & mask;
  let f = resultFlags(result, size);
  if (borrow ? a <= b : a < b) f |= FLAG_CF;
  if ((((a ^ b) & (a ^ result)) >> <u64>((size << 3) - 1)) & 1) f |= FLAG_OF;
  f |= (a ^ b ^ result) & FLAG_AF;
  return f;
}

/** ADD OR ADC SBB AND SUB XOR CMP TEST */
export function binary(op: i32): void {
  const size = opSize();
  const compares = op == Op.CMP || op == Op.TEST;
  const b = readOperandExtended(1, size);
  if (M.fault >= 0) return;
  const a = compares ? readOperand(0) : readDestination(0);
  if (M.fault >= 0) return;
  const carry = flags() & FLAG_CF;
  let result: u64 = 0;
  let f: u64 = 0;
  switch (op) {
    case Op.ADD:
      result = a + b;
      f = addFlags(a, b, 0, size);
      break;
    case Op.ADC:
      result = a + b + carry;
      f = addFlags(a, b, carry, size);
      break;
    case Op.SUB:
      result = a - b;
      f = subFlags(a, b, 0, size);
      break;
    case Op.SBB:
      result = a - b - carry;
      f = subFlags(a, b, carry, size);
      break;
    case Op.CMP:
      f = subFlags(a, b, 0, size);
      break;
    case Op.AND:
      result = a & b;
      f = resultFlags(result, size);
      break;
    case Op.TEST:
      f = resultFlags(a & b, size);
      break;
    case Op.OR:
      result = a | b;
      f = resultFlags(result, size);
      break;
    default:
      result = a ^ b;
      f = resultFlags(result, size);
      break;
  }
  if (!compares) {
    writeDestination(0, result & sizeMask(size));
    if (M.fault >= 0) return;
  }
  setArith(f);
}

/** A source operand, with an immediate cut to the operand size. */
function readOperandExtended(n: i32, size: i32): u64 {
  if (kindOf(n) == Kind.IMM) return load<u64>(M.rec, Rec.IMM) & sizeMask(size);
  return readOperand(n);
}

/** INC DEC NEG NOT: INC and DEC leave CF, NOT leaves all flags. */
export function unary(op: i32): void {
  const size = opSize();
  const a = readDestination(0);
  if (M.fault >= 0) return;
  const mask = sizeMask(size);
  const carry = flags() & FLAG_CF;
  let result: u64 = 0;
  let f: u64 = 0;
  switch (op) {
    case Op.INC:
      result = a + 1;
      f = (addFlags(a, 1, 0, size) & ~FLAG_CF) | carry;
      break;
    case Op.DEC:
      result = a - 1;
      f = (subFlags(a, 1, 0, size) & ~FLAG_CF) | carry;
      break;
    case Op.NEG:
      result = 0 - a;
      f = subFlags(0, a, 0, size);
      break;
    default:
      result = ~a;
      f = flags() & FLAGS_ARITH;
      break;
  }
  writeDestination(0, result & mask);
  if (M.fault < 0) setArith(f);
}

/** XADD: the destination's old value goes to the source register. */
export function xadd(): void {
  const size = opSize();
  const a = readDestination(0);
  if (M.fault >= 0) return;
  const b = readOperand(1);
  writeOrderXadd(a, b, size);
  setArith(addFlags(a, b, 0, size));
}

/** The source is written first, so that XADD of a register with itself leaves the sum. */
function writeOrderXadd(a: u64, b: u64, size: i32): void {
  if (kindOf(0) == Kind.MEM) {
    writeDestination(0, (a + b) & sizeMask(size));
    writeDestination(1, a);
  } else {
    writeDestination(1, a);
    writeDestination(0, (a + b) & sizeMask(size));
  }
}

export function xchg(): void {
  const a = readDestination(0);
  if (M.fault >= 0) return;
  const b = kindOf(1) == Kind.MEM ? readDestination(1) : readOperand(1);
  if (M.fault >= 0) return;
  writeDestination(0, b);
  writeDestination(1, a);
}

export function cmpxchg(): void {
  const size = opSize();
  const a = readDestination(0);
  if (M.fault >= 0) return;
  const accumulator = readGpr(Reg.RAX, size);
  if (accumulator == a) {
    writeDestination(0, readOperand(1));
  } else {
    // memory gets a write cycle in any case; a register is not touched, not even its upper half
    if (kindOf(0) == Kind.MEM) writeDestination(0, a);
    writeGpr(Reg.RAX, size, a);
  }
  setArith(subFlags(accumulator, a, 0, size));
}

export function mul(op: i32): void {
  const size = opSize();
  const source = readOperand(0);
  if (M.fault >= 0) return;
  const a = readGpr(Reg.RAX, size);
  let low: u64;
  let high: u64;
  if (size == 8) {
    low = a * source;
    high = op == Op.MUL ? mulHigh(a, source) : mulHighSigned(a, source);
  } else {
    const product: u64 = op == Op.MUL ? a * source : signExtend(a, size) * signExtend(source, size);
    low = product & sizeMask(size);
    high = (product >> <u64>(size << 3)) & sizeMask(size);
  }
  if (size == 1) writeGpr(Reg.RAX, 2, low | (high << 8));
  else {
    writeGpr(Reg.RAX, size, low);
    writeGpr(Reg.RDX, size, high);
  }
  const overflow = op == Op.MUL ? high != 0 : high != (signExtend(low, size) >> 63 ? sizeMask(size) : 0);
  multiplyFlags(low, size, overflow);
}

/** SF, ZF, AF, PF are undefined after a multiplication: SF and PF as the result, the others zero. */
function multiplyFlags(low: u64, size: i32, overflow: bool): void {
  setArith((resultFlags(low, size) & ~FLAG_ZF) | (overflow ? FLAG_CF | FLAG_OF : 0));
}

/** IMUL with two or three operands. */
export function imul2(): void {
  const size = opSize();
  const three = kindOf(2) != Kind.NONE;
  const a = signExtend(readOperand(1), size);
  if (M.fault >= 0) return;
  const b = three ? load<u64>(M.rec, Rec.IMM) : signExtend(readOperand(0), size);
  const result = a * b;
  const low = result & sizeMask(size);
  const overflow = size == 8 ? mulHighSigned(a, b) != <u64>(<i64>result >> 63) : signExtend(low, size) != result;
  writeOperand(0, low);
  multiplyFlags(low, size, overflow);
}

function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff,
    a1 = a >> 32,
    b0 = b & 0xffffffff,
    b1 = b >> 32;
  const middle = a1 * b0 + ((a0 * b0) >> 32);
  const middle2 = a0 * b1 + (middle & 0xffffffff);
  return a1 * b1 + (middle >> 32) + (middle2 >> 32);
}

function mulHighSigned(a: u64, b: u64): u64 {
  let high = mulHigh(a, b);
  if (<i64>a < 0) high -= b;
  if (<i64>b < 0) high -= a;
  return high;
}

/** DIV and IDIV; flags are undefined and kept. */
export function div(op: i32): void {
  const size = opSize();
  const divisor = readOperand(0);
  if (M.fault >= 0) return;
  if (divisor == 0) {
    raise(DE, 0);
    return;
  }
  const high = size == 1 ? (reg(Reg.RAX) >> 8) & 0xff : readGpr(Reg.RDX, size);
  const low = readGpr(Reg.RAX, size);
  if (op == Op.DIV) {
    if (high >= divisor) {
      raise(DE, 0);
      return;
    }
    if (size == 8) divide128(high, low, divisor);
    else {
      const dividend = (high << (<u64>(size << 3))) | low;
      Quotient.quotient = dividend / divisor;
      Quotient.rest = dividend % divisor;
    }
  } else if (!signedDivide(high, low, divisor, size)) {
    raise(DE, 0);
    return;
  }
  const mask = sizeMask(size);
  if (size == 1) writeGpr(Reg.RAX, 2, (Quotient.quotient & 0xff) | ((Quotient.rest & 0xff) << 8));
  else {
    writeGpr(Reg.RAX, size, Quotient.quotient & mask);
    writeGpr(Reg.RDX, size, Quotient.rest & mask);
  }
}

class Quotient {
  static quotient: u64 = 0;
  static rest: u64 = 0;
}

/** 128 by 64 bits, high < divisor. */
function divide128(high: u64, low: u64, divisor: u64): void {
  let rest = high;
  let quotient: u64 = 0;
  for (let i = 0; i < 64; i++) {
    const out = rest >> 63;
    rest = (rest << 1) | (low >> 63);
    low <<= 1;
    quotient <<= 1;
    if (out != 0 || rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  Quotient.quotient = quotient;
  Quotient.rest = rest;
}

/** False: the quotient does not fit. */
function signedDivide(high: u64, low: u64, divisor: u64, size: i32): bool {
  const bits = <u64>(size << 3);
  const d = signExtend(divisor, size);
  const negativeDivisor = <i64>d < 0;
  const negative = ((high >> (bits - 1)) & 1) != 0;
  // magnitude of the dividend in (high, low) of `size` bytes each
  const mask = sizeMask(size);
  if (negative) {
    low = (~low + 1) & mask;
    high = (~high + (low == 0 ? 1 : 0)) & mask;
  }
  const magnitude = (negativeDivisor ? 0 - d : d) & mask;
  if (high >= magnitude) return false;
  if (size == 8) divide128(high, low, magnitude);
  else {
    const dividend = (high << bits) | low;
    Quotient.quotient = dividend / magnitude;
    Quotient.rest = dividend % magnitude;
  }
  const limit: u64 = (<u64>1) << (bits - 1);
  const negativeQuotient = negative != negativeDivisor;
  if (negativeQuotient ? Quotient.quotient > limit : Quotient.quotient >= limit) return false;
  if (negativeQuotient) Quotient.quotient = 0 - Quotient.quotient;
  if (negative) Quotient.rest = 0 - Quotient.rest;
  return true;
}

/** CMPXCHG8B and CMPXCHG16B. */
export function cmpxchg8b(readLow: u64, readHigh: u64, half: i32): bool {
  const same = readGpr(Reg.RAX, half) == readLow && readGpr(Reg.RDX, half) == readHigh;
  if (!same) {
    writeGpr(Reg.RAX, half, readLow);
    writeGpr(Reg.RDX, half, readHigh);
  }
  setFlags(same ? flags() | FLAG_ZF : flags() & ~FLAG_ZF);
  return same;
}

export function bswap(): void {
  const size = opSize();
  const value = readOperand(0);
  if (size == 8) writeOperand(0, bswapOf(value));
  else if (size == 4) writeOperand(0, bswapOf(value) >> 32);
  else writeOperand(0, 0); // undefined for 16 bits: zero, as CPUs do
}

function bswapOf(value: u64): u64 {
  let result: u64 = 0;
  for (let i = 0; i < 8; i++) {
    result = (result << 8) | (value & 0xff);
    value >>= 8;
  }
  return result;
}

/** CBW CWDE CDQE */
export function cbw(): void {
  const size = opSize();
  writeGpr(Reg.RAX, size, signExtend(readGpr(Reg.RAX, size >> 1), size >> 1));
}

/** CWD CDQ CQO */
export function cwd(): void {
  const size = opSize();
  writeGpr(Reg.RDX, size, signExtend(readGpr(Reg.RAX, size), size) >> 63 ? ~(<u64>0) : 0);
}

export function movExtended(sign: bool): void {
  const value = readOperand(1);
  if (M.fault >= 0) return;
  writeOperand(0, sign ? signExtend(value, sizeOf(1)) & sizeMask(sizeOf(0)) : value);
}

/** LAHF, SAHF */
export function lahf(): void {
  setReg(Reg.RAX, (reg(Reg.RAX) & ~(<u64>0xff00)) | (((flags() & 0xd5) | 2) << 8));
}

export function sahf(): void {
  setFlags((flags() & ~(<u64>0xd5)) | ((reg(Reg.RAX) >> 8) & 0xd5));
}

/** Is condition 0..15 true? */
export function condition(code: i32): bool {
  const f = flags();
  let result: bool;
  switch (code >> 1) {
    case 0:
      result = (f & FLAG_OF) != 0;
      break;
    case 1:
      result = (f & FLAG_CF) != 0;
      break;
    case 2:
      result = (f & FLAG_ZF) != 0;
      break;
    case 3:
      result = (f & (FLAG_CF | FLAG_ZF)) != 0;
      break;
    case 4:
      result = (f & FLAG_SF) != 0;
      break;
    case 5:
      result = (f & FLAG_PF) != 0;
      break;
    case 6:
      result = ((f & FLAG_SF) != 0) != ((f & FLAG_OF) != 0);
      break;
    default:
      result = (f & FLAG_ZF) != 0 || ((f & FLAG_SF) != 0) != ((f & FLAG_OF) != 0);
      break;
  }
  return code & 1 ? !result : result;
}
