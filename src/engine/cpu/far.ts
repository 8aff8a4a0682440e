// Far transfers and returns: IRET, far RET, far JMP and CALL (within the same privilege level), SYSCALL and its kin
// (facts 5.9, 6.x, 7.10 to 7.15, 11.x).

import { Attr, CtxBy, Kind, Lack, Op, Rec, Reg, Seg, State } from "../abi";
import { interrupted } from "../owed/contexts";
import { couldNotPop, returned } from "../owed/resume";
import { linear, peek, push, readMemory, setStackPointer, stackPointer } from "./access";
import { stackReplaced, writableFlags } from "./control";
import { effective, immediate, kindOf, opSize, segment } from "./operands";
import { Access } from "./paging";
import { Descriptor, dropInaccessible, markAccessed, needDescriptor, setSegment } from "./segments";
import {
  canonical,
  clearState,
  cpl,
  EFER_SCE,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  flags,
  GP,
  long64,
  longMode,
  M,
  NP,
  raise,
  reg,
  SS,
  segReg,
  setCpl,
  setFlags,
  setReg,
  setState,
  state,
  UD,
  unsupported,
} from "./state";

/** A code segment that a return or far transfer is about to load; held while SS is looked at. */
class Code {
  static selector: u64 = 0;
  static base: u64 = 0;
  static limit: u64 = 0;
  static attr: u64 = 0;
  static at: u64 = 0;
  static raw: u64 = 0;

  static hold(selector: u64): void {
    Code.selector = selector;
    Code.base = Descriptor.base;
    Code.limit = Descriptor.limit;
    Code.attr = Descriptor.attr;
    Code.at = Descriptor.at;
    Code.raw = Descriptor.raw;
  }

  /** Sets the accessed bit; that write may fault, so it comes before anything is committed. */
  static mark(): bool {
    Descriptor.at = Code.at;
    Descriptor.raw = Code.raw;
    Descriptor.attr = Code.attr;
    markAccessed();
    Code.attr = Descriptor.attr;
    return M.fault < 0;
  }

  static commit(level: i32): void {
    setSegment(Seg.CS, (Code.selector & 0xfffc) | <u64>level, Code.base, Code.limit, Code.attr);
  }

  static is64(): bool {
    return longMode() && (Code.attr & Attr.L) != 0;
  }
}

/** Reads and checks the code segment of a return (6.4, 7.13). */
function returnCode(selector: u64): bool {
  const error = selector & 0xfffc;
  const rpl = <i32>(selector & 3);
  if (error == 0) {
    raise(GP, 0);
    return false;
  }
  if (!needDescriptor(selector, error)) return false;
  if (
    rpl < cpl() ||
    !Descriptor.isCode() ||
    (Descriptor.conforming() ? Descriptor.dpl() > rpl : Descriptor.dpl() != rpl)
  ) {
    raise(GP, error);
    return false;
  }
  if (longMode() && (Descriptor.attr & (Attr.L | Attr.DB)) == (Attr.L | Attr.DB)) {
    raise(GP, error);
    return false;
  }
  if (!Descriptor.present()) {
    raise(NP, error);
    return false;
  }
  Code.hold(selector);
  return true;
}

function targetInCode(rip: u64): bool {
  if (Code.is64() ? canonical(rip) : (rip & 0xffffffff) <= Code.limit) return true;
  raise(GP, 0); // before CPL changes (6.6)
  return false;
}

/** The stack segment of a return to another level; held while the code segment is marked. */
class Stack {
  static selector: u64 = 0;
  static pointer: u64 = 0;
  static base: u64 = 0;
  static limit: u64 = 0;
  static attr: u64 = 0;

  static hold(): bool {
    if ((Descriptor.attr & Attr.NULL) == 0) markAccessed();
    Stack.base = Descriptor.base;
    Stack.limit = Descriptor.limit;
    Stack.attr = Descriptor.attr;
    return M.fault < 0;
  }
}

/** Checks the stack segment of a return (6.5); with a null selector Descriptor.attr is set to Attr.NULL. */
function returnStack(selector: u64, level: i32): bool {
  const error = selector & 0xfffc;
  if (error == 0) {
    if (Code.is64() && level != 3 && <i32>(selector & 3) == level) {
      Descriptor.attr = Attr.NULL;
      return true;
    }
    raise(GP, 0);
    return false;
  }
  if (!needDescriptor(selector, error)) return false;
  if (
    <i32>(selector & 3) != level ||
    !Descriptor.isData() ||
    (Descriptor.attr & Attr.RW) == 0 ||
    Descriptor.dpl() != level
  ) {
    raise(GP, error);
    return false;
  }
  if (!Descriptor.present()) {
    raise(SS, error);
    return false;
  }
  return true;
}

