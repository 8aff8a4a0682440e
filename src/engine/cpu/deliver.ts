// Delivery of interrupts and exceptions through the IDT (SDM vol. 3, chapter 6; facts 4.x for 64-bit, 5.x for 32-bit),
// with double and triple faults.

import { Attr, CtxBy, Lack, Prop, Reg, Seg, State } from "../abi";
import { interrupted } from "../owed/contexts";
import { readSystem, stackSize, watch, writeSystem } from "./access";
import { Config } from "./config";
import { latchCr2 } from "./paging";
import { Descriptor, markAccessed, readDescriptor, setSegment } from "./segments";
import {
  AC,
  canonical,
  clearState,
  cpl,
  DB,
  DEBUGCTL_BTF,
  DF,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  flags,
  GP,
  longMode,
  M,
  NP,
  PF,
  raise,
  reg,
  SS,
  segReg,
  setCold,
  setCpl,
  setFlags,
  setReg,
  setState,
  state,
  TS,
  unsupported,
  violate,
} from "./state";

/** How an event came about; decides the DPL check, EXT, RF and what the context is owed. */
export enum Source {
  /** NMI, INTR, #MC: from outside */
  EXTERNAL = 0,
  /** a fault of the instruction at RIP */
  FAULT,
  /** a trap (#DB after an instruction, INT1) */
  TRAP,
  /** INT n, INT3, INTO */
  SOFTWARE,
}

const SHADOWS: u64 = State.SHADOW_SS | State.SHADOW_STI | State.NMI_HELD | State.HALTED;

function pushesErrorCode(vector: i32): bool {
  return vector == DF || (vector >= TS && vector <= PF) || vector == AC || vector == 21;
}

function contributory(vector: i32): bool {
  return vector == 0 || (vector >= TS && vector <= GP) || vector == 21;
}

function shutdown(): void {
  setState(State.SHUTDOWN);
  M.fault = -1;
  if (Config.checks(Prop.NO_SHUTDOWN)) violate(Prop.NO_SHUTDOWN, 3, 0);
}

/**
 * Delivers an event. `rip` is the RIP to save. Faults during delivery become events of their own, combine to a double
 * fault, or shut the CPU down (4.22 to 4.24). Afterwards M.fault is -1, or an abort.
 */
export function deliver(vector: i32, source: Source, code: u64, rip: u64): void {
  let first = vector;
  let benign = source != Source.FAULT; // NMI, INTR, #MC, #DB, INT n are benign first events (4.22, 4.24)
  const stateBefore = state();
  let faulted = source == Source.FAULT; // the context's own instruction has faulted
  while (true) {
    M.fault = -1;
    if (first == PF) latchCr2();
    once(first, source, code, rip, faulted, stateBefore);
    if (M.fault < 0) {
      M.delivered = first;
      clearState(SHADOWS);
      return;
    }
    if (M.fault >= 256) return;
    const second = M.fault;
    if (second == PF) latchCr2(); // also when it becomes a double fault (12.2)
    code = M.faultCode;
    if (first == DF && (contributory(second) || second == PF)) {
      shutdown();
      return;
    }
    const double =
      !benign &&
      ((contributory(first) && contributory(second)) || (first == PF && (contributory(second) || second == PF)));
    if (double) {
      if (!Config.survivesDoubleFault && Config.checks(Prop.NO_SHUTDOWN)) {
        violate(Prop.NO_SHUTDOWN, 2, <u64>second | ((<u64>first) << 8));
        return;
      }
      first = DF;
      code = 0;
    } else {
      first = second;
    }
    if (source == Source.SOFTWARE) faulted = true; // the INT instruction itself has faulted: it will be executed again
    source = Source.FAULT;
    rip = M.rip;
    benign = false;
  }
}

