// The hand-over points of the data flow: what the assembler and the ELF reader give (Image), and what the scenario
// reader gives to the checker (Scenario). Addresses are virtual (linear) unless called physical.

import type { Ev, Prop, Reg } from "../engine/abi.js";
import type { Image, Section, SourceLine } from "../image/image.js";

export type { Image, Section, SourceLine };

/** [low, high) */
export interface Range {
  readonly low: bigint;
  readonly high: bigint;
}

export interface Stack extends Range {
  readonly name: string;
  /** the stack of a user program: CPL 3 pushes to it, and its bytes below RSP are the program's own (red zone) */
  readonly user?: boolean;
}

/** One allowed event and where it may strike. At most 16 rules. */
export interface EventRule {
  /** unique in the scenario; the event's word unless the file names it */
  readonly name: string;
  readonly kind: Ev;
  /** undefined: anywhere */
  readonly ranges?: readonly Range[];
  /** how often at the most; undefined: any number (1..255) */
  readonly limit?: number;
  /** `intr`: vector */
  readonly vector?: number;
  /** `pf`: the faulting linear address and error code */
  readonly address?: bigint;
  readonly errorCode?: number;
  /** `mce`: may also strike while MCG_STATUS.MCIP is set */
  readonly whileMcip?: boolean;
}

/** How the body of the NMI handler is known, and the register frame that it is given. */
export interface Body {
  readonly start: bigint;
  /** the first boundary at which it has ended */
  readonly end: bigint;
  /** register that points to the frame at `start`, and where each register stands in it (byte offsets) */
  readonly regs?: { readonly pointer: Reg; readonly layout: ReadonlyArray<readonly [Reg, number]> };
}

/** Everything the checker needs. Made by `loadScenario`. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly file: string;
  readonly mode: 32 | 64;
  readonly cpu: "intel" | "amd";
  /** guest physical memory: size in bytes (a multiple of 4096) and its initial contents */
  readonly memory: {
    readonly size: number;
    readonly chunks: ReadonlyArray<{ readonly physical: number; readonly bytes: Uint8Array }>;
  };
  /** initial register words; all others zero */
  readonly registers: ReadonlyMap<Reg, bigint>;
  /** CPL at the start */
  readonly cpl: 0 | 3;
  readonly stacks: readonly Stack[];
  /** bytes inside stacks that outlive an activity */
  readonly persistent: readonly Range[];
  /** words whose writes are dropped and whose reads give zero */
  readonly discarded: readonly Range[];
  /** what CPL 0 may execute */
  readonly text: readonly Range[];
  /** the code whose coverage counts (text without the interrupted program) */
  readonly entry: readonly Range[];
  readonly events: readonly EventRule[];
  readonly properties: ReadonlySet<Prop>;
  readonly body?: Body;
  /** where a context whose own instruction faulted may go on */
  readonly fixups: readonly bigint[];
  /** addresses of near RETs that may give control back to a context */
  readonly resumeRets: readonly bigint[];
  /** labels that must not be reached, with their name */
  readonly unreached: readonly bigint[];
  /** GS base for `gs-base` */
  readonly kernelGs?: bigint;
  /** double faults are handled */
  readonly survivesDoubleFault: boolean;
  /** registers that a system call may change */
  readonly syscallClobbers: ReadonlySet<Reg>;
  readonly image: Image;
  /** sentences, printed with the verdict */
  readonly assumptions: readonly string[];
  /** what must come out of the program and threat that were asked for */
  readonly expect?: Expectation;
  /** name of the interrupted program, and of all that the file has */
  readonly program?: string;
  readonly programs?: readonly string[];
  /** expected verdicts: program -> threat -> what must come out */
  readonly threats?: ReadonlyMap<string, ReadonlyMap<string, Expectation>>;
  /** where the idea comes from */
  readonly from?: string;
}

export interface Expectation {
  readonly verdict: "holds" | "violated";
  readonly property?: Prop;
  readonly events?: number;
}
