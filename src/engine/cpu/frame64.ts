// The frame of a delivery in IA-32e mode (facts 4.6 to 4.12): the stack from the TSS or as it is, aligned to 16 bytes;
// SS, RSP, RFLAGS, CS, RIP and the error code, 8 bytes each, always.

import { Attr, Reg, Seg } from "../abi";
import { readSystem } from "./access";
import { checkFrameBounds, Delivery, enterHandler, put } from "./delivery";
import { setSegment } from "./segments";
import { canonical, GP, M, raise, reg, SS, segReg, TS } from "./state";

/** RSP of the handler before alignment: IST, RSPn of the TSS, or unchanged (4.6, 4.7). */
function handlerStack(ist: u64): u64 {
  if (ist == 0 && Delivery.cpl == Delivery.oldCpl) return reg(Reg.RSP);
  const slot: u64 = ist != 0 ? ist * 8 + 28 : <u64>(4 + 8 * Delivery.cpl);
  if (slot + 7 > reg(Reg.TR_LIMIT)) {
    raise(TS, (reg(segReg(Seg.TR)) & 0xfffc) | Delivery.ext);
    return 0;
  }
  const rsp = readSystem(reg(Reg.TR_BASE) + slot, 8);
  if (M.fault < 0 && !canonical(rsp)) raise(SS, Delivery.ext); // 4.8
  return rsp;
}

export function deliver64(): void {
  const gate = Delivery.gate;
  const high = readSystem(reg(Reg.IDTR_BASE) + <u64>Delivery.vector * 16 + 8, 4);
  if (M.fault >= 0) return;
  const target = (gate & 0xffff) | ((gate >> 32) & 0xffff0000) | (high << 32);
  const ist = (gate >> 32) & 7;
  const switched = ist != 0 || Delivery.cpl < Delivery.oldCpl;
  const rsp = handlerStack(ist);
  if (M.fault >= 0) return;
  if (!canonical(target)) {
    raise(GP, Delivery.ext); // 4.12
    return;
  }
  const top = rsp & ~(<u64>0xf); // 4.9
  const bottom = top - (Delivery.hasCode() ? 48 : 40);
  if (!canonical(bottom) || !canonical(top - 1)) {
    raise(SS, Delivery.ext);
    return;
  }
  checkFrameBounds(bottom, top, switched);
  if (M.fault >= 0) return;
  Delivery.holdInterrupted();
  put(top - 8, 8, Delivery.oldSs);
  put(top - 16, 8, Delivery.oldRsp);
  put(top - 24, 8, Delivery.savedFlags());
  put(top - 32, 8, Delivery.oldCs);
  put(top - 40, 8, Delivery.rip);
  if (Delivery.hasCode()) put(bottom, 8, Delivery.code);
  if (M.fault >= 0) return;
  if (Delivery.cpl != Delivery.oldCpl) {
    setSegment(Seg.SS, <u64>Delivery.cpl, 0, 0, Attr.NULL | ((<u64>Delivery.cpl) << Attr.DPL_SHIFT)); // 4.11
  }
  enterHandler(target, bottom, switched, bottom, top);
}