function once(vector: i32, source: Source, code: u64, rip: u64, faulted: bool, stateBefore: u64): void {
  const ext: u64 = source == Source.SOFTWARE ? 0 : 1;
  const gate: u64 = longMode() ? 16 : 8;
  const gateError = <u64>(vector << 3) | 2 | ext;
  if (<u64>vector * gate + gate - 1 > reg(Reg.IDTR_LIMIT)) {
    raise(GP, gateError);
    return;
  }
  const low = readSystem(reg(Reg.IDTR_BASE) + <u64>vector * gate, 8);
  if (M.fault >= 0) return;
  const type = <i32>(low >> 40) & 0x1f;
  const wide = longMode();
  if (!wide && type == 5) {
    unsupported(Lack.TASK, <u64>vector);
    return;
  }
  if (wide ? type != 0xe && type != 0xf : type != 0xe && type != 0xf && type != 6 && type != 7) {
    raise(GP, gateError);
    return;
  }
  if (source == Source.SOFTWARE && <i32>((low >> 45) & 3) < cpl()) {
    raise(GP, <u64>(vector << 3) | 2);
    return;
  }
  if (((low >> 47) & 1) == 0) {
    raise(NP, gateError);
    return;
  }
  const selector = (low >> 16) & 0xffff;
  if ((selector & 0xfffc) == 0) {
    raise(GP, ext);
    return;
  }
  if (!readDescriptor(selector)) {
    raise(GP, (selector & 0xfffc) | ext);
    return;
  }
  if (!Descriptor.isCode() || Descriptor.dpl() > cpl() || (wide && (Descriptor.attr & (Attr.L | Attr.DB)) != Attr.L)) {
    raise(GP, (selector & 0xfffc) | ext);
    return;
  }
  if (!Descriptor.present()) {
    raise(NP, (selector & 0xfffc) | ext);
    return;
  }
  markAccessed(); // may fault, so before anything is committed
  if (M.fault >= 0) return;
  if (wide) deliver64(vector, source, code, rip, low, selector, type, ext, faulted, stateBefore);
  else deliver32(vector, source, code, rip, low, selector, type, ext, faulted, stateBefore);
}

/** RFLAGS as pushed: faults set RF, general detect too, but not #DB for an instruction breakpoint (4.16). */
function savedFlags(vector: i32, source: Source): u64 {
  if (source == Source.SOFTWARE) return flags() & ~FLAG_RF;
  return source == Source.FAULT && (vector != DB || M.generalDetect) ? flags() | FLAG_RF : flags();
}

/** TF, VM, RF, NT go at every gate, IF at an interrupt gate (4.15). */
function gateFlags(type: i32): void {
  let f = flags() & ~(FLAG_TF | FLAG_VM | FLAG_RF | FLAG_NT);
  if ((type & 1) == 0) f &= ~FLAG_IF;
  setFlags(f);
}

function by(vector: i32, faulted: bool): u64 {
  return <u64>vector | (faulted ? <u64>CtxBy.FAULT : 0);
}

/** Properties of the frame that is about to be pushed. */
function checkFrameBounds(low: u64, high: u64, switched: bool, newCpl: i32, stateBefore: u64): void {
  if (newCpl != 0) return;
  if (!switched && (stateBefore & State.USER_RSP) != 0 && Config.checks(Prop.USER_STACK))
    violate(Prop.USER_STACK, low, 1);
  else if (Config.checks(Prop.STACK_BOUNDS) && Config.stackOf(low, high) < 0)
    violate(Prop.STACK_BOUNDS, low, high - low);
}