/** Reads RSP and SS from the frame, `at` bytes above the stack pointer, and checks the segment. */
function peekReturnStack(at: u64, size: i32, level: i32): bool {
  Stack.pointer = peek(at, size);
  if (M.fault >= 0) return false;
  Stack.selector = peek(at + <u64>size, size) & 0xffff;
  return M.fault < 0 && returnStack(Stack.selector, level);
}

function loadReturnStack(level: i32): void {
  if (Stack.attr & Attr.NULL) setSegment(Seg.SS, Stack.selector, 0, 0, Attr.NULL | ((<u64>level) << Attr.DPL_SHIFT));
  else setSegment(Seg.SS, Stack.selector, Stack.base, Stack.limit, Stack.attr);
}

/** RSP of the new stack: SP alone when its segment is a 16-bit one (6.13). */
function loadReturnPointer(value: u64): void {
  const attr = reg(Reg.SS_ATTR);
  if (Code.is64()) setReg(Reg.RSP, value);
  else if (attr & Attr.DB) setReg(Reg.RSP, value & 0xffffffff);
  else setReg(Reg.RSP, (reg(Reg.RSP) & ~(<u64>0xffff)) | (value & 0xffff));
}

/** IRET, IRETD, IRETQ. NMIs are unblocked before anything can fault (2.6); the AMD rule unblocks on completion. */
export function iret(): void {
  const size = opSize();
  if (!M.amd) clearState(State.NMI_BLOCKED);
  if ((flags() & FLAG_NT) != 0) {
    if (longMode()) raise(GP, 0);
    else unsupported(Lack.TASK, 0);
    return;
  }
  const s = <u64>size;
  const popped = linear(Seg.SS, stackPointer(), size, Access.READ);
  const rip = peek(0, size);
  if (M.fault >= 0) {
    couldNotPop(popped);
    return;
  }
  const selector = peek(s, size) & 0xffff;
  if (M.fault >= 0) return;
  const image = peek(2 * s, size);
  if (M.fault >= 0) return;
  if (!longMode() && size == 4 && (image & FLAG_VM) != 0 && cpl() == 0) {
    unsupported(Lack.MODE, FLAG_VM);
    return;
  }
  if (!returnCode(selector)) return;
  const oldCpl = cpl();
  const level = <i32>(selector & 3);
  const from64 = long64();
  const popsStack = level != oldCpl || from64; // 6.2, 6.3
  if (popsStack && !peekReturnStack(3 * s, size, level)) return;
  if (!targetInCode(rip) || (popsStack && !Stack.hold()) || !Code.mark()) return;
  // nothing can fault any more: commit
  if (M.amd) clearState(State.NMI_BLOCKED);
  const before = stackPointer();
  setCpl(level);
  if (popsStack) loadReturnStack(level);
  else setStackPointer(before + 3 * s);
  Code.commit(level);
  if (popsStack) loadReturnPointer(Stack.pointer);
  M.next = Code.is64() ? rip : rip & 0xffffffff;
  loadIretFlags(image, size, oldCpl);
  if (level != oldCpl) dropInaccessible(level);
  if (popsStack) stackReplaced();
  setReg(Reg.RIP, M.next);
  returned(popped, false, oldCpl);
}

/** Flags from an IRET image (6.9). "CPL" is the one before the return. */
function loadIretFlags(image: u64, size: i32, level: i32): void {
  let mask = writableFlags(size, level);
  if (size >= 4) {
    mask |= FLAG_RF;
    if (level == 0) mask |= FLAG_VIF | FLAG_VIP;
  }
  setFlags((flags() & ~mask) | (image & mask) | 2);
}

