// One step: at a boundary either a pending event is delivered, or one instruction is executed (facts 1.1, 3.x, 8.x).
// Events from outside are brought in between steps by `inject`.

import { Ev, Lack, Op, Prop, Rec, Reg, State, Status, Tag } from "../abi";
import { enterTagged, leaveBody, unstart } from "../owed/body";
import { nmiIsLive } from "../owed/contexts";
import { quiescent, Wrong } from "../owed/resume";
import { codeBreakpoint, PENDING } from "./access";
import { Config, Rule } from "./config";
import { debugException, deliver, Source } from "./deliver";
import { execute } from "./execute";
import { fetch } from "./fetch";
import {
  BP,
  CR4_MCE,
  clearState,
  cpl,
  DEBUGCTL_BTF,
  FLAG_IF,
  FLAG_RF,
  FLAG_TF,
  flags,
  M,
  MC,
  NMI,
  PF,
  reg,
  setCold,
  setFlags,
  setReg,
  setState,
  state,
  unsupported,
  violate,
} from "./state";
import { generalDetect } from "./system";

const DR6_BS: u64 = 0x4000;

/** Takes one step. OK: a boundary is reached; the other statuses leave the machine where it was. */
export function step(): Status {
  M.fault = -1;
  M.delivered = -1;
  M.executed = false;
  M.resumed = false;
  M.rip = reg(Reg.RIP);
  if (state() & State.SHUTDOWN) return dead();
  if (recognise()) return outcome();
  if (state() & State.HALTED) return stopped();
  const rip = reg(Reg.RIP);
  const hit = (flags() & FLAG_RF) != 0 || (state() & State.SHADOW_SS) != 0 ? 0 : codeBreakpoint(rip);
  if (hit != 0) {
    debugException(hit, Source.FAULT, rip);
    return outcome();
  }
  const record = fetch();
  if (record == 0) {
    if (M.fault < 0) return Status.DECODE;
    if (M.fault >= 256) return outcome();
    return fault(rip);
  }
  M.rec = record;
  const tags = load<u32>(record, Rec.TAGS);
  const number = load<u32>(record, Rec.COVER);
  if (number != 0) store<u8>(Config.coverage + number, 1);
  if (cpl() == 0 && (tags & Tag.TEXT) == 0 && Config.checks(Prop.TEXT_ONLY)) {
    violate(Prop.TEXT_ONLY, rip, 0);
    return outcome();
  }
  const before = state();
  if ((before & State.BODY) != 0) {
    leaveBody();
    if (M.fault >= 0) return outcome();
  }
  if (tags & (Tag.BODY_START | Tag.BODY_END | Tag.BODY | Tag.FORBIDDEN)) {
    enterTagged(tags);
    if (M.fault >= 0) return outcome();
  }
  return run(record, rip, before);
}

/** Executes the record at RIP and sees to faults and traps. */
function run(record: usize, rip: u64, stateBefore: u64): Status {
  M.shadows = state() & (State.SHADOW_SS | State.SHADOW_STI);
  const pendingBefore = reg(Reg.PENDING_DB);
  clearState(State.SHADOW_SS | State.SHADOW_STI | State.NMI_HELD);
  const before = flags();
  setFlags(before & ~FLAG_RF); // 4.17
  M.rspBefore = reg(Reg.RSP);
  M.generalDetect = false;
  M.next = rip + <u64>load<u8>(record, Rec.LENGTH);
  M.executed = true;
  execute();
  if (M.fault >= 256) return outcome();
  const again = M.fault >= 0 || (M.delivered < 0 && M.next == rip);
  if (again && (load<u32>(record, Rec.TAGS) & Tag.BODY_START) != 0) unstart(stateBefore);
  if (M.fault >= 0) {
    setReg(Reg.RSP, M.rspBefore);
    setFlags(before & ~FLAG_RF);
    return fault(rip);
  }
  if (M.generalDetect) {
    setCold(Reg.PENDING_DB, 0);
    generalDetect(rip);
    return outcome();
  }
  const op = <i32>load<u16>(record, Rec.OP);
  if (M.delivered < 0) {
    setReg(Reg.RIP, M.next);
    // TF counts as it was at the start; for SYSCALL and SYSRET as it is at the end (8.1, 8.14)
    const stepped = op == Op.SYSCALL || op == Op.SYSRET ? flags() & FLAG_TF : before & FLAG_TF;
    const opened = (state() & State.SHADOW_SS) != 0; // a MOV SS drops its own single-step trap (3.1)
    const branched = M.next != rip + <u64>load<u8>(record, Rec.LENGTH);
    const wanted = branched || (reg(Reg.DEBUGCTL) & DEBUGCTL_BTF) == 0; // 8.17
    if (stepped != 0 && !opened && wanted) setCold(Reg.PENDING_DB, reg(Reg.PENDING_DB) | DR6_BS | PENDING);
  } else if (op == Op.INT1 && pendingBefore != 0) {
    setCold(Reg.PENDING_DB, 0); // 3.15
  }
  return outcome();
}

