// Near jumps, calls and returns; the stack instructions that go with them.

import { Kind, Op, Rec, RecFlag, Reg, Seg, State, Tag } from "../abi";
import { isUserRsp } from "../owed/contexts";
import { returned } from "../owed/resume";
import { maskStack, peek, pop, prepare, push, setStackPointer, stackPointer, writeStack } from "./access";
import { condition } from "./alu";
import { immediate, kindOf, opSize, readGpr, readOperand, sizeOf, writeGpr, writeOperand } from "./operands";
import { Access } from "./paging";
import { loadSegment, openStackShadow } from "./segments";
import {
  canonical,
  clearState,
  cpl,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  flags,
  GP,
  long64,
  M,
  raise,
  reg,
  segReg,
  setFlags,
  setReg,
  setState,
  sizeMask,
} from "./state";

/** Checks a near branch target (canonical, or within the CS limit) and goes there when the instruction ends. */
export function branch(target: u64, size: i32): void {
  target &= sizeMask(size);
  if (long64() ? !canonical(target) : target > reg(Reg.CS_LIMIT)) {
    raise(GP, 0);
    return;
  }
  M.next = target;
}

/** Operand size of a near branch: Intel ignores 66 in 64-bit mode, AMD truncates (7.9). */
function branchSize(): i32 {
  if (long64()) return M.amd && (load<u8>(M.rec, Rec.FLAGS) & RecFlag.O16) != 0 ? 2 : 8;
  return opSize();
}

function target(): u64 {
  return kindOf(0) == Kind.REL ? M.next + immediate() : readOperand(0);
}

export function jump(): void {
  const to = target();
  if (M.fault < 0) branch(to, branchSize());
}

export function jumpIf(): void {
  if (condition(<i32>load<u8>(M.rec, Rec.COND))) branch(M.next + immediate(), branchSize());
}

export function call(): void {
  const size = branchSize();
  const to = target();
  if (M.fault >= 0) return;
  const back = M.next;
  branch(to, size);
  if (M.fault < 0) push(size, back);
}

export function ret(): void {
  const size = branchSize();
  const at = stackPointer();
  const to = peek(0, size);
  if (M.fault >= 0) return;
  branch(to, size);
  if (M.fault >= 0) return;
  setStackPointer(at + <u64>size + (kindOf(0) == Kind.IMM ? immediate() & 0xffff : 0));
  if (load<u32>(M.rec, Rec.TAGS) & Tag.RESUME_RET) {
    setReg(Reg.RIP, M.next);
    returned(at, true, cpl());
  }
}

/** LOOP, LOOPE, LOOPNE, JCXZ: the counter is RCX in the address size. */
export function loop(op: i32): void {
  const width = <i32>load<u8>(M.rec, Rec.ADDRSIZE);
  if (op == Op.JCXZ) {
    if (readGpr(Reg.RCX, width) == 0) branch(M.next + immediate(), branchSize());
    return;
  }
  const left = (reg(Reg.RCX) - 1) & sizeMask(width);
  const zero = (flags() & 0x40) != 0;
  const taken = left != 0 && (op == Op.LOOP || (op == Op.LOOPE) == zero);
  if (taken) branch(M.next + immediate(), branchSize());
  if (M.fault < 0) writeGpr(Reg.RCX, width, left);
}

// --- stack instructions ------------------------------------------------------------------------------------------

export function pushOperand(): void {
  const size = opSize();
  const kind = kindOf(0);
  let value: u64;
  if (kind == Kind.SREG) value = reg(segReg(<i32>load<u8>(M.rec, Rec.REG0)));
  else if (kind == Kind.IMM) value = immediate();
  else value = readOperand(0);
  if (M.fault < 0) push(size, value);
}

/** POP: the memory operand's address is computed with the incremented RSP. */
export function popOperand(): void {
  const size = opSize();
  const kind = kindOf(0);
  if (kind == Kind.SREG) {
    const seg = <i32>load<u8>(M.rec, Rec.REG0);
    const selector = peek(0, size);
    if (M.fault >= 0) return;
    const before = M.shadows;
    loadSegment(seg, selector);
    if (M.fault >= 0) return;
    setStackPointer(stackPointer() + <u64>size);
    if (seg == Seg.SS) openStackShadow(before);
    return;
  }
  const value = pop(size);
  if (M.fault < 0) writeOperand(0, value);
}