function deliver64(
  vector: i32,
  source: Source,
  code: u64,
  rip: u64,
  low: u64,
  selector: u64,
  type: i32,
  ext: u64,
  faulted: bool,
  stateBefore: u64,
): void {
  const csBase = Descriptor.base,
    csLimit = Descriptor.limit,
    csAttr = Descriptor.attr;
  const oldCpl = cpl();
  const newCpl = Descriptor.conforming() ? oldCpl : Descriptor.dpl();
  const high = readSystem(reg(Reg.IDTR_BASE) + <u64>vector * 16 + 8, 4);
  if (M.fault >= 0) return;
  const target = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high << 32);
  const ist = (low >> 32) & 7;
  const oldRsp = reg(Reg.RSP);
  let rsp = oldRsp;
  if (ist != 0 || newCpl < oldCpl) {
    const slot: u64 = ist != 0 ? ist * 8 + 28 : <u64>(4 + 8 * newCpl);
    if (slot + 7 > reg(Reg.TR_LIMIT)) {
      raise(TS, (reg(segReg(Seg.TR)) & 0xfffc) | ext);
      return;
    }
    rsp = readSystem(reg(Reg.TR_BASE) + slot, 8);
    if (M.fault >= 0) return;
    if (!canonical(rsp)) {
      raise(SS, ext);
      return;
    }
  }
  const switched = ist != 0 || newCpl < oldCpl;
  if (!canonical(target)) {
    raise(GP, ext);
    return;
  }
  const top = rsp & ~(<u64>0xf);
  const hasCode = source != Source.EXTERNAL && source != Source.SOFTWARE && pushesErrorCode(vector);
  const bottom = top - (hasCode ? 48 : 40);
  if (!canonical(bottom) || !canonical(top - 1)) {
    raise(SS, ext);
    return;
  }
  checkFrameBounds(bottom, top, switched, newCpl, stateBefore);
  if (M.fault >= 0) return;
  const saved = savedFlags(vector, source);
  const oldFlags = flags();
  const oldCs = reg(segReg(Seg.CS));
  const oldSs = reg(segReg(Seg.SS));
  put(top - 8, 8, oldSs);
  put(top - 16, 8, oldRsp);
  put(top - 24, 8, saved);
  put(top - 32, 8, oldCs);
  put(top - 40, 8, rip);
  if (hasCode) put(bottom, 8, code);
  if (M.fault >= 0) return;
  // from here on nothing can fail
  setCpl(newCpl);
  if (newCpl != oldCpl) setSegment(Seg.SS, <u64>newCpl, 0, 0, Attr.NULL | ((<u64>newCpl) << Attr.DPL_SHIFT));
  setSegment(Seg.CS, (selector & ~(<u64>3)) | <u64>newCpl, csBase, csLimit, csAttr);
  setReg(Reg.RSP, bottom);
  setReg(Reg.RIP, target);
  gateFlags(type);
  if (switched) clearState(State.USER_RSP);
  M.deliveredFrame = bottom;
  interrupted(
    by(vector, faulted),
    oldCpl,
    rip,
    oldCs,
    oldFlags,
    oldRsp,
    oldSs,
    reg(Reg.GS_BASE),
    reg(Reg.KERNEL_GS_BASE),
    stateBefore,
    bottom,
    top,
  );
}

/** A word of the frame: the CPU's own write, seen by watchpoints like any other. */
function put(address: u64, size: i32, value: u64): void {
  if (M.fault >= 0) return;
  writeSystem(address, size, value);
  if (M.fault < 0) watch(address, size, true);
}

