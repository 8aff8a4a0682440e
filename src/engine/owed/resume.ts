// The property `resume` and those that are decided when a context gets control back: is it the one that is owed, is it as
// it was? A return that leads nowhere owed is the code's own business (rostedt-2011 jumps to its fix-up by IRET), unless
// it goes to user code, or pops the very frame that delivery pushed for a context.

import { Ctx, CtxBy, Prop, Reg, Seg, State } from "../abi";
import { Config } from "../cpu/config";
import {
  ABORT_VIOLATION,
  clearState,
  cpl,
  FLAG_RF,
  flags,
  M,
  reg,
  segReg,
  setState,
  state,
  violate,
} from "../cpu/state";
import { bodyResumed } from "./body";
import { innermost, owed, settle } from "./contexts";
import { forgetDead, forgetFrame } from "./dead";

/** Bits of a RESUME violation's detail: 0..63 a word of Ctx that differs; else one of these. */
export enum Wrong {
  /** user code runs at an address that no context is owed */
  NOWHERE = 64,
  /** the frame of a context was popped and leads elsewhere */
  FRAME = 65,
  /** the frame of a context was popped, but holds what is left of a nested one */
  STALE = 66,
  /** the CPU is shut down: nothing is resumed any more */
  SHUTDOWN = 67,
}

/**
 * Called after an instruction that may give control back has completed. `popped` is the linear address that RIP was
 * popped from (0 for SYSRET and SYSEXIT), `plain` says that it was a near RET.
 */
export function returned(popped: u64, plain: bool, levelBefore: i32): void {
  const top = innermost();
  if (top == 0) return;
  const rip = reg(Reg.RIP);
  const same = rip == owed(top, Ctx.RIP) && <u64>cpl() == owed(top, Ctx.CPL);
  if (same && (!plain || reg(Reg.RSP) == owed(top, Ctx.RSP))) {
    compare(top);
    if (M.fault >= 0) return;
    resumed(top);
    if (M.fault < 0 && popped >= owed(top, Ctx.FRAME_LOW) && popped < owed(top, Ctx.FRAME_HIGH)) {
      forgetFrame(owed(top, Ctx.FRAME_LOW), owed(top, Ctx.FRAME_HIGH));
    }
  } else if (plain) {
    return;
  } else if (maySkip(owed(top, Ctx.BY)) && Config.isFixup(rip)) {
    resumed(top);
  } else if (cpl() == 3 && levelBefore == 0) {
    wrong(Prop.RESUME, Wrong.NOWHERE, rip);
  } else if (popped != 0 && ownsFrame(popped)) {
    wrong(Prop.RESUME, Wrong.FRAME, popped);
  }
}

/** A return could not read its frame: was it a context's own, of which a nested run has left nothing? */
export function couldNotPop(popped: u64): void {
  if (M.fault != ABORT_VIOLATION || M.property != Prop.STALE_READ || !Config.checks(Prop.RESUME) || !ownsFrame(popped))
    return;
  M.property = Prop.RESUME;
  M.detail = Wrong.STALE;
  M.detail2 = popped;
}

/** A context whose own instruction faulted may go on at a fix-up; SYSENTER saves no address at all (11.8). */
function maySkip(by: u64): bool {
  return (by & CtxBy.FAULT) != 0 || by == CtxBy.SYSENTER;
}

/** Does a frame that delivery pushed for a context start at this address (behind its error code, if any)? */
function ownsFrame(address: u64): bool {
  for (let context = innermost(); context != 0; context = <usize>owed(context, Ctx.OUTER)) {
    const low = owed(context, Ctx.FRAME_LOW);
    if (low != 0 && address >= low && address < owed(context, Ctx.FRAME_HIGH)) return true;
  }
  return false;
}

function wrong(property: i32, detail: u64, detail2: u64): void {
  if (Config.checks(property)) violate(property, detail, detail2);
}

function expect(context: usize, word: i32, actual: u64): void {
  if (owed(context, word) != actual)
    wrong(word == Ctx.GS_BASE && owed(context, Ctx.CPL) == 3 ? Prop.GS_BASE : Prop.RESUME, word, actual);
}

function compare(context: usize): void {
  const by = owed(context, Ctx.BY);
  const syscall = by == CtxBy.SYSCALL || by == CtxBy.SYSENTER;
  // outside 64-bit mode the upper half of RSP is undefined: IRET to compatibility mode clears it (SDM volume 1, 3.4.1.1)
  const width: u64 = (reg(Reg.CS_ATTR) & 0x200) == 0 ? 0xffffffff : u64.MAX_VALUE;
  if (((owed(context, Ctx.RSP) ^ reg(Reg.RSP)) & width) != 0) wrong(Prop.RESUME, Ctx.RSP, reg(Reg.RSP));
  expect(context, Ctx.CS, reg(segReg(Seg.CS)));
  // the SS that a 64-bit delivery within CPL 0 pushes may be null; it is used for nothing (4.11)
  if (owed(context, Ctx.CPL) == 3) expect(context, Ctx.SS, reg(segReg(Seg.SS)));
  // RF serves code breakpoints only, and faults set it in the image themselves (4.16, 7.7)
  const ignored: u64 = (reg(Reg.DR7) & 0xff) == 0 || (by & CtxBy.FAULT) != 0 || by == 1 ? FLAG_RF : 0;
  if ((owed(context, Ctx.RFLAGS) | ignored) != (flags() | ignored)) wrong(Prop.RESUME, Ctx.RFLAGS, flags());
  for (let r = 0; r < 16; r++) {
    if (r == Reg.RSP || (syscall && (Config.syscallClobbers & (1 << r)) != 0)) continue;
    expect(context, Ctx.RAX + r, reg(r));
  }
  expect(context, Ctx.FS_BASE, reg(Reg.FS_BASE));
  expect(context, Ctx.GS_BASE, reg(Reg.GS_BASE));
  expect(context, Ctx.KERNEL_GS_BASE, reg(Reg.KERNEL_GS_BASE));
  expect(context, Ctx.CR3, reg(Reg.CR3));
  for (let n = 0; n < 4; n++) expect(context, Ctx.DR0 + n, reg(Reg.DR0 + n));
  expect(context, Ctx.DR7, reg(Reg.DR7));
  if ((reg(Reg.CS_ATTR) & 0x200) == 0) {
    expect(context, Ctx.DS, reg(segReg(Seg.DS)));
    expect(context, Ctx.ES, reg(segReg(Seg.ES)));
    expect(context, Ctx.FS, reg(segReg(Seg.FS)));
    expect(context, Ctx.GS, reg(segReg(Seg.GS)));
  }
}

function resumed(context: usize): void {
  M.resumed = true;
  if (owed(context, Ctx.STATE) & State.USER_RSP) setState(State.USER_RSP);
  else clearState(State.USER_RSP);
  settle();
  bodyResumed();
  if (reg(Reg.DEPTH) == 0) quiescent();
  if (M.fault < 0) forgetDead();
}

/** Nothing is owed any more: NMIs must be open, and every one that arrived must have had its run of the handler. */
export function quiescent(): void {
  const s = state();
  if (s & State.NMI_BLOCKED && Config.checks(Prop.NMI_UNMASKED)) violate(Prop.NMI_UNMASKED, reg(Reg.RIP), 0);
  else if (s & State.NMI_OWED && (s & State.NMI_PENDING) == 0 && Config.checks(Prop.NMI_SERVED)) {
    violate(Prop.NMI_SERVED, reg(Reg.RIP), 0);
  }
}
