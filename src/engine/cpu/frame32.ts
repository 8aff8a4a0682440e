// The frame of a delivery in protected mode (facts 5.1 to 5.4): SS:ESP from the TSS and in the frame only when CPL changes;
// 16-bit gates push words.

import { Attr, Reg, Seg } from "../abi";
import { readSystem, stackSize } from "./access";
import { checkFrameBounds, Delivery, enterHandler, put } from "./delivery";
import { Descriptor, markAccessed, readDescriptor, setSegment } from "./segments";
import { GP, M, raise, reg, SS, segReg, TS } from "./state";

/** The handler's stack. */
class Stack {
  static selector: u64 = 0;
  static base: u64 = 0;
  static limit: u64 = 0;
  static attr: u64 = 0;
  static pointer: u64 = 0;
}

function sameStack(): void {
  Stack.base = reg(Reg.SS_BASE);
  Stack.limit = reg(Reg.SS_LIMIT);
  Stack.attr = reg(Reg.SS_ATTR);
  Stack.pointer = reg(Reg.RSP) & (stackSize() == 4 ? 0xffffffff : 0xffff);
}

/** SS:ESP of the inner level from the TSS, with the checks of its segment: #TS, or #SS when it is not present. */
function innerStack(): void {
  const wide = (reg(Reg.TR_ATTR) & 8) != 0;
  const slot: u64 = wide ? <u64>(4 + 8 * Delivery.cpl) : <u64>(2 + 4 * Delivery.cpl);
  if (slot + (wide ? 5 : 3) > reg(Reg.TR_LIMIT)) {
    raise(TS, (reg(segReg(Seg.TR)) & 0xfffc) | Delivery.ext);
    return;
  }
  Stack.pointer = readSystem(reg(Reg.TR_BASE) + slot, wide ? 4 : 2);
  if (M.fault >= 0) return;
  Stack.selector = readSystem(reg(Reg.TR_BASE) + slot + (wide ? 4 : 2), 2);
  if (M.fault >= 0) return;
  const error = (Stack.selector & 0xfffc) | Delivery.ext;
  if (
    !readDescriptor(Stack.selector) ||
    <i32>(Stack.selector & 3) != Delivery.cpl ||
    Descriptor.dpl() != Delivery.cpl ||
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
  Stack.base = Descriptor.base;
  Stack.limit = Descriptor.limit;
  Stack.attr = Descriptor.attr;
}

export function deliver32(): void {
  const size: i32 = Delivery.type >= 0xe ? 4 : 2;
  const gate = Delivery.gate;
  const target = size == 4 ? (gate & 0xffff) | ((gate >> 32) & 0xffff0000) : gate & 0xffff;
  if (target > Delivery.limit) {
    raise(GP, Delivery.ext); // 5.4
    return;
  }
  const inner = Delivery.cpl < Delivery.oldCpl;
  if (inner) innerStack();
  else sameStack();
  if (M.fault >= 0) return;
  const words: i32 = (inner ? 5 : 3) + (Delivery.hasCode() ? 1 : 0);
  const bytes = <u64>(words * size);
  const mask: u64 = Stack.attr & Attr.DB ? 0xffffffff : 0xffff;
  const bottom = (Stack.pointer - bytes) & mask;
  const expandDown = (Stack.attr & Attr.DC) != 0;
  if (expandDown ? bottom <= Stack.limit : bottom + bytes - 1 > Stack.limit) {
    raise(SS, inner ? (Stack.selector & 0xfffc) | Delivery.ext : Delivery.ext);
    return;
  }
  const frame = (bottom + Stack.base) & 0xffffffff;
  checkFrameBounds(frame, frame + bytes, inner);
  if (M.fault >= 0) return;
  Delivery.holdInterrupted();
  const s = <u64>size;
  let at = frame + bytes;
  if (inner) {
    put(at - s, size, Delivery.oldSs);
    put(at - 2 * s, size, Delivery.oldRsp);
    at -= 2 * s;
  }
  put(at - s, size, Delivery.savedFlags());
  put(at - 2 * s, size, Delivery.oldCs);
  put(at - 3 * s, size, Delivery.rip);
  if (Delivery.hasCode()) put(frame, size, Delivery.code);
  if (M.fault >= 0) return;
  if (inner) setSegment(Seg.SS, Stack.selector, Stack.base, Stack.limit, Stack.attr);
  const rsp = mask == 0xffffffff ? bottom : (reg(Reg.RSP) & ~mask) | bottom;
  enterHandler(target, rsp, inner, frame, frame + bytes);
}
