// Shifts, rotates and bit instructions.

import { Kind, Op, Rec } from "../abi";
import { readForWrite, readMemory, writeBack } from "./access";
import { resultFlags, setArith } from "./alu";
import {
  effective,
  kindOf,
  opSize,
  readDestination,
  readOperand,
  segment,
  signExtend,
  writeDestination,
  writeOperand,
} from "./operands";
import { FLAG_AF, FLAG_CF, FLAG_OF, FLAG_ZF, FLAGS_ARITH, flags, M, setFlags, sizeMask } from "./state";

function withFlags(clear: u64, set: u64): void {
  setFlags((flags() & ~clear) | set);
}

/** ROL ROR RCL RCR SHL SHR SAR. The count is masked to 5 bits, to 6 with 64-bit operands; a count of zero changes nothing. */
export function shift(op: i32): void {
  const size = opSize();
  const bits = <u64>(size << 3);
  const count = readOperand(1) & (size == 8 ? 63 : 31);
  const a = readDestination(0);
  if (M.fault >= 0) return;
  if (count == 0) {
    writeDestination(0, a); // a 32-bit register is zero-extended all the same
    return;
  }
  switch (op) {
    case Op.ROL:
      rotate(a, count % bits, bits, size, true);
      break;
    case Op.ROR:
      rotate(a, count % bits, bits, size, false);
      break;
    case Op.RCL:
      rotateCarry(a, count % (bits + 1), bits, size, true);
      break;
    case Op.RCR:
      rotateCarry(a, count % (bits + 1), bits, size, false);
      break;
    default:
      plainShift(op, a, count, bits, size);
      break;
  }
}

function msb(value: u64, bits: u64): u64 {
  return (value >> (bits - 1)) & 1;
}

function rotate(a: u64, count: u64, bits: u64, size: i32, left: bool): void {
  let result = a;
  if (count != 0) {
    result = left ? (a << count) | (a >> (bits - count)) : (a >> count) | (a << (bits - count));
    result &= sizeMask(size);
  }
  writeDestination(0, result);
  const carry = left ? result & 1 : msb(result, bits);
  // OF is defined for counts of one only; CPUs compute it so for all
  const overflow = left ? msb(result, bits) ^ carry : msb(result, bits) ^ msb(result << 1, bits);
  withFlags(FLAG_CF | FLAG_OF, carry | (overflow & 1 ? FLAG_OF : 0));
}

function rotateCarry(a: u64, count: u64, bits: u64, size: i32, left: bool): void {
  let carry = flags() & FLAG_CF;
  let result = a;
  for (let i: u64 = 0; i < count; i++) {
    if (left) {
      const out = msb(result, bits);
      result = ((result << 1) | carry) & sizeMask(size);
      carry = out;
    } else {
      const out = result & 1;
      result = (result >> 1) | (carry << (bits - 1));
      carry = out;
    }
  }
  writeDestination(0, result);
  if (count == 0) return;
  const overflow = left ? msb(result, bits) ^ carry : msb(result, bits) ^ msb(result << 1, bits);
  withFlags(FLAG_CF | FLAG_OF, carry | (overflow & 1 ? FLAG_OF : 0));
}

function plainShift(op: i32, a: u64, count: u64, bits: u64, size: i32): void {
  let result: u64 = 0;
  let carry: u64 = 0;
  let overflow: u64 = 0;
  if (op == Op.SHL) {
    if (count <= bits) carry = (a >> (bits - count)) & 1;
    result = count < 64 ? (a << count) & sizeMask(size) : 0;
    if (count >= bits) result = 0;
    overflow = msb(result, bits) ^ carry;
  } else if (op == Op.SHR) {
    if (count <= bits) carry = (a >> (count - 1)) & 1;
    result = count < bits ? a >> count : 0;
    overflow = msb(a, bits);
  } else {
    const wide = <i64>signExtend(a, size);
    const by = count >= bits ? bits - 1 : count;
    carry = count >= bits ? msb(a, bits) : <u64>(wide >> <i64>(count - 1)) & 1;
    result = <u64>(wide >> <i64>by) & sizeMask(size);
  }
  writeDestination(0, result);
  setArith(resultFlags(result, size) | carry | (overflow & 1 ? FLAG_OF : 0));
}