/** Delivers the fault of the instruction at `rip`. */
function fault(rip: u64): Status {
  setCold(Reg.PENDING_DB, 0); // a pending trap goes when the instruction faults, also in its fetch (3.13, 8.3)
  deliver(M.fault, Source.FAULT, M.faultCode, rip);
  return outcome();
}

/** Traps of the instruction before, then NMI, then interrupts (1.1). True: something was delivered. */
function recognise(): bool {
  const s = state();
  const rip = reg(Reg.RIP);
  const pending = reg(Reg.PENDING_DB);
  if (pending != 0 && (s & State.SHADOW_SS) == 0) {
    setCold(Reg.PENDING_DB, 0);
    debugException(pending & 0xffff, Source.TRAP, rip);
    return true;
  }
  if (nmiComes(s)) {
    if (Config.checks(Prop.NO_NESTING) && nmiIsLive()) {
      violate(Prop.NO_NESTING, rip, 0);
      return true;
    }
    // the latch empties and NMIs are blocked before anything is read or written (2.4)
    setReg(Reg.STATE, (s & ~(<u64>State.NMI_PENDING)) | State.NMI_BLOCKED);
    deliver(NMI, Source.EXTERNAL, 0, rip);
    return true;
  }
  const requests = s & State.INTR_MASK;
  if (requests != 0 && (flags() & FLAG_IF) != 0 && (s & (State.SHADOW_SS | State.SHADOW_STI)) == 0) {
    const rule = <i32>ctz<u64>(requests >> State.INTR_SHIFT);
    clearState((<u64>1) << (<u64>(State.INTR_SHIFT + rule)));
    deliver(<i32>load<u64>(Config.rules + <usize>(rule * Rule.SIZEOF), Rule.VECTOR), Source.EXTERNAL, 0, rip);
    return true;
  }
  return false;
}

/** Is a latched NMI delivered at this boundary? */
function nmiComes(s: u64): bool {
  return (s & (State.NMI_PENDING | State.NMI_BLOCKED | State.SHADOW_SS | State.NMI_HELD)) == State.NMI_PENDING;
}

/** May the CPU hold a latched NMI through the shadow of STI here, or not (3.5)? */
export function mayHold(): bool {
  const s = state();
  return nmiComes(s) && (s & State.SHADOW_STI) != 0 && reg(Reg.PENDING_DB) == 0;
}

export function hold(): void {
  setState(State.NMI_HELD);
}

/** Would `step` deliver something now? Then no instruction is about to be executed. */
function eventAhead(): bool {
  const s = state();
  if (reg(Reg.PENDING_DB) != 0 && (s & State.SHADOW_SS) == 0) return true;
  if (nmiComes(s)) return true;
  return (s & State.INTR_MASK) != 0 && (flags() & FLAG_IF) != 0 && (s & (State.SHADOW_SS | State.SHADOW_STI)) == 0;
}

/** HLT with nothing to wake it: fine when nothing is owed, else no progress. */
function stopped(): Status {
  if (reg(Reg.DEPTH) != 0) {
    if (Config.checks(Prop.PROGRESS)) violate(Prop.PROGRESS, reg(Reg.RIP), 1);
  } else {
    quiescent();
  }
  return M.fault >= 256 ? outcome() : Status.STOPPED;
}

/** A CPU that is shut down does nothing more: what it was doing is never resumed, even where shutdown is allowed. */
function dead(): Status {
  if (Config.checks(Prop.PROGRESS)) violate(Prop.PROGRESS, reg(Reg.RIP), 2);
  else if (Config.checks(Prop.RESUME)) violate(Prop.RESUME, Wrong.SHUTDOWN, 0);
  return M.fault >= 256 ? outcome() : Status.STOPPED;
}

