// The contexts owed a resume, as a trace follows them: numbers that are never reused, what delivery pushed for each, and
// which of those bytes no longer hold it.

import { Ctx, Reg } from "../engine/abi.js";
import { labeller } from "../image/labels.js";
import type { Machine } from "../machine/machine.js";
import type { TraceContext } from "./types.js";
import { frameSlots, interruptedBy } from "./words.js";

interface Slot {
  readonly address: bigint;
  readonly name: string;
  readonly pushed: bigint;
}

interface Overwriting {
  readonly address: bigint;
  readonly slot: string;
  readonly step: number;
  readonly by: string;
}

interface Followed {
  readonly number: number;
  /** address of the engine's record */
  readonly record: number;
  readonly name: string;
  readonly by: string;
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly low: bigint;
  readonly high: bigint;
  readonly slots: readonly Slot[];
  overwritten: Overwriting[];
}

/** The frame word at an aligned address, of the innermost context that has one there. */
export type Owners = (address: bigint) => { readonly context: number; readonly slot: string } | undefined;

export class ContextList {
  readonly #machine: Machine;
  readonly #label: (address: bigint) => string;
  #count = 0;
  #list: Followed[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#label = labeller(machine.scenario.image);
  }

  /** Reads the engine's list after a step; `by` says in words what the step did to memory. */
  update(step: number, by: string): void {
    const records = this.#records();
    const kept = this.#list.filter(({ record }, n) => records[n] === record);
    for (const context of kept) this.#compare(context, step, by);
    for (const record of records.slice(kept.length)) kept.push(this.#follow(record, kept));
    this.#list = kept;
  }

  /** bytes of a frame's word */
  get wordSize(): bigint {
    return BigInt(this.#machine.scenario.mode / 8);
  }

  get depth(): number {
    return this.#list.length;
  }

  get innermost(): Followed | undefined {
    return this.#list.at(-1);
  }

  /** Who owns frame words now; the answer stays as it is when the list changes. */
  owners(): Owners {
    const innermostFirst = [...this.#list].reverse();
    const size = this.wordSize;
    return (address) => {
      for (const { number, slots } of innermostFirst) {
        const slot = slots.find((one) => (one.address & -size) === address);
        if (slot) return { context: number, slot: slot.name };
      }
      return undefined;
    };
  }

  /** Overwritten bytes of live frames, innermost context first. */
  damage(): ReadonlyArray<{ readonly context: TraceContext; readonly slots: readonly Overwriting[] }> {
    return [...this.#list]
      .reverse()
      .filter(({ overwritten }) => overwritten.length > 0)
      .map((context) => ({ context: this.#shown(context), slots: context.overwritten }));
  }

  snapshot(): TraceContext[] {
    return this.#list.map((context) => this.#shown(context));
  }

  #shown(context: Followed): TraceContext {
    const { number, name, by, rip, rsp, low, high, overwritten } = context;
    return { number, name, by, rip, label: this.#label(rip), rsp, frame: { low, high }, overwritten: [...overwritten] };
  }

  /** Records of the list, outermost first. */
  #records(): number[] {
    const records: number[] = [];
    const { machine } = { machine: this.#machine };
    for (
      let at = Number(machine.register(Reg.CTX_TOP));
      at !== 0;
      at = Number(machine.view.getBigUint64(at + Ctx.OUTER * 8, true))
    ) {
      records.push(at);
    }
    return records.reverse();
  }

  #follow(record: number, outer: readonly Followed[]): Followed {
    const word = (index: Ctx) => this.#machine.view.getBigUint64(record + index * 8, true);
    const low = word(Ctx.FRAME_LOW);
    const high = word(Ctx.FRAME_HIGH);
    const size = this.#machine.scenario.mode === 64 ? 8 : 4;
    const slots = frameSlots(Number(high - low), size).map((name, n) => {
      const address = low + BigInt(n * size);
      return { address, name, pushed: this.#value(address, size) };
    });
    this.#count++;
    return {
      number: this.#count,
      record,
      name: activity(outer.at(-1)?.by, word(Ctx.CPL) === 3n),
      by: interruptedBy(Number(word(Ctx.BY))),
      rip: word(Ctx.RIP),
      rsp: word(Ctx.RSP),
      low,
      high,
      slots: high > low ? slots : [],
      overwritten: [],
    };
  }

  #value(address: bigint, size: number): bigint {
    const word = this.#machine.word(address) ?? 0n;
    return size === 8 ? word : word & 0xffffffffn;
  }

  #compare(context: Followed, step: number, by: string): void {
    const size = this.#machine.scenario.mode === 64 ? 8 : 4;
    const still = new Map(context.overwritten.map((one) => [one.address, one]));
    context.overwritten = context.slots
      .filter(({ address, pushed }) => this.#value(address, size) !== pushed)
      .map(({ address, name }) => still.get(address) ?? { address, slot: name, step, by });
  }
}

/** Whose instructions were running: user code, or the handler of what interrupted the context around it. */
function activity(outerBy: string | undefined, user: boolean): string {
  if (user) return "user code";
  if (outerBy === undefined) return "kernel code";
  return outerBy === "SYSCALL" || outerBy === "SYSENTER" ? "the system call" : `the ${outerBy} handler`;
}
