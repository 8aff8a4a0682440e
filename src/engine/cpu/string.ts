// String instructions. One step is one iteration: with REP there is a boundary after each (1.8).

import { Op, Rec, RecFlag, Reg, Seg } from "../abi";
import { readMemory, writeMemory } from "./access";
import { setArith, subFlags } from "./alu";
import { opSize, readGpr, segment, writeGpr } from "./operands";
import { permitted, portIn, portOut } from "./ports";
import { FLAG_DF, FLAG_ZF, flags, M, reg, sizeMask } from "./state";

/** Executes one iteration. True: the instruction is to be executed again (RIP stays). */
export function stringStep(op: i32): bool {
  const repeat = (load<u8>(M.rec, Rec.FLAGS) & (RecFlag.REP | RecFlag.REPNE)) != 0;
  const width = <i32>load<u8>(M.rec, Rec.ADDRSIZE);
  if (repeat && readGpr(Reg.RCX, width) == 0) return false;
  iterate(op, width);
  if (M.fault >= 0 || !repeat) return false;
  const left = (reg(Reg.RCX) - 1) & sizeMask(width);
  writeGpr(Reg.RCX, width, left);
  if (left == 0) return false;
  if (op == Op.CMPS || op == Op.SCAS) {
    const equal = (flags() & FLAG_ZF) != 0;
    if (equal == ((load<u8>(M.rec, Rec.FLAGS) & RecFlag.REPNE) != 0)) return false;
  }
  return true;
}

function advance(register: i32, width: i32, size: i32): void {
  const step: u64 = flags() & FLAG_DF ? 0 - <u64>size : <u64>size;
  writeGpr(register, width, reg(register) + step);
}

function iterate(op: i32, width: i32): void {
  const size = opSize();
  const source = readGpr(Reg.RSI, width);
  const destination = readGpr(Reg.RDI, width);
  let value: u64;
  switch (op) {
    case Op.MOVS:
      value = readMemory(segment(), source, size);
      if (M.fault < 0) writeMemory(Seg.ES, destination, size, value);
      break;
    case Op.CMPS: {
      value = readMemory(segment(), source, size);
      if (M.fault >= 0) return;
      const other = readMemory(Seg.ES, destination, size);
      if (M.fault < 0) setArith(subFlags(value, other, 0, size));
      break;
    }
    case Op.STOS:
      writeMemory(Seg.ES, destination, size, readGpr(Reg.RAX, size));
      break;
    case Op.LODS:
      value = readMemory(segment(), source, size);
      if (M.fault < 0) writeGpr(Reg.RAX, size, value);
      break;
    case Op.SCAS:
      value = readMemory(Seg.ES, destination, size);
      if (M.fault < 0) setArith(subFlags(readGpr(Reg.RAX, size), value, 0, size));
      break;
    case Op.INS:
      value = portIn(<i32>readGpr(Reg.RDX, 2), size);
      if (M.fault < 0) writeMemory(Seg.ES, destination, size, value);
      break;
    default:
      // the port's permission counts before the memory operand
      if (!permitted(<i32>readGpr(Reg.RDX, 2), size)) return;
      value = readMemory(segment(), source, size);
      if (M.fault < 0) portOut(<i32>readGpr(Reg.RDX, 2), size);
      break;
  }
  if (M.fault >= 0) return;
  if (op != Op.STOS && op != Op.SCAS && op != Op.INS) advance(Reg.RSI, width, size);
  if (op != Op.LODS && op != Op.OUTS) advance(Reg.RDI, width, size);
}
