// The properties: their names in scenario files and reports, what must hold, and why it matters.

import { Prop } from "../engine/abi.js";

export interface PropertyText {
  readonly prop: Prop;
  readonly name: string;
  /** what must hold, one sentence without its full stop */
  readonly sentence: string;
  /** one paragraph */
  readonly explanation: string;
}

export const PROPERTIES: readonly PropertyText[] = [
  {
    prop: Prop.RESUME,
    name: "resume",
    sentence:
      "every interrupted context is resumed exactly once, at its RIP, CS, RSP, SS and RFLAGS, with its general registers, FS and GS bases, CR3 and debug registers as they were",
    explanation:
      "A context is whatever an event interrupted: user code, a system call, an outer NMI. It is owed its resumption. The property fails when a frame was overwritten before it was used, when a context is resumed twice or never, or when any register comes back changed. A context that was interrupted from outside must go on where it was; one whose own instruction faulted may go on at a label listed under `fixups` instead. Registers under `syscall-clobbers` may change over a system call.",
  },
  {
    prop: Prop.PROGRESS,
    name: "progress",
    sentence: "from every reachable state, with no further events, the machine becomes quiescent",
    explanation:
      "When nothing more arrives, the code must come to the end of all that it began. A chain that meets one of its own states again can never end; this is found exactly and not by a time-out. A program that faults for ever and is resumed each time is quiescent each time: that is no violation. Without this property and `no-shutdown`, a shutdown violates `resume`.",
  },
  {
    prop: Prop.NMI_SERVED,
    name: "nmi-served",
    sentence: "every NMI that arrived is followed by a start of the NMI handler's body",
    explanation:
      "Code that gives up an NMI to save its stack frame loses the reason why it was sent. One latched NMI may stand for several, as in hardware, so one start of the body after the last arrival is enough. Needs `body`.",
  },
  {
    prop: Prop.NMI_REENTRY,
    name: "nmi-reentry",
    sentence: "the handler's body is never entered while an earlier run of it has not finished",
    explanation:
      "Handlers are written for NMIs that do not nest. Entry code that lets a second NMI through must postpone its body until the first has ended. Needs `body`.",
  },
  {
    prop: Prop.HANDLER_REGS,
    name: "handler-regs",
    sentence:
      "the register frame that the handler was given describes the context that was interrupted, from the start of the body to its end",
    explanation:
      "Profilers and debuggers read the frame. A design that patches its own return frame in place can leave it describing the patch instead of the interrupted code. Needs `body` with `regs`.",
  },
  {
    prop: Prop.NMI_UNMASKED,
    name: "nmi-unmasked",
    sentence: "NMIs are not blocked in a quiescent state",
    explanation:
      "Only IRET ends the blocking of NMIs. A path that returns from an NMI by RET alone leaves them blocked for good, and the machine looks well until a watchdog is needed.",
  },
  {
    prop: Prop.NO_NESTING,
    name: "no-nesting",
    sentence: "no NMI is ever delivered while an NMI's frame is live",
    explanation:
      "For designs that claim to keep NMIs blocked until the frame has been given up. Designs that tolerate nesting violate it on purpose, so it is off unless listed.",
  },
  {
    prop: Prop.STACK_BOUNDS,
    name: "stack-bounds",
    sentence: "every push lies within a stack of the scenario",
    explanation:
      "Overwriting a frame is no violation in itself: a design may give its hardware frame up on purpose, and what counts is whether the context resumes. Running off the end of a stack is always one.",
  },
  {
    prop: Prop.NO_SHUTDOWN,
    name: "no-shutdown",
    sentence:
      "no triple fault, no machine check while another is in progress, no double fault unless the scenario says that it is handled",
    explanation:
      "A fault while the CPU delivers a double fault shuts it down, and so does a machine check while MCG_STATUS.MCIP is set. A double fault itself leaves a return address that cannot be relied on; `double-fault: handled` says that the scenario's handler copes.",
  },
  {
    prop: Prop.TEXT_ONLY,
    name: "text-only",
    sentence: "CPL 0 executes only the code of the scenario",
    explanation:
      "A return address read from a damaged frame leads anywhere. The first instruction outside the kernel text is the violation.",
  },
  {
    prop: Prop.GS_BASE,
    name: "gs-base",
    sentence:
      "at every CPL 0 access through GS the base is the kernel's, and at every resume of user code it is the user's",
    explanation:
      "Entry from user mode begins with the user's GS base, and SWAPGS must run exactly once. An event that strikes before it, or after the one on the way out, sees CS of the kernel with GS of the user.",
  },
  {
    prop: Prop.USER_STACK,
    name: "user-stack",
    sentence: "CPL 0 never pushes to or pops from a stack that user code chose",
    explanation:
      "SYSCALL enters CPL 0 with RSP as user code left it, which may point anywhere, also into an NMI stack. Every push before the switch of stacks, by code or by delivery, is a write to an address under the control of user code.",
  },
  {
    prop: Prop.STALE_READ,
    name: "stale-read",
    sentence: "no read of an undefined byte",
    explanation:
      "What an activity leaves below the stack pointer or on an idle stack is dead. After a resume the checker makes such bytes undefined, except those declared `persistent`. Code that reads one depends on what happened to be there. The property is always on, because it makes the merging of states sound.",
  },
  {
    prop: Prop.CR2,
    name: "cr2",
    sentence: "a page-fault handler reads the address of its own fault, whatever faulted in between",
    explanation:
      "An NMI between a page fault and the read of CR2 in its handler may fault itself and overwrite CR2. Its handler must save and restore the register, or must not fault.",
  },
  {
    prop: Prop.FLAGS_ENTRY,
    name: "flags-entry",
    sentence: "DF and AC are clear wherever handler code runs",
    explanation:
      "Delivery through a gate keeps DF and AC as the interrupted code had them. Compiled code relies on DF being clear, and SMAP protects only while AC is clear, so entry code must execute CLD and CLAC.",
  },
  {
    prop: Prop.UNREACHED,
    name: "unreached",
    sentence: "no label listed under `unreached` is executed",
    explanation:
      "A scenario's own property: branches to a label stand for what must not happen, such as a failed comparison of a value that the code sampled. It is on whenever `unreached` lists a label.",
  },
];

const BY_NAME: ReadonlyMap<string, PropertyText> = new Map(PROPERTIES.map((text) => [text.name, text]));
const BY_PROP: ReadonlyMap<Prop, PropertyText> = new Map(PROPERTIES.map((text) => [text.prop, text]));

export const PROPERTY_NAMES: readonly string[] = PROPERTIES.map((text) => text.name);

/** Off unless a scenario lists them: they are claims that not every sound design makes. */
export const OPT_IN: ReadonlySet<Prop> = new Set([
  Prop.NO_NESTING,
  Prop.HANDLER_REGS,
  Prop.CR2,
  Prop.USER_STACK,
  Prop.FLAGS_ENTRY,
]);

/** The property of that name, if there is one. */
export function propertyByName(name: string): PropertyText | undefined {
  return BY_NAME.get(name);
}

export function propertyText(prop: Prop): PropertyText {
  const text = BY_PROP.get(prop);
  if (text === undefined) throw new RangeError(`no property ${prop}`);
  return text;
}
