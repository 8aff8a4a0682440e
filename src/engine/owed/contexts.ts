// The shadow list of contexts: what each interrupted activity is owed. Records are written once and linked from the inside
// out, so that rolling back is moving two pointers; the list's fingerprint is part of the state.

import { Ctx, CtxBy, Lack, Reg, Seg, State } from "../abi";
import { cpl, M, reg, segReg, setReg, unsupported } from "../cpu/state";

/** At most this many contexts may be owed at once. */
const MAX_DEPTH: u64 = 64;

export function owed(context: usize, word: i32): u64 {
  return load<u64>(context + ((<usize>word) << 3));
}

function put(context: usize, word: i32, value: u64): void {
  store<u64>(context + ((<usize>word) << 3), value);
}

export function innermost(): usize {
  return <usize>reg(Reg.CTX_TOP);
}

/**
 * Notes that the running activity was interrupted. Called once delivery has succeeded, with what stood in the registers
 * before it; the general registers are still those of the activity.
 */
export function interrupted(
  by: u64,
  level: i32,
  rip: u64,
  cs: u64,
  rflags: u64,
  rsp: u64,
  ss: u64,
  gsBase: u64,
  kernelGsBase: u64,
  stateBefore: u64,
  frameLow: u64,
  frameHigh: u64,
): void {
  const depth = reg(Reg.DEPTH);
  const at = <usize>reg(Reg.CTX_NEXT);
  if (depth >= MAX_DEPTH || at + ((<usize>Ctx.COUNT) << 3) > M.ctxEnd) {
    unsupported(Lack.DEPTH, depth);
    return;
  }
  put(at, Ctx.OUTER, reg(Reg.CTX_TOP));
  put(at, Ctx.BY, by);
  put(at, Ctx.CPL, <u64>level);
  put(at, Ctx.RIP, rip);
  put(at, Ctx.CS, cs);
  put(at, Ctx.RFLAGS, rflags);
  put(at, Ctx.RSP, rsp);
  put(at, Ctx.SS, ss);
  for (let r = 0; r < 16; r++) put(at, Ctx.RAX + r, reg(r));
  put(at, Ctx.RSP_COPY, rsp);
  put(at, Ctx.FS_BASE, reg(Reg.FS_BASE));
  put(at, Ctx.GS_BASE, gsBase);
  put(at, Ctx.KERNEL_GS_BASE, kernelGsBase);
  put(at, Ctx.CR3, reg(Reg.CR3));
  for (let n = 0; n < 4; n++) put(at, Ctx.DR0 + n, reg(Reg.DR0 + n));
  put(at, Ctx.DR7, reg(Reg.DR7));
  put(at, Ctx.DS, reg(segReg(Seg.DS)));
  put(at, Ctx.ES, reg(segReg(Seg.ES)));
  put(at, Ctx.FS, reg(segReg(Seg.FS)));
  put(at, Ctx.GS, reg(segReg(Seg.GS)));
  put(at, Ctx.FRAME_LOW, frameLow);
  put(at, Ctx.FRAME_HIGH, frameHigh);
  put(at, Ctx.CR2, (by & CtxBy.VECTOR_MASK) == 14 ? reg(Reg.CR2) : 0);
  put(at, Ctx.STATE, stateBefore & (State.USER_RSP | State.BODY));
  let hash = reg(Reg.CTXHASH) + 0x9e3779b97f4a7c15;
  for (let word: i32 = Ctx.BY; word < Ctx.COUNT; word++) hash = chainHash(hash, owed(at, word));
  put(at, Ctx.HASH, hash);
  setReg(Reg.CTX_TOP, <u64>at);
  setReg(Reg.CTX_NEXT, <u64>(at + ((<usize>Ctx.COUNT) << 3)));
  setReg(Reg.CTXHASH, hash);
  setReg(Reg.DEPTH, depth + 1);
}

/** One word more of a fingerprint in which the order counts. */
function chainHash(hash: u64, word: u64): u64 {
  const x = (hash ^ word) * 0x9fb21c651e98df25;
  return x ^ (x >> 29);
}

/** Takes the innermost context off the list. */
export function settle(): void {
  const top = innermost();
  const outer = <usize>owed(top, Ctx.OUTER);
  setReg(Reg.CTX_TOP, <u64>outer);
  setReg(Reg.CTXHASH, outer == 0 ? 0 : owed(outer, Ctx.HASH));
  setReg(Reg.DEPTH, reg(Reg.DEPTH) - 1);
}

/** The innermost context that is user code, or 0. */
export function innermostUser(): usize {
  let context = innermost();
  while (context != 0 && owed(context, Ctx.CPL) != 3) context = <usize>owed(context, Ctx.OUTER);
  return context;
}

/** Is an NMI's interruption among the contexts owed? (no-nesting) */
export function nmiIsLive(): bool {
  let context = innermost();
  while (context != 0) {
    if (owed(context, Ctx.BY) == 2) return true;
    context = <usize>owed(context, Ctx.OUTER);
  }
  return false;
}

/** Is this RSP the one that user code chose? Asked at CPL 0 whenever an instruction gives RSP a new absolute value. */
export function isUserRsp(value: u64): bool {
  if (cpl() != 0) return false;
  const user = innermostUser();
  return user != 0 && owed(user, Ctx.RSP) == value;
}
