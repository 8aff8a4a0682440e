// One schedule, step by step: what each step did, who owns which frame, and how it ends.

import { InputError } from "../diagnostic.js";
import { Lack, Prop, Reg, State, Status } from "../engine/abi.js";
import { labeller } from "../image/labels.js";
import { decode } from "../isa/decode.js";
import { format } from "../isa/format.js";
import { Machine } from "../machine/machine.js";
import { linearOf, type ReverseMap, reverseMap } from "../machine/mappings.js";
import { engineModule } from "../machine/wasm.js";
import type { Scenario } from "../scenario/types.js";
import { ContextList, type Owners } from "./contexts.js";
import { diagnosis, violationMessage } from "./message.js";
import { strike } from "./replay.js";
import type { MemoryWrite, Schedule, Trace, TraceStep, Violation } from "./types.js";
import { inMode, placer, SHOWN_REGISTERS, vectorName } from "./words.js";

/** Steps after which a trace gives up on a run that neither ends nor repeats. */
const LIMIT = 1_000_000;

/** Plays a schedule and follows the run to its end. InputError: an event that cannot strike where the schedule says. */
export function trace(scenario: Scenario, schedule: Schedule): Trace {
  return new Tracer(scenario, schedule).run();
}

class Tracer {
  readonly #scenario: Scenario;
  readonly #schedule: Schedule;
  readonly #machine: Machine;
  readonly #map: ReverseMap;
  readonly #contexts: ContextList;
  readonly #label: (address: bigint) => string;
  readonly #place: (address: bigint) => string;
  readonly #steps: TraceStep[] = [];
  /** instructions executed before each step */
  readonly #instructionsAt: number[] = [];
  #instructions = 0;

  constructor(scenario: Scenario, schedule: Schedule) {
    this.#scenario = scenario;
    this.#schedule = schedule;
    this.#machine = new Machine(engineModule(), scenario);
    this.#map = reverseMap(this.#machine);
    this.#contexts = new ContextList(this.#machine);
    this.#label = labeller(scenario.image);
    this.#place = placer(scenario);
  }

  run(): Trace {
    let since = 0;
    let position = 0;
    let next = 0;
    /** states since the last event, with the number of the step before them */
    let seen = new Map<bigint, number>();
    while (this.#steps.length < LIMIT) {
      const choice = this.#schedule[next];
      if (choice !== undefined && since === choice.after) {
        next++;
        since = 0;
        seen = new Map();
        const status = this.#step(() => strike(this.#machine, choice, position), choice.event);
        if (status !== Status.OK) return this.#end(status);
        continue;
      }
      if (choice === undefined) {
        const fingerprint = this.#machine.engine.fingerprint();
        const before = seen.get(fingerprint);
        if (before !== undefined) return this.#repeats(before);
        seen.set(fingerprint, this.#steps.length);
      }
      const status = this.#step(() => this.#machine.step());
      since++;
      position++;
      if (status !== Status.OK) {
        if (next < this.#schedule.length) {
          const { event } = this.#schedule[next] as { event: string };
          if (status === Status.STOPPED)
            throw new InputError(`the schedule's "${event}" comes after the run has ended (at boundary ${position})`);
        }
        return this.#end(status);
      }
    }
    return { ...this.#base(), end: "limit", reason: `the run goes on after ${LIMIT} steps` };
  }

  #base() {
    return { design: this.#scenario.name, schedule: this.#schedule, steps: this.#steps };
  }

  /** Takes one step and notes it. */
  #step(act: () => Status, event?: string): Status {
    const machine = this.#machine;
    const { engine } = machine;
    const before = machine.registers();
    const mark = engine.logTop();
    const text = event ?? this.#instructionText();
    const innermost = this.#contexts.innermost?.number;
    const status = act();
    if (status === Status.STOPPED) return status;
    const executed = engine.executed() !== 0;
    const vector = engine.delivered();
    const index = this.#steps.length;
    const rip = before[Reg.RIP] ?? 0n;
    const delivery =
      vector < 0 ? undefined : { vector, name: vectorName(vector), frame: BigInt.asUintN(64, engine.deliveredFrame()) };
    const kind = event !== undefined ? "event" : executed ? "instruction" : delivery ? "delivery" : "instruction";
    const shown = kind === "delivery" && delivery ? `delivery of ${delivery.name}` : text;
    const blame = delivery ? `the delivery of ${delivery.name}` : `\`${shown}\` at ${this.#label(rip)}`;
    this.#instructionsAt.push(this.#instructions);
    if (executed) this.#instructions++;
    const ownersBefore = this.#contexts.owners();
    this.#contexts.update(index, blame);
    const ownersAfter = this.#contexts.owners();
    const writes = this.#writes(
      mark,
      (address) => (delivery ? ownersAfter(address) : undefined) ?? ownersBefore(address),
    );
    const after = machine.registers();
    const state = Number(before[Reg.STATE] ?? 0n);
    const resumed = engine.resumed() !== 0 ? innermost : undefined;
    const violation = status === Status.VIOLATION ? violationMessage(machine, this.#contexts) : undefined;
    this.#steps.push({
      index,
      kind,
      rip,
      label: this.#label(rip),
      text: shown,
      cpl: (state & State.CPL_MASK) === 3 ? 3 : 0,
      rsp: before[Reg.RSP] ?? 0n,
      nmiBlocked: (state & State.NMI_BLOCKED) !== 0,
      nmiPending: (state & State.NMI_PENDING) !== 0,
      registers: SHOWN_REGISTERS.flatMap(([register, name]) => {
        const [was = 0n, is = 0n] = [before[register], after[register]];
        return was === is ? [] : [{ name: inMode(name, this.#scenario.mode), before: was, after: is }];
      }),
      writes,
      ...(delivery && { delivered: delivery }),
      contexts: this.#contexts.snapshot(),
      ...(resumed !== undefined && { resumed }),
      ...(violation && { violation }),
    });
    return status;
  }

  #writes(mark: number, ownerOf: Owners): MemoryWrite[] {
    return this.#machine.writesSince(mark).flatMap(({ physical, before, after }) => {
      const address = linearOf(this.#map, physical);
      return this.#words(before, after).flatMap(({ offset, was, is }): MemoryWrite[] => {
        if (was === is) return [];
        const at = address + offset;
        const owner = ownerOf(at);
        return [{ address: at, before: was, after: is, place: this.#place(at), ...(owner && { owner }) }];
      });
    });
  }

