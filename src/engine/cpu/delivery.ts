// What one delivery is about, from the event to the handler: filled step by step, used by the frames of both modes.

import { CtxBy, Prop, Reg, Seg, State } from "../abi";
import { interrupted } from "../owed/contexts";
import { watch, writeSystem } from "./access";
import { Config } from "./config";
import { Descriptor, setSegment } from "./segments";
import {
  AC,
  clearState,
  cpl,
  DB,
  DF,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  flags,
  M,
  PF,
  reg,
  segReg,
  setCpl,
  setFlags,
  setReg,
  TS,
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

export class Delivery {
  static vector: i32 = 0;
  static source: Source = Source.EXTERNAL;
  /** error code, where the vector has one */
  static code: u64 = 0;
  /** RIP to save */
  static rip: u64 = 0;
  /** the context's own instruction has faulted */
  static faulted: bool = false;
  /** EXT bit of the error codes of faults during delivery (4.20) */
  static ext: u64 = 0;
  /** first 8 bytes of the gate, and its type */
  static gate: u64 = 0;
  static type: i32 = 0;
  // the gate's code segment
  static selector: u64 = 0;
  static base: u64 = 0;
  static limit: u64 = 0;
  static attr: u64 = 0;
  /** CPL of the handler */
  static cpl: i32 = 0;
  // what is interrupted
  static oldState: u64 = 0;
  static oldCpl: i32 = 0;
  static oldRsp: u64 = 0;
  static oldFlags: u64 = 0;
  static oldCs: u64 = 0;
  static oldSs: u64 = 0;

  /** Takes the code segment from the descriptor read last; a conforming one leaves CPL as it is (4.5). */
  static holdCode(selector: u64): void {
    Delivery.selector = selector;
    Delivery.base = Descriptor.base;
    Delivery.limit = Descriptor.limit;
    Delivery.attr = Descriptor.attr;
    Delivery.oldCpl = cpl();
    Delivery.cpl = Descriptor.conforming() ? Delivery.oldCpl : Descriptor.dpl();
  }

  /** Takes what will be saved. */
  static holdInterrupted(): void {
    Delivery.oldRsp = reg(Reg.RSP);
    Delivery.oldFlags = flags();
    Delivery.oldCs = reg(segReg(Seg.CS));
    Delivery.oldSs = reg(segReg(Seg.SS));
  }

  /** Is an error code pushed? Never for INT n and interrupts with those vectors (4.19). */
  static hasCode(): bool {
    if (Delivery.source == Source.EXTERNAL || Delivery.source == Source.SOFTWARE) return false;
    const vector = Delivery.vector;
    return vector == DF || (vector >= TS && vector <= PF) || vector == AC || vector == 21;
  }

  /** RFLAGS as pushed: faults set RF, general detect too, but not #DB for an instruction breakpoint (4.16). */
  static savedFlags(): u64 {
    if (Delivery.source == Source.SOFTWARE) return flags() & ~FLAG_RF;
    const fault = Delivery.source == Source.FAULT && (Delivery.vector != DB || M.generalDetect);
    return fault ? flags() | FLAG_RF : flags();
  }
}

/** Properties of the frame that is about to be pushed. */
export function checkFrameBounds(low: u64, high: u64, switched: bool): void {
  if (Delivery.cpl != 0) return;
  if (!switched && (Delivery.oldState & State.USER_RSP) != 0 && Config.checks(Prop.USER_STACK))
    violate(Prop.USER_STACK, low, 1);
  else if (Config.checks(Prop.STACK_BOUNDS) && Config.stackOf(low, high) < 0)
    violate(Prop.STACK_BOUNDS, low, high - low);
}

/** A word of the frame: the CPU's own write, seen by watchpoints like any other. */
export function put(address: u64, size: i32, value: u64): void {
  if (M.fault >= 0) return;
  writeSystem(address, size, value);
  if (M.fault < 0) watch(address, size, true);
}

/** The frame stands at [low, high) and nothing can fail any more: CPL, CS, RIP, RSP, flags; and the context is owed. */
export function enterHandler(target: u64, rsp: u64, switched: bool, low: u64, high: u64): void {
  setCpl(Delivery.cpl);
  const selector = (Delivery.selector & ~(<u64>3)) | <u64>Delivery.cpl;
  setSegment(Seg.CS, selector, Delivery.base, Delivery.limit, Delivery.attr);
  setReg(Reg.RSP, rsp);
  setReg(Reg.RIP, target);
  // TF, VM, RF, NT go at every gate, IF at an interrupt gate (4.15)
  const kept = flags() & ~(FLAG_TF | FLAG_VM | FLAG_RF | FLAG_NT);
  setFlags((Delivery.type & 1) == 0 ? kept & ~FLAG_IF : kept);
  if (switched) clearState(State.USER_RSP);
  M.deliveredFrame = low;
  interrupted(
    <u64>Delivery.vector | (Delivery.faulted ? <u64>CtxBy.FAULT : 0),
    Delivery.oldCpl,
    Delivery.rip,
    Delivery.oldCs,
    Delivery.oldFlags,
    Delivery.oldRsp,
    Delivery.oldSs,
    reg(Reg.GS_BASE),
    reg(Reg.KERNEL_GS_BASE),
    Delivery.oldState,
    low,
    high,
  );
}
