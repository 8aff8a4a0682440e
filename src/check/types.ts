// What a check takes and gives. `check/` makes these, `report/` prints them, `cli/` and `web/` pass them on.

import type { Prop } from "../engine/abi.js";

/**
 * Which event at which boundary. `after` counts the boundaries crossed since the event before it (or since the start):
 * one for each instruction executed and each latched event delivered. As text: `nmi@7,bp@+31,nmi@+4`.
 */
export interface Choice {
  /** name of the scenario's event rule, or `hold` where the manual leaves the CPU a choice (fact 3.5) */
  readonly event: string;
  readonly after: number;
}
export type Schedule = readonly Choice[];

export interface Bounds {
  readonly maxStates?: number;
  readonly maxSeconds?: number;
  /** bytes, for everything the engine allocates */
  readonly maxMemory?: number;
}

export interface Progress {
  readonly level: number;
  readonly states: number;
  readonly statesPerSecond: number;
  readonly chainsLeft: number;
  readonly seconds: number;
}

export interface CheckOptions extends Bounds {
  /** default: the cores */
  readonly workers?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface Violation {
  readonly property: Prop;
  /** one sentence, with symbols */
  readonly message: string;
  /** events in the schedule */
  readonly events: number;
  /** instructions executed from the start to the violation */
  readonly instructions: number;
  readonly schedule: Schedule;
  /** sentences: which bytes of which live frame were overwritten by what, how many instructions before */
  readonly diagnosis: readonly string[];
}

export type Outcome = "holds" | "violated" | "incomplete" | "unsupported";

export interface Verdict {
  readonly design: string;
  readonly verdict: Outcome;
  /** levels completed: the greatest number of events after which a new state was found */
  readonly levels: number;
  /** events tried, one chain each */
  readonly chains: number;
  readonly states: number;
  /** distinct instructions executed from those states */
  readonly instructions: number;
  readonly seconds: number;
  readonly workers: number;
  /** bytes that the engine holds, all workers together */
  readonly memory: number;
  readonly missProbability: number;
  readonly assumptions: readonly string[];
  readonly properties: ReadonlyArray<{ readonly prop: Prop; readonly verdict: "holds" | "violated" | "unknown" }>;
  readonly coverage: Coverage;
  readonly violation?: Violation;
  /** why `incomplete` or `unsupported`: one sentence */
  readonly reason?: string;
}

/** Boundaries of the entry code reached, of boundaries there. */
export interface Coverage {
  readonly reached: number;
  readonly total: number;
  /** addresses of instructions never reached, ascending */
  readonly missed: readonly bigint[];
}

/** One step of a trace: what happened from one boundary to the next. */
export interface TraceStep {
  /** 0-based */
  readonly index: number;
  readonly kind: "instruction" | "event" | "delivery";
  /** address before the step, and as `label+offset` */
  readonly rip: bigint;
  readonly label: string;
  /** AT&T text of the instruction, or the event's name, or `delivery of #NMI through IST1` */
  readonly text: string;
  readonly cpl: 0 | 3;
  readonly rsp: bigint;
  readonly nmiBlocked: boolean;
  readonly nmiPending: boolean;
  /** general registers, RFLAGS, CR2, GS base and others that changed */
  readonly registers: ReadonlyArray<{ readonly name: string; readonly before: bigint; readonly after: bigint }>;
  readonly writes: ReadonlyArray<MemoryWrite>;
  /** the exception, interrupt or NMI delivered during the step, if any */
  readonly delivered?: { readonly vector: number; readonly name: string; readonly frame: bigint };
  /** contexts owed a resume after the step, outermost first */
  readonly contexts: readonly TraceContext[];
  /** a context that the step resumed: its number */
  readonly resumed?: number;
  readonly violation?: { readonly property: Prop; readonly message: string };
}

export interface MemoryWrite {
  /** an aligned word: 8 bytes, 4 in a 32-bit scenario */
  readonly address: bigint;
  readonly before: bigint;
  readonly after: bigint;
  /** `nmi stack -0x18`, `user_data+8`, or empty */
  readonly place: string;
  /** the context whose frame owns the word, and what the word is in that frame (`RIP`, `CS`, ...) */
  readonly owner?: { readonly context: number; readonly slot: string };
}

export interface TraceContext {
  /** 1-based, in order of interruption over the whole trace; never reused */
  readonly number: number;
  /** `user code`, `NMI handler`, ... : what was interrupted */
  readonly name: string;
  /** what interrupted it: `NMI`, `#BP`, `SYSCALL` */
  readonly by: string;
  readonly rip: bigint;
  readonly label: string;
  readonly rsp: bigint;
  /** [low, high) of the frame that delivery pushed; equal for SYSCALL */
  readonly frame: { readonly low: bigint; readonly high: bigint };
  /** words of the frame that no longer hold what delivery pushed */
  readonly overwritten: ReadonlyArray<{
    readonly address: bigint;
    readonly slot: string;
    readonly step: number;
    readonly by: string;
  }>;
}

export interface Trace {
  readonly design: string;
  readonly schedule: Schedule;
  readonly steps: readonly TraceStep[];
  /** how the run ended: `stopped`, `repeats` (a known state), `violation`, `limit` */
  readonly end: "stopped" | "repeats" | "violation" | "limit" | "unsupported";
  readonly violation?: Violation;
  readonly reason?: string;
}