  /** An 8-byte word as the scenario's code sees it: one word of 8 bytes, or two of 4. */
  #words(before: bigint, after: bigint) {
    if (this.#scenario.mode === 64) return [{ offset: 0n, was: before, is: after }];
    return [0n, 4n].map((offset) => {
      const half = (word: bigint) => (word >> (8n * offset)) & 0xffffffffn;
      return { offset, was: half(before), is: half(after) };
    });
  }

  /** AT&T text of the instruction ahead. */
  #instructionText(): string {
    const machine = this.#machine;
    const rip = machine.register(Reg.RIP);
    const bytes: number[] = [];
    for (let i = 0n; i < 15n; i++) {
      const physical = machine.physical(rip + machine.register(Reg.CS_BASE) + i);
      if (physical === undefined || physical >= machine.scenario.memory.size) break;
      bytes.push(machine.view.getUint8(machine.engine.ram() + physical));
    }
    const result = decode(Uint8Array.from(bytes), machine.mode());
    if (result.ok) return format(result.insn, rip, "att", (address) => this.#known(address));
    return `(bytes ${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")})`;
  }

  #known(address: bigint): string | undefined {
    const name = this.#label(address);
    return name.startsWith("0x") ? undefined : name;
  }

  #end(status: Status): Trace {
    const { engine } = this.#machine;
    if (status === Status.VIOLATION) {
      const last = this.#steps.at(-1)?.violation;
      if (!last) throw new Error("a violation without a step");
      return { ...this.#base(), end: "violation", violation: this.#violation(last.property, last.message) };
    }
    if (status === Status.UNSUPPORTED)
      return { ...this.#base(), end: "unsupported", reason: this.#unsupported(engine.lack(), engine.detail()) };
    return { ...this.#base(), end: "stopped" };
  }

  /** The run has come back to a state: harmless if it was quiescent on the way, else it never ends. */
  #repeats(before: number): Trace {
    const around = this.#steps.slice(before);
    const quiescent = around.some(({ contexts }) => contexts.length === 0);
    if (quiescent || !this.#scenario.properties.has(Prop.PROGRESS)) return { ...this.#base(), end: "repeats" };
    const top = this.#contexts.innermost;
    const from = around[0]?.label ?? "";
    const count = around.filter(({ kind }) => kind === "instruction").length;
    const message = `the run never ends: ${count === 1 ? "1 instruction" : `${count} instructions`} from ${from} ${count === 1 ? "leads" : "lead"} back to the same state, and ${top?.name ?? "a context"} (interrupted by ${top?.by} at ${this.#label(top?.rip ?? 0n)}) is never resumed`;
    return { ...this.#base(), end: "violation", violation: this.#violation(Prop.PROGRESS, message) };
  }

  #violation(property: Prop, message: string): Violation {
    return {
      property,
      message,
      events: this.#schedule.filter(({ event }) => event !== "hold").length,
      instructions: this.#instructions,
      schedule: this.#schedule,
      diagnosis: diagnosis(this.#contexts, this.#instructionsAt, this.#instructions),
    };
  }

  #unsupported(lack: Lack, detail: bigint): string {
    const value = `0x${BigInt.asUintN(64, detail).toString(16)}`;
    const at = this.#label(this.#machine.register(Reg.RIP));
    switch (lack) {
      case Lack.INSTRUCTION:
        return `the model lacks the instruction at ${at} (${value}): ${this.#instructionText()}`;
      case Lack.PHYSICAL:
        return `an access at ${at} reaches physical address ${value}, where the scenario has no memory`;
      case Lack.MODE:
        return `the code at ${at} enters a mode that the model lacks (real mode, vm86, 16-bit code or PAE without long mode)`;
      case Lack.TASK:
        return `a task switch or call gate at ${at} is not in the model`;
      case Lack.DEPTH:
        return `more than ${value} contexts are owed at once at ${at}`;
      case Lack.MSR:
        return `the model lacks MSR ${value}, which ${at} accesses`;
      default:
        return `the run writes more than the undo log holds, at ${at}`;
    }
  }
}