function deliver32(
  vector: i32,
  source: Source,
  code: u64,
  rip: u64,
  low: u64,
  selector: u64,
  type: i32,
  ext: u64,
  faulted: bool,
  stateBefore: u64,
): void {
  const csBase = Descriptor.base,
    csLimit = Descriptor.limit,
    csAttr = Descriptor.attr;
  const oldCpl = cpl();
  const newCpl = Descriptor.conforming() ? oldCpl : Descriptor.dpl();
  const size: i32 = type >= 0xe ? 4 : 2;
  let target = low & 0xffff;
  if (size == 4) target |= (low >> 32) & 0xffff0000;
  if (target > csLimit) {
    raise(GP, ext);
    return;
  }
  const hasCode = source != Source.EXTERNAL && source != Source.SOFTWARE && pushesErrorCode(vector);
  const inner = newCpl < oldCpl;
  const oldRsp = reg(Reg.RSP);
  const oldSs = reg(segReg(Seg.SS));
  let sp = oldRsp & (stackSize() == 4 ? 0xffffffff : 0xffff);
  let ssSelector = oldSs;
  let ssBase = reg(Reg.SS_BASE),
    ssLimit = reg(Reg.SS_LIMIT),
    ssAttr = reg(Reg.SS_ATTR);
  if (inner) {
    const wide = (reg(Reg.TR_ATTR) & 8) != 0;
    const slot: u64 = wide ? <u64>(4 + 8 * newCpl) : <u64>(2 + 4 * newCpl);
    if (slot + (wide ? 5 : 3) > reg(Reg.TR_LIMIT)) {
      raise(TS, (reg(segReg(Seg.TR)) & 0xfffc) | ext);
      return;
    }
    sp = readSystem(reg(Reg.TR_BASE) + slot, wide ? 4 : 2);
    if (M.fault >= 0) return;
    ssSelector = readSystem(reg(Reg.TR_BASE) + slot + (wide ? 4 : 2), 2);
    if (M.fault >= 0) return;
    const error = (ssSelector & 0xfffc) | ext;
    if ((ssSelector & 0xfffc) == 0) {
      raise(TS, ext);
      return;
    }
    if (
      !readDescriptor(ssSelector) ||
      <i32>(ssSelector & 3) != newCpl ||
      Descriptor.dpl() != newCpl ||
      !Descriptor.isData() ||
      (Descriptor.attr & Attr.RW) == 0
    ) {
      raise(TS, error);
      return;
    }
    if (!Descriptor.present()) {
      raise(SS, error);
      return;
    }
    markAccessed();
    if (M.fault >= 0) return;
    ssBase = Descriptor.base;
    ssLimit = Descriptor.limit;
    ssAttr = Descriptor.attr;
  }
  const words: i32 = (inner ? 5 : 3) + (hasCode ? 1 : 0);
  const mask: u64 = ssAttr & Attr.DB ? 0xffffffff : 0xffff;
  const bottom = (sp - <u64>(words * size)) & mask;
  const expandDown = (ssAttr & Attr.DC) != 0;
  const outside = expandDown ? bottom <= ssLimit : bottom + <u64>(words * size - 1) > ssLimit;
  if (outside) {
    raise(SS, inner ? (ssSelector & 0xfffc) | ext : ext);
    return;
  }
  const frame = (bottom + ssBase) & 0xffffffff;
  checkFrameBounds(frame, frame + <u64>(words * size), inner, newCpl, stateBefore);
  if (M.fault >= 0) return;
  const oldFlags = flags();
  const oldCs = reg(segReg(Seg.CS));
  let at = frame + <u64>(words * size);
  if (inner) {
    at -= <u64>size;
    put(at, size, oldSs);
    at -= <u64>size;
    put(at, size, oldRsp);
  }
  put(at - <u64>size, size, savedFlags(vector, source));
  put(at - <u64>(2 * size), size, oldCs);
  put(at - <u64>(3 * size), size, rip);
  if (hasCode) put(frame, size, code);
  if (M.fault >= 0) return;
  setCpl(newCpl);
  if (inner) setSegment(Seg.SS, ssSelector, ssBase, ssLimit, ssAttr);
  setSegment(Seg.CS, (selector & ~(<u64>3)) | <u64>newCpl, csBase, csLimit, csAttr);
  setReg(Reg.RSP, mask == 0xffffffff ? bottom : (reg(Reg.RSP) & ~mask) | bottom);
  setReg(Reg.RIP, target);
  gateFlags(type);
  if (inner) clearState(State.USER_RSP);
  M.deliveredFrame = frame;
  interrupted(
    by(vector, faulted),
    oldCpl,
    rip,
    oldCs,
    oldFlags,
    oldRsp,
    oldSs,
    reg(Reg.GS_BASE),
    reg(Reg.KERNEL_GS_BASE),
    stateBefore,
    frame,
    frame + <u64>(words * size),
  );
}

/**
 * #DB: DR6 gets its bits, GD goes (8.6, 8.8). B0..B3 are replaced, BS, BT and BD stay until software clears them. Without
 * any bit (INT1) DR6 stays as it is (8.11).
 */
export function debugException(bits: u64, source: Source, rip: u64): void {
  if (bits != 0) setCold(Reg.DR6, (reg(Reg.DR6) & ~(<u64>0xf)) | (bits & 0xf) | (bits & 0xe000));
  setCold(Reg.DR7, reg(Reg.DR7) & ~(<u64>0x2000));
  setCold(Reg.DEBUGCTL, reg(Reg.DEBUGCTL) & ~DEBUGCTL_BTF); // 8.17
  deliver(DB, source, 0, rip);
}
