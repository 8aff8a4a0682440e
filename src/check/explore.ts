// The search: levels of chains (DESIGN: breadth-first over events, a deterministic run in between) until no new state is
// found, a property is violated, or a bound is hit.

import { availableParallelism, totalmem } from "node:os";
import { ChainFlag, Ctl, Prop } from "../engine/abi.js";
import { Machine, OutOfMemory } from "../machine/machine.js";
import { engineModule } from "../machine/wasm.js";
import type { Scenario } from "../scenario/types.js";
import { endlessCircles } from "./circles.js";
import { crew } from "./crew.js";
import { eventName } from "./replay.js";
import { solo } from "./solo.js";
import { FIRST_CHAIN, Space } from "./space.js";
import { type Branch, type Findings, Halt, type Round, type Team } from "./team.js";
import type { CheckOptions, Coverage, Schedule } from "./types.js";

/** What the search knows when it ends. */
export interface Exploration {
  /** levels completed */
  readonly levels: number;
  readonly chains: number;
  readonly states: number;
  readonly instructions: number;
  readonly workers: number;
  readonly memory: number;
  readonly used: number;
  readonly coverage: Coverage;
  readonly outcome:
    | { readonly kind: "complete" }
    | { readonly kind: "violated"; readonly schedule: Schedule; readonly distance: number }
    | { readonly kind: "unsupported"; readonly schedule: Schedule }
    | { readonly kind: "incomplete"; readonly reason: string };
}

/** With the number of workers left to us, threads are started once a search is worth their start-up. */
const THREADS_FROM = 100_000;
/** Chains on the way to a boundary that the engine keeps (MAX_PATH), less room for choices. */
const DEEPEST = 500;

export interface ExploreOptions extends CheckOptions {
  /** stop after this level */
  readonly maxLevel?: number;
}

export async function explore(scenario: Scenario, options: ExploreOptions = {}): Promise<Exploration> {
  const module = engineModule();
  const limit = Math.min(options.maxMemory ?? totalmem() / 2, 0xffff0000);
  const space = new Space(limit);
  const search = new Search(scenario, options, space, limit);
  try {
    return await search.run(module);
  } finally {
    await search.close();
  }
}

class Search {
  readonly #scenario: Scenario;
  readonly #options: ExploreOptions;
  readonly #space: Space;
  readonly #limit: number;
  readonly #started = performance.now();
  #machine: Machine | undefined;
  #team: Team | undefined;
  #threads = 1;
  #levels = 0;
  #level = 0;
  #chains = 0;
  #states = 0;
  #instructions = 0;
  #used = 0;

  constructor(scenario: Scenario, options: ExploreOptions, space: Space, limit: number) {
    this.#scenario = scenario;
    this.#options = options;
    this.#space = space;
    this.#limit = limit;
  }

  async close(): Promise<void> {
    await this.#team?.close();
  }

