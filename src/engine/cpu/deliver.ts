// Delivery of interrupts and exceptions through the IDT (SDM vol. 3, chapter 6; section 4 of the facts): the gate's checks,
// and what becomes of faults during delivery. The frames of the two modes are in frame64.ts and frame32.ts.

import { Attr, Lack, Prop, Reg, State } from "../abi";
import { readSystem } from "./access";
import { Config } from "./config";
import { Delivery, Source } from "./delivery";
import { deliver32 } from "./frame32";
import { deliver64 } from "./frame64";
import { latchCr2 } from "./paging";
import { Descriptor, markAccessed, needDescriptor } from "./segments";
import {
  clearState,
  cpl,
  DB,
  DEBUGCTL_BTF,
  DF,
  GP,
  longMode,
  M,
  NP,
  PF,
  raise,
  reg,
  setCold,
  setState,
  state,
  TS,
  unsupported,
  violate,
} from "./state";

export { Source } from "./delivery";

const SHADOWS: u64 = State.SHADOW_SS | State.SHADOW_STI | State.NMI_HELD | State.HALTED;

function contributory(vector: i32): bool {
  return vector == 0 || (vector >= TS && vector <= GP) || vector == 21;
}

/** Do these two make a double fault (4.22)? */
function doubles(first: i32, second: i32): bool {
  if (contributory(first)) return contributory(second);
  return first == PF && (contributory(second) || second == PF);
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
  let benign = source != Source.FAULT; // NMI, INTR, #MC, #DB, INT n are benign first events (4.22, 4.24)
  Delivery.vector = vector;
  Delivery.source = source;
  Delivery.code = code;
  Delivery.rip = rip;
  Delivery.faulted = source == Source.FAULT;
  Delivery.oldState = state();
  while (true) {
    M.fault = -1;
    if (Delivery.vector == PF) latchCr2();
    throughGate();
    if (M.fault < 0) {
      M.delivered = Delivery.vector;
      clearState(SHADOWS);
      return;
    }
    if (M.fault >= 256) return;
    const first = Delivery.vector;
    const second = M.fault;
    if (second == PF) latchCr2(); // also when it becomes a double fault (12.2)
    if (first == DF && (contributory(second) || second == PF)) {
      shutdown();
      return;
    }
    if (!benign && doubles(first, second)) {
      if (!Config.survivesDoubleFault && Config.checks(Prop.NO_SHUTDOWN)) {
        violate(Prop.NO_SHUTDOWN, 2, <u64>second | ((<u64>first) << 8));
        return;
      }
      Delivery.vector = DF;
      Delivery.code = 0;
    } else {
      Delivery.vector = second;
      Delivery.code = M.faultCode;
    }
    // the INT instruction itself has faulted then: it will be executed again
    if (Delivery.source == Source.SOFTWARE) Delivery.faulted = true;
    Delivery.source = Source.FAULT;
    Delivery.rip = M.rip;
    benign = false;
  }
}

/** The gate and its code segment (4.1 to 4.5, 5.1), then the frame. */
function throughGate(): void {
  const software = Delivery.source == Source.SOFTWARE;
  const ext: u64 = software ? 0 : 1;
  Delivery.ext = ext;
  const vector = <u64>Delivery.vector;
  const wide = longMode();
  const bytes: u64 = wide ? 16 : 8;
  const gateError = (vector << 3) | 2 | ext;
  if (vector * bytes + bytes - 1 > reg(Reg.IDTR_LIMIT)) {
    raise(GP, gateError);
    return;
  }
  const gate = readSystem(reg(Reg.IDTR_BASE) + vector * bytes, 8);
  if (M.fault >= 0) return;
  const type = <i32>(gate >> 40) & 0x1f;
  if (!wide && type == 5) {
    unsupported(Lack.TASK, vector);
    return;
  }
  if (type != 0xe && type != 0xf && (wide || (type != 6 && type != 7))) {
    raise(GP, gateError);
    return;
  }
  if (software && <i32>((gate >> 45) & 3) < cpl()) {
    raise(GP, (vector << 3) | 2);
    return;
  }
  if (((gate >> 47) & 1) == 0) {
    raise(NP, gateError);
    return;
  }
  const selector = (gate >> 16) & 0xffff;
  const error = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) == 0) {
    raise(GP, ext);
    return;
  }
  if (!needDescriptor(selector, error)) return;
  if (!Descriptor.isCode() || Descriptor.dpl() > cpl() || (wide && (Descriptor.attr & (Attr.L | Attr.DB)) != Attr.L)) {
    raise(GP, error);
    return;
  }
  if (!Descriptor.present()) {
    raise(NP, error);
    return;
  }
  markAccessed(); // may fault, so before anything is committed
  if (M.fault >= 0) return;
  Delivery.gate = gate;
  Delivery.type = type;
  Delivery.holdCode(selector);
  if (wide) deliver64();
  else deliver32();
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
