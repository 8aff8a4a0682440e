// Who does the work of a level: this thread alone, or several worker threads on one shared table.

import { Result, Status } from "../engine/abi.js";
import type { Machine } from "../machine/machine.js";

/** What a round of work found, all workers together. */
export interface Findings {
  readonly chains: number;
  readonly states: number;
  readonly instructions: number;
  readonly violation?: Candidate;
  readonly unsupported?: Branch;
  /** Used bits of all workers so far */
  readonly used: number;
}

/** Where a chain branches off: from a chain, at a boundary of it, with an event. Parent 0: the first chain. */
export interface Branch {
  readonly parent: number;
  readonly position: number;
  readonly event: number;
}

/** A violation found on a chain, and how many instructions it is from the initial state. */
export interface Candidate extends Branch {
  readonly distance: number;
}

/** Kinds of round: the first chain; all events at the boundaries of the parents; the choices that the manual leaves open. */
export type Round = "first" | "events" | "choices";

/** Asked now and then: may the work go on? Throws `Halt` when not. */
export type Supervise = (states: number) => void;

export interface Team {
  readonly size: number;
  run(round: Round, supervise: Supervise): Promise<Findings>;
  close(): Promise<void>;
}

/** The work ends early, with what is known so far: a bound was hit, or the user asked. */
export class Halt extends Error {}

/** What one worker's engine reports after a round. */
export function readFindings(machine: Machine): Findings {
  const { view, engine } = machine;
  const at = engine.results();
  const word = (field: Result) => Number(view.getBigUint64(at + field, true));
  return {
    chains: word(Result.CHAINS),
    states: word(Result.STATES),
    instructions: word(Result.INSTRUCTIONS),
    used: engine.used(),
    ...(word(Result.VIOLATED) && {
      violation: {
        distance: word(Result.DISTANCE),
        parent: word(Result.PARENT),
        position: word(Result.POSITION),
        event: word(Result.EVENT),
      },
    }),
    ...(word(Result.UNSUPPORTED) && {
      unsupported: { parent: word(Result.U_PARENT), position: word(Result.U_POSITION), event: word(Result.U_EVENT) },
    }),
  };
}

export function joinFindings(all: readonly Findings[]): Findings {
  const violations = all.flatMap(({ violation }) => violation ?? []);
  const violation = violations.sort((a, b) => a.distance - b.distance)[0];
  const unsupported = all.find((one) => one.unsupported)?.unsupported;
  return {
    chains: all.reduce((sum, one) => sum + one.chains, 0),
    states: all.reduce((sum, one) => sum + one.states, 0),
    instructions: all.reduce((sum, one) => sum + one.instructions, 0),
    used: all.reduce((bits, one) => bits | one.used, 0),
    ...(violation && { violation }),
    ...(unsupported && { unsupported }),
  };
}

/** Starts a round on one engine. */
export function begin(machine: Machine, round: Round): void {
  if (round === "first") machine.engine.beginFirst();
  else machine.engine.beginLevel(round === "choices");
}

/** Works until the round is done, the table is full, or the budget of steps is used up; decodes on the way. */
export function workOn(machine: Machine, budget: number): Status {
  while (true) {
    const status = machine.engine.work(budget);
    if (status !== Status.DECODE) return status;
    machine.decodeRequested();
  }
}