export function pushAll(): void {
  const size = opSize();
  const sp = reg(Reg.RSP);
  // all probed first, in the order of the pushes: the first that cannot be done is the one that faults
  for (let r = 1; r <= 8 && M.fault < 0; r++)
    prepare(Seg.SS, maskStack(stackPointer() - <u64>(r * size)), size, Access.WRITE);
  for (let r = 0; r < 8 && M.fault < 0; r++) push(size, r == Reg.RSP ? sp : reg(r));
}

export function popAll(): void {
  const size = opSize();
  for (let r = 0; r < 8 && M.fault < 0; r++) peek(<u64>(r * size), size); // a fault leaves every register as it was
  for (let r = 7; r >= 0 && M.fault < 0; r--) {
    const value = pop(size);
    if (M.fault < 0 && r != Reg.RSP) writeGpr(r, size, value);
  }
}

/** PUSHF shows VM and RF as zero (7.6). */
export function pushFlags(): void {
  push(opSize(), flags() & ~(FLAG_VM | FLAG_RF));
}

/** Which bits an image of RFLAGS may change at this CPL and IOPL (6.9, 7.2). */
export function writableFlags(size: i32, level: i32): u64 {
  let mask: u64 = 0xcd5 | FLAG_TF | FLAG_DF | FLAG_NT;
  if (level == 0) mask |= FLAG_IOPL;
  if (<u64>level <= (flags() & FLAG_IOPL) >> 12) mask |= FLAG_IF;
  if (size >= 4) mask |= FLAG_AC | FLAG_ID;
  return mask;
}

/** POPF: RF becomes 0, VM, VIF and VIP stay (7.2). */
export function popFlags(): void {
  const size = opSize();
  const image = pop(size);
  if (M.fault >= 0) return;
  const mask = writableFlags(size, cpl());
  setFlags((flags() & ~mask & ~FLAG_RF) | (image & mask) | 2);
}

/** ENTER with nesting levels. */
export function enter(): void {
  const size = opSize();
  const bytes = immediate() & 0xffff;
  const level = load<u64>(M.rec, Rec.IMM2) & 31;
  const base = reg(Reg.RBP);
  let sp = maskStack(stackPointer() - <u64>size);
  // the frame is probed first, so that a fault leaves everything as it was
  writeStack(sp, size, base);
  const frame = sp;
  for (let i: u64 = 1; i < level && M.fault < 0; i++) {
    const value = peekAt(maskStack(base - i * <u64>size), size);
    sp = maskStack(sp - <u64>size);
    if (M.fault < 0) writeStack(sp, size, value);
  }
  if (level > 0 && M.fault < 0) {
    sp = maskStack(sp - <u64>size);
    writeStack(sp, size, frame);
  }
  const last = maskStack(sp - bytes);
  prepare(Seg.SS, last, size, Access.WRITE);
  if (M.fault >= 0) return;
  writeGpr(Reg.RBP, size, frame); // with 66 the upper part of RBP stays
  setStackPointer(last);
}

function peekAt(offset: u64, size: i32): u64 {
  const before = reg(Reg.RSP);
  setStackPointer(offset);
  const value = peek(0, size);
  setReg(Reg.RSP, before);
  return value;
}

export function leave(): void {
  const size = opSize();
  const before = reg(Reg.RSP);
  setStackPointer(reg(Reg.RBP));
  const value = pop(size);
  if (M.fault < 0) writeGpr(Reg.RBP, size, value);
  else setReg(Reg.RSP, before);
}

/**
 * RSP got a value that is not a step from the old one: is it a stack that user code chose? (property user-stack).
 * Called after every instruction that wrote RSP as its destination.
 */
export function stackReplaced(): void {
  if (isUserRsp(reg(Reg.RSP))) setState(State.USER_RSP);
  else clearState(State.USER_RSP);
}

/** MOVNTI, MOV and the like: plain copy of operand 1 to operand 0. */
export function move(): void {
  const value = kindOf(1) == Kind.IMM ? immediate() & sizeMask(sizeOf(0)) : readOperand(1);
  if (M.fault < 0) writeOperand(0, value);
}

/** CMOVcc reads its source in any case; a 32-bit destination is zero-extended even when nothing moves. */
export function moveIf(): void {
  const value = readOperand(1);
  if (M.fault >= 0) return;
  writeOperand(0, condition(<i32>load<u8>(M.rec, Rec.COND)) ? value : readOperand(0));
}