  async run(module: WebAssembly.Module): Promise<Exploration> {
    try {
      const machine = new Machine(module, this.#scenario, { memory: this.#space.memory });
      this.#machine = machine;
      this.#space.growTable(machine);
      this.#team = solo(this.#space, machine);
      return await this.#levelByLevel(machine, module);
    } catch (error) {
      if (error instanceof Halt) return this.#end({ kind: "incomplete", reason: error.message });
      if (error instanceof OutOfMemory) {
        return this.#end({ kind: "incomplete", reason: `the memory bound of ${mebibytes(this.#limit)} was reached` });
      }
      throw error;
    }
  }

  async #levelByLevel(machine: Machine, module: WebAssembly.Module): Promise<Exploration> {
    let base = FIRST_CHAIN;
    let findings = await this.#round("first");
    while (true) {
      findings = await this.#choices(machine, base, findings);
      const circles = this.#scenario.properties.has(Prop.PROGRESS) ? endlessCircles(this.#space, machine, base) : [];
      const worst = this.#shortest(findings, circles);
      if (worst) return this.#end({ kind: "violated", ...worst });
      if (findings.unsupported)
        return this.#end({ kind: "unsupported", schedule: this.#scheduleOf(findings.unsupported) });
      if (findings.states > 0) this.#levels = this.#level;
      const parents = this.#space.chainsFrom(machine, base);
      if (parents.length === 0) return this.#end({ kind: "complete" });
      if (this.#options.maxLevel === this.#level)
        return this.#end({ kind: "incomplete", reason: `level ${this.#level} was to be the last` });
      if (this.#level >= DEEPEST)
        throw new Halt(
          `schedules of more than ${DEEPEST} events are beyond this search; does the code count something that could be \`discarded\`?`,
        );
      await this.#recruit(machine, module);
      this.#level++;
      this.#space.setParents(machine, parents);
      base = this.#space.get(Ctl.NEXT_CHAIN);
      this.#space.set(Ctl.LEVEL_BASE, base);
      findings = await this.#round("events");
    }
  }

  /** Follows the choices that the manual leaves open on the chains of this level; they cost no event. */
  async #choices(machine: Machine, base: number, first: Findings): Promise<Findings> {
    let findings = first;
    let from = base;
    while (true) {
      const open = this.#space.chainsFrom(machine, from, ChainFlag.CHOICE);
      if (open.length === 0) return findings;
      from = this.#space.get(Ctl.NEXT_CHAIN);
      this.#space.setParents(machine, open);
      const more = await this.#round("choices");
      findings = {
        ...more,
        states: findings.states + more.states,
        ...shorter(findings, more),
        ...(findings.unsupported && { unsupported: findings.unsupported }),
      };
    }
  }

  async #round(round: Round): Promise<Findings> {
    const team = this.#team;
    if (!team) throw new Error("no team");
    const findings = await team.run(round, (states) => this.#supervise(states));
    this.#chains += findings.chains;
    this.#instructions += findings.instructions;
    this.#used |= findings.used;
    this.#supervise(this.#space.get(Ctl.STATES));
    return findings;
  }

  /** Bounds and progress. */
  #supervise(states: number): void {
    const { maxStates, maxSeconds, signal, onProgress } = this.#options;
    this.#states = states;
    const seconds = (performance.now() - this.#started) / 1000;
    onProgress?.({
      level: this.#level,
      states,
      statesPerSecond: seconds > 0 ? states / seconds : 0,
      chainsLeft: Math.max(0, this.#space.get(Ctl.PARENT_COUNT) - this.#space.get(Ctl.NEXT_PARENT)),
      seconds,
    });
    if (signal?.aborted) throw new Halt("it was interrupted");
    if (maxStates !== undefined && states > maxStates) throw new Halt(`the bound of ${maxStates} states was reached`);
    if (maxSeconds !== undefined && seconds > maxSeconds)
      throw new Halt(`the bound of ${maxSeconds} seconds was reached`);
  }

  /** Starts worker threads once that pays, or at once when the user asked for a number of them. */
  async #recruit(machine: Machine, module: WebAssembly.Module): Promise<void> {
    const wanted = this.#options.workers ?? availableParallelism();
    const from = this.#options.workers === undefined ? THREADS_FROM : 0;
    if (this.#threads > 1 || wanted < 2 || this.#states < from) return;
    this.#team = await crew(wanted, this.#space, machine, module);
    this.#threads = wanted;
  }

  #shortest(findings: Findings, circles: readonly { schedule: Schedule; distance: number }[]) {
    const found = findings.violation
      ? [{ schedule: this.#scheduleOf(findings.violation), distance: findings.violation.distance }]
      : [];
    return [...found, ...circles].sort((a, b) => a.distance - b.distance)[0];
  }

  #scheduleOf({ parent, position, event }: Branch): Schedule {
    if (parent === 0) return [];
    const before = this.#space.schedule(this.#scenario, parent);
    return [...before, { event: eventName(this.#scenario, event), after: position }];
  }

  #end(outcome: Exploration["outcome"]): Exploration {
    return {
      levels: this.#levels,
      chains: this.#chains,
      states: this.#states,
      instructions: this.#instructions,
      workers: this.#threads,
      memory: Math.min(this.#space.get(Ctl.FREE) * 64, this.#limit),
      used: this.#used,
      coverage: this.#coverage(),
      outcome,
    };
  }

  #coverage(): Coverage {
    const machine = this.#machine;
    if (!machine) return { reached: 0, total: 0, missed: [] };
    const { boundaries, missed } = machine.covered();
    return { reached: boundaries.length - missed.length, total: boundaries.length, missed };
  }
}

function shorter(a: Findings, b: Findings): Pick<Findings, "violation"> | undefined {
  const both = [a.violation, b.violation].flatMap((one) => one ?? []);
  const violation = both.sort((x, y) => x.distance - y.distance)[0];
  return violation && { violation };
}

function mebibytes(bytes: number): string {
  return bytes < 1 << 20 ? `${bytes} bytes` : `${Math.round(bytes / (1 << 20))} MiB`;
}
