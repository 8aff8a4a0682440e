// A schedule played on one machine: to its last event, or step by step.

import { InputError } from "../diagnostic.js";
import { Special, Status } from "../engine/abi.js";
import type { Machine } from "../machine/machine.js";
import type { Scenario } from "../scenario/types.js";
import type { Choice, Schedule } from "./types.js";

/** Name of the choice that holds an NMI through the shadow of STI (fact 3.5). */
export const HOLD = "hold";

export function eventNumber(scenario: Scenario, name: string): number {
  if (name === HOLD) return Special.HOLD;
  const number = scenario.events.findIndex((rule) => rule.name === name);
  if (number >= 0) return number;
  const known = scenario.events.map((rule) => rule.name).join(", ");
  throw new InputError(
    `the schedule names the event "${name}", which ${scenario.name} does not have (it has ${known || "none"})`,
  );
}

export function eventName(scenario: Scenario, number: number): string {
  return number === Special.HOLD ? HOLD : (scenario.events[number]?.name ?? `event ${number}`);
}

/** Brings in an event, or says in one sentence why it cannot strike here. */
export function strike(machine: Machine, choice: Choice, position: number): Status {
  const number = eventNumber(machine.scenario, choice.event);
  const where = `after ${position} boundaries`;
  if (number === Special.HOLD) {
    if (!machine.engine.mayHold())
      throw new InputError(`the schedule's "${HOLD}" ${where}: no NMI is pending in the shadow of STI there`);
    machine.engine.hold();
    return Status.OK;
  }
  if (!machine.mayStrike(number)) {
    throw new InputError(`the schedule's "${choice.event}" ${where}: the scenario does not let it strike there`);
  }
  return machine.inject(number);
}

/** Plays a schedule up to and with its last event. The machine must be in its initial state. */
export function replay(machine: Machine, schedule: Schedule): Status {
  let status: Status = Status.OK;
  let position = 0;
  for (const choice of schedule) {
    for (let n = 0; n < choice.after && status === Status.OK; n++, position++) status = machine.step();
    if (status !== Status.OK) {
      throw new InputError(`the schedule's "${choice.event}" comes after the run has ended (at boundary ${position})`);
    }
    status = strike(machine, choice, position);
  }
  return status;
}