function outcome(): Status {
  if (M.fault == 256) return Status.VIOLATION;
  if (M.fault == 257) return Status.UNSUPPORTED;
  return Status.OK;
}

/** May event rule n strike at this boundary? `tags` are those of the instruction ahead. */
export function mayStrike(rule: i32, tags: u32): bool {
  if ((tags & Tag.EVENT_MASK & (1 << rule)) == 0) return false;
  const at = Config.rules + <usize>(rule * Rule.SIZEOF);
  if (load<u64>(at, Rule.LIMIT) != 0 && budget(rule) == 0) return false;
  switch (<i32>load<u64>(at, Rule.KIND)) {
    case Ev.NMI:
      return (state() & State.NMI_PENDING) == 0;
    case Ev.INTR:
      return (state() & ((<u64>1) << (<u64>(State.INTR_SHIFT + rule)))) == 0;
    case Ev.MCE:
      return load<u64>(at, Rule.WHILE_MCIP) != 0 || (reg(Reg.MCG_STATUS) & 4) == 0;
    // a trap placed on an instruction comes only when that instruction does
    case Ev.DB:
      return !eventAhead() && (state() & (State.HALTED | State.SHADOW_SS)) == 0;
    default:
      return !eventAhead() && (state() & State.HALTED) == 0;
  }
}

function budget(rule: i32): u64 {
  return (reg(Reg.BUDGET) >> <u64>((rule & 7) << 3)) & 0xff;
}

/** Brings in event rule n at this boundary. */
export function inject(rule: i32): Status {
  M.fault = -1;
  M.delivered = -1;
  M.executed = false;
  M.resumed = false;
  M.rip = reg(Reg.RIP);
  const at = Config.rules + <usize>(rule * Rule.SIZEOF);
  const rip = reg(Reg.RIP);
  if (load<u64>(at, Rule.LIMIT) != 0) setCold(Reg.BUDGET, reg(Reg.BUDGET) - ((<u64>1) << (<u64>((rule & 7) << 3))));
  switch (<i32>load<u64>(at, Rule.KIND)) {
    case Ev.NMI:
      setState(Config.checks(Prop.NMI_SERVED) ? State.NMI_PENDING | State.NMI_OWED : State.NMI_PENDING);
      break;
    case Ev.INTR:
      setState((<u64>1) << (<u64>(State.INTR_SHIFT + rule)));
      break;
    case Ev.MCE:
      machineCheck(rip);
      break;
    case Ev.BP:
      // an INT3 in front of the instruction: what is interrupted goes on with the instruction
      deliver(BP, Source.SOFTWARE, 0, rip);
      break;
    case Ev.DB:
      debugException(1, Source.TRAP, rip);
      break;
    case Ev.SMI:
      unsupported(Lack.MODE, 0); // no SMM (10.x)
      break;
    default:
      M.faultAddress = load<u64>(at, Rule.ADDRESS);
      deliver(PF, Source.FAULT, load<u64>(at, Rule.ERROR), rip);
      break;
  }
  return outcome();
}

/** #MC (9.1 to 9.3): shutdown without CR4.MCE or with MCIP set. */
function machineCheck(rip: u64): void {
  if ((reg(Reg.CR4) & CR4_MCE) == 0 || (reg(Reg.MCG_STATUS) & 4) != 0) {
    setState(State.SHUTDOWN);
    if (Config.checks(Prop.NO_SHUTDOWN)) violate(Prop.NO_SHUTDOWN, 18, reg(Reg.MCG_STATUS));
    return;
  }
  setCold(Reg.MCG_STATUS, 5); // RIPV and MCIP
  setCold(Reg.PENDING_DB, 0); // a debug trap that loses is dropped (1.2)
  deliver(MC, Source.EXTERNAL, 0, rip);
}

/** Tags of the instruction ahead; 0 when it cannot be fetched. M.request is set when the host must decode it first. */
export function tagsAhead(): u32 {
  M.fault = -1;
  const record = fetch();
  M.fault = -1;
  return record == 0 ? 0 : load<u32>(record, Rec.TAGS);
}