/** Far RET, with or without an immediate (7.10 to 7.15). */
export function retFar(): void {
  const size = opSize();
  const s = <u64>size;
  const extra: u64 = kindOf(0) == Kind.IMM ? immediate() & 0xffff : 0;
  const popped = linear(Seg.SS, stackPointer(), size, Access.READ);
  const rip = peek(0, size);
  if (M.fault >= 0) {
    couldNotPop(popped);
    return;
  }
  const selector = peek(s, size) & 0xffff;
  if (M.fault >= 0) return;
  if (!returnCode(selector)) return;
  const oldCpl = cpl();
  const level = <i32>(selector & 3);
  const before = stackPointer();
  const outward = level != oldCpl;
  if (outward && !peekReturnStack(2 * s + extra, size, level)) return;
  if (!targetInCode(rip) || (outward && !Stack.hold()) || !Code.mark()) return;
  setCpl(level);
  if (outward) loadReturnStack(level);
  else setStackPointer(before + 2 * s + extra); // by the stack's width before CS changes (7.15)
  Code.commit(level);
  if (outward) {
    loadReturnPointer(Stack.pointer + extra);
    dropInaccessible(level);
    stackReplaced();
  }
  M.next = Code.is64() ? rip : rip & 0xffffffff;
  setReg(Reg.RIP, M.next);
  returned(popped, false, oldCpl);
}

/** Far JMP and CALL to a code segment of the same privilege; gates and task switches are not in the model. */
export function farTransfer(op: i32): void {
  const size = opSize();
  let rip: u64;
  let selector: u64;
  if (kindOf(0) == Kind.FAR) {
    rip = immediate();
    selector = load<u64>(M.rec, Rec.IMM2);
  } else {
    rip = readMemory(segment(), effective(), size);
    if (M.fault >= 0) return;
    selector = readMemory(segment(), effective() + <u64>size, 2);
    if (M.fault >= 0) return;
  }
  const error = selector & 0xfffc;
  if (error == 0) {
    raise(GP, 0);
    return;
  }
  if (!needDescriptor(selector, error)) return;
  if ((Descriptor.attr & Attr.S) == 0) {
    unsupported(Lack.TASK, selector);
    return;
  }
  const rpl = <i32>(selector & 3);
  const conforming = Descriptor.conforming();
  if (
    !Descriptor.isCode() ||
    (conforming ? Descriptor.dpl() > cpl() : rpl > cpl() || Descriptor.dpl() != cpl()) ||
    (longMode() && (Descriptor.attr & (Attr.L | Attr.DB)) == (Attr.L | Attr.DB))
  ) {
    raise(GP, error);
    return;
  }
  if (!Descriptor.present()) {
    raise(NP, error);
    return;
  }
  Code.hold(selector);
  if (!targetInCode(rip) || !Code.mark()) return;
  if (op == Op.CALLF) {
    const before = reg(Reg.RSP);
    push(size, reg(segReg(Seg.CS)));
    if (M.fault < 0) push(size, M.next);
    if (M.fault >= 0) {
      setReg(Reg.RSP, before);
      return;
    }
  }
  Code.commit(cpl());
  M.next = Code.is64() ? rip : rip & 0xffffffff;
}

const FLAT_CODE64: u64 = 0xa9b;
const FLAT_CODE32: u64 = 0xc9b;
const FLAT_DATA: u64 = 0xc93;

function flat(seg: i32, selector: u64, attr: u64, level: i32): void {
  setSegment(seg, selector, 0, 0xffffffff, attr | ((<u64>level) << Attr.DPL_SHIFT));
}

/** SYSCALL (11.1): RSP, GS and CR3 stay the user's. Intel: 64-bit mode only (11.2). */
export function syscall(): void {
  if ((reg(Reg.EFER) & EFER_SCE) == 0 || (!long64() && !(M.amd && longMode()))) {
    raise(UD, 0);
    return;
  }
  const oldCpl = cpl();
  const oldFlags = flags() & ~FLAG_RF;
  const oldCs = reg(segReg(Seg.CS));
  const oldSs = reg(segReg(Seg.SS));
  const before = state();
  const wide = long64();
  setReg(Reg.RCX, M.next);
  setReg(Reg.R11, oldFlags);
  const back = M.next;
  M.next = wide ? reg(Reg.LSTAR) : reg(Reg.CSTAR);
  setFlags((flags() & ~reg(Reg.FMASK) & ~FLAG_RF) | 2);
  setCpl(0);
  const selector = (reg(Reg.STAR) >> 32) & 0xfffc;
  flat(Seg.CS, selector, FLAT_CODE64, 0);
  flat(Seg.SS, selector + 8, FLAT_DATA, 0);
  interrupted(
    CtxBy.SYSCALL,
    oldCpl,
    back,
    oldCs,
    oldFlags,
    reg(Reg.RSP),
    oldSs,
    reg(Reg.GS_BASE),
    reg(Reg.KERNEL_GS_BASE),
    before,
    0,
    0,
  );
  if (oldCpl == 3) setState(State.USER_RSP);
}