/** SHLD and SHRD. A count above the operand size gives an undefined result; the model takes the 32-bit concatenation of CPUs. */
export function doubleShift(op: i32): void {
  const size = opSize();
  const bits = <u64>(size << 3);
  let count = readOperand(2) & (size == 8 ? 63 : 31);
  const a = readDestination(0);
  if (M.fault >= 0) return;
  if (count == 0) {
    writeDestination(0, a);
    return;
  }
  const b = readOperand(1);
  let result: u64;
  let carry: u64;
  if (size == 2 && count > 16) {
    // 16-bit: the destination's own bits follow the source's
    count -= 16;
    if (op == Op.SHLD) {
      result = ((b << count) | (a >> (16 - count))) & 0xffff;
      carry = (b >> (16 - count)) & 1;
    } else {
      result = ((b >> count) | (a << (16 - count))) & 0xffff;
      carry = (b >> (count - 1)) & 1;
    }
  } else if (op == Op.SHLD) {
    result = count == bits ? b : ((a << count) | (b >> (bits - count))) & sizeMask(size);
    carry = (a >> (bits - count)) & 1;
  } else {
    result = count == bits ? b : ((a >> count) | (b << (bits - count))) & sizeMask(size);
    carry = (a >> (count - 1)) & 1;
  }
  writeDestination(0, result);
  const overflow = msb(a, bits) ^ msb(result, bits);
  setArith(resultFlags(result, size) | carry | (overflow ? FLAG_OF : 0));
}

/** BT BTS BTR BTC: a register offset reaches beyond a memory operand. */
export function bitTest(op: i32): void {
  const size = opSize();
  const bits = <u64>(size << 3);
  const raw = readOperand(1);
  const bit = raw & (bits - 1);
  let value: u64;
  const memory = kindOf(0) == Kind.MEM;
  if (memory) {
    let address = effective();
    if (kindOf(1) == Kind.GPR) {
      const offset = <i64>signExtend(raw, size) >> <i64>(size == 8 ? 6 : size == 4 ? 5 : 4);
      address += <u64>(offset * <i64>size);
      const width = addressMask();
      address &= width;
    }
    value = op == Op.BT ? readMemory(segment(), address, size) : readForWrite(segment(), address, size);
  } else {
    value = readOperand(0);
  }
  if (M.fault >= 0) return;
  const mask = (<u64>1) << bit;
  withFlags(FLAG_CF, value & mask ? FLAG_CF : 0);
  if (op == Op.BT) return;
  const result = op == Op.BTS ? value | mask : op == Op.BTR ? value & ~mask : value ^ mask;
  if (memory) writeBack(size, result);
  else writeDestination(0, result);
}

function addressMask(): u64 {
  return sizeMask(<i32>load<u8>(M.rec, Rec.ADDRSIZE));
}

/** BSF BSR TZCNT LZCNT POPCNT */
export function bitScan(op: i32): void {
  const size = opSize();
  const bits = <u64>(size << 3);
  const value = readOperand(1);
  if (M.fault >= 0) return;
  switch (op) {
    case Op.BSF:
    case Op.BSR:
      // zero: the destination stays as it was (AMD says so, Intel's CPUs do it); other flags are undefined
      if (value == 0) withFlags(FLAGS_ARITH, FLAG_ZF | 4);
      else {
        const result = op == Op.BSF ? ctz<u64>(value) : 63 - clz<u64>(value);
        writeOperand(0, result);
        withFlags(FLAGS_ARITH, resultFlags(result, size) & ~FLAG_ZF);
      }
      break;
    case Op.TZCNT: {
      const result = value == 0 ? bits : ctz<u64>(value);
      writeOperand(0, result);
      withFlags(FLAG_CF | FLAG_ZF, (value == 0 ? FLAG_CF : 0) | (result == 0 ? FLAG_ZF : 0));
      break;
    }
    case Op.LZCNT: {
      const result = value == 0 ? bits : clz<u64>(value) - (64 - bits);
      writeOperand(0, result);
      withFlags(FLAG_CF | FLAG_ZF, (value == 0 ? FLAG_CF : 0) | (result == 0 ? FLAG_ZF : 0));
      break;
    }
    default:
      writeOperand(0, popcnt<u64>(value));
      withFlags(FLAGS_ARITH | FLAG_AF, value == 0 ? FLAG_ZF : 0);
      break;
  }
}
