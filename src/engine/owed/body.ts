// The body of the NMI handler: never entered twice at once, every NMI followed by a run of it, and the register frame
// that it is given describes the context that it interrupted (properties nmi-reentry, nmi-served, handler-regs).

import { Ctx, Prop, Reg, State, Tag } from "../abi";
import { look, readSystem } from "../cpu/access";
import { Config } from "../cpu/config";
import { clearState, FLAG_AC, FLAG_DF, flags, long64, M, reg, setCold, setState, state, violate } from "../cpu/state";
import { innermost, owed } from "./contexts";

/** Called before the instruction at a tagged address is executed. */
export function enterTagged(tags: u32): void {
  if (tags & Tag.BODY_END && (state() & State.BODY) != 0 && reg(Reg.BODY_DEPTH) == reg(Reg.DEPTH)) end();
  if (tags & Tag.BODY_START) start();
  if (tags & Tag.BODY && Config.checks(Prop.FLAGS_ENTRY) && (flags() & (FLAG_DF | FLAG_AC)) != 0) {
    violate(Prop.FLAGS_ENTRY, flags(), 0);
  }
  if (tags & Tag.FORBIDDEN && Config.checks(Prop.UNREACHED)) violate(Prop.UNREACHED, M.rip, 0);
}

/** A body that was called is over when it is back at its caller, by whichever RET: compiled code has no one end. */
export function leaveBody(): void {
  const word: u64 = long64() ? 8 : 4;
  const back = reg(Reg.RIP) == reg(Reg.BODY_RETURN) && reg(Reg.RSP) == reg(Reg.BODY_RSP) + word;
  if (back && reg(Reg.BODY_DEPTH) == reg(Reg.DEPTH)) end();
}

/** The first instruction did not complete (it faulted, or REP goes on): the body starts when it is executed again. */
export function unstart(stateBefore: u64): void {
  if (stateBefore & State.NMI_OWED) setState(State.NMI_OWED);
  forgetBody();
}

function end(): void {
  checkFrame(reg(Reg.BODY_FRAME));
  forgetBody();
}

function forgetBody(): void {
  clearState(State.BODY);
  setCold(Reg.BODY_FRAME, 0);
  setCold(Reg.BODY_DEPTH, 0);
  setCold(Reg.BODY_RSP, 0);
  setCold(Reg.BODY_RETURN, 0);
}

function start(): void {
  if (state() & State.BODY) {
    if (Config.checks(Prop.NMI_REENTRY)) {
      violate(Prop.NMI_REENTRY, reg(Reg.BODY_DEPTH), 0);
      return;
    }
  }
  setState(State.BODY);
  clearState(State.NMI_OWED);
  setCold(Reg.BODY_DEPTH, reg(Reg.DEPTH));
  setCold(Reg.BODY_RSP, reg(Reg.RSP));
  setCold(Reg.BODY_RETURN, look(reg(Reg.RSP), long64() ? 8 : 4));
  if (Config.framePointer < 0) return;
  setCold(Reg.BODY_FRAME, reg(Config.framePointer));
  checkFrame(reg(Config.framePointer));
}

/** The body has control again after something nested: its frame must still be true. */
export function bodyResumed(): void {
  if ((state() & State.BODY) != 0 && reg(Reg.BODY_DEPTH) == reg(Reg.DEPTH)) checkFrame(reg(Reg.BODY_FRAME));
}

function checkFrame(frame: u64): void {
  if (Config.framePointer < 0 || !Config.checks(Prop.HANDLER_REGS)) return;
  const context = innermost();
  if (context == 0) return;
  for (let i = 0; i < Config.frameCount; i++) {
    const at = Config.frame + ((<usize>i) << 4);
    const register = <i32>load<u64>(at);
    const size = owed(context, Ctx.CPL) == 0 && register == Reg.SS_SEL ? 0 : <i32>Config.frameWord;
    if (size == 0) continue;
    const address = frame + load<u64>(at, 8);
    const actual = readSystem(address, size);
    if (M.fault >= 0) {
      if (M.fault < 256) violate(Prop.HANDLER_REGS, <u64>register, address);
      return;
    }
    const wanted = described(context, register);
    if (actual != wanted) {
      violate(Prop.HANDLER_REGS, <u64>register, address);
      return;
    }
  }
}

/** What a register of the interrupted context was. */
function described(context: usize, register: i32): u64 {
  if (register == Reg.RSP) return owed(context, Ctx.RSP);
  if (register < 16) return owed(context, Ctx.RAX + register);
  if (register == Reg.RIP) return owed(context, Ctx.RIP);
  if (register == Reg.RFLAGS) return owed(context, Ctx.RFLAGS);
  if (register == Reg.CS_SEL) return owed(context, Ctx.CS);
  return owed(context, Ctx.SS);
}