/** SYSRET (11.4): Intel checks RCX at CPL 0, AMD faults at the target (11.5). */
export function sysret(): void {
  if ((reg(Reg.EFER) & EFER_SCE) == 0 || !long64()) {
    raise(UD, 0);
    return;
  }
  if (cpl() != 0) {
    raise(GP, 0);
    return;
  }
  const wide = opSize() == 8;
  const rip = wide ? reg(Reg.RCX) : reg(Reg.RCX) & 0xffffffff;
  if (wide && !M.amd && !canonical(rip)) {
    raise(GP, 0);
    return;
  }
  setFlags((reg(Reg.R11) & 0x3c7fd7) | 2);
  const base = (reg(Reg.STAR) >> 48) & 0xffff;
  setCpl(3);
  if (wide) flat(Seg.CS, (base + 16) | 3, FLAT_CODE64, 3);
  else flat(Seg.CS, base | 3, FLAT_CODE32, 3);
  flat(Seg.SS, (base + 8) | 3, FLAT_DATA, 3);
  clearState(State.USER_RSP);
  M.next = rip;
  setReg(Reg.RIP, rip);
  returned(0, false, 0);
}

/** SYSENTER (11.8): saves nothing; clears IF, VM and RF, TF survives (8.15). */
export function sysenter(): void {
  const selector = reg(Reg.SYSENTER_CS) & 0xfffc;
  if (M.amd && longMode()) {
    raise(UD, 0); // AMD has them in legacy mode only
    return;
  }
  if (selector == 0) {
    raise(GP, 0);
    return;
  }
  const oldCpl = cpl();
  const oldFlags = flags();
  const oldCs = reg(segReg(Seg.CS));
  const oldSs = reg(segReg(Seg.SS));
  const oldRsp = reg(Reg.RSP);
  const before = state();
  const back = M.next;
  setFlags(flags() & ~(FLAG_VM | FLAG_IF | FLAG_RF));
  setCpl(0);
  flat(Seg.CS, selector, longMode() ? FLAT_CODE64 : FLAT_CODE32, 0);
  flat(Seg.SS, selector + 8, FLAT_DATA, 0);
  interrupted(
    CtxBy.SYSENTER,
    oldCpl,
    back,
    oldCs,
    oldFlags,
    oldRsp,
    oldSs,
    reg(Reg.GS_BASE),
    reg(Reg.KERNEL_GS_BASE),
    before,
    0,
    0,
  );
  setReg(Reg.RSP, longMode() ? reg(Reg.SYSENTER_ESP) : reg(Reg.SYSENTER_ESP) & 0xffffffff);
  M.next = longMode() ? reg(Reg.SYSENTER_EIP) : reg(Reg.SYSENTER_EIP) & 0xffffffff;
  clearState(State.USER_RSP);
}

/** SYSEXIT (11.9): RIP from RDX, RSP from RCX; RFLAGS untouched. */
export function sysexit(): void {
  if (M.amd && longMode()) {
    raise(UD, 0);
    return;
  }
  const base = reg(Reg.SYSENTER_CS) & 0xfffc;
  const wide = opSize() == 8;
  if (base == 0 || cpl() != 0 || (wide && (!canonical(reg(Reg.RDX)) || !canonical(reg(Reg.RCX))))) {
    raise(GP, 0);
    return;
  }
  const mask: u64 = wide ? ~(<u64>0) : 0xffffffff;
  setCpl(3);
  flat(Seg.CS, (base + (wide ? 32 : 16)) | 3, wide ? FLAT_CODE64 : FLAT_CODE32, 3);
  flat(Seg.SS, (base + (wide ? 40 : 24)) | 3, FLAT_DATA, 3);
  setReg(Reg.RSP, reg(Reg.RCX) & mask);
  clearState(State.USER_RSP);
  M.next = reg(Reg.RDX) & mask;
  setReg(Reg.RIP, M.next);
  returned(0, false, 0);
}
