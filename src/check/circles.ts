// Endless runs, found exactly. Every chain that stopped at a known state names the chain that owns it, so the chains of a
// level form a graph with one way out each; a circle in it is a run that never ends. It is harmless when the machine is
// quiescent somewhere on it (the interrupted program's own loop), else it violates `progress`.

import { Reg, Status } from "../engine/abi.js";
import type { Machine } from "../machine/machine.js";
import { replay } from "./replay.js";
import type { Space } from "./space.js";
import type { Schedule } from "./types.js";

export interface Circle {
  /** leads to the state of the circle that is nearest to the initial state */
  readonly schedule: Schedule;
  /** instructions to that state, and once around */
  readonly distance: number;
}

/** Circles of the chains from `base` on that are never quiescent. Moves the machine. */
export function endlessCircles(space: Space, machine: Machine, base: number): Circle[] {
  return space.circlesFrom(machine, base).flatMap((chain) => follow(space, machine, chain) ?? []);
}

/** Runs once around the circle that a chain's end lies on. */
function follow(space: Space, machine: Machine, chain: number): Circle | undefined {
  const { engine, scenario } = machine;
  machine.reset();
  replay(machine, space.schedule(scenario, chain));
  const { length } = space.chain(chain);
  for (let n = 0; n <= length; n++) if (machine.step() !== Status.OK) return undefined;
  const first = engine.fingerprint();
  let nearest = { distance: Number.POSITIVE_INFINITY, owner: 0 };
  let around = 0;
  do {
    if (machine.register(Reg.DEPTH) === 0n) return undefined;
    const known = BigInt.asUintN(64, engine.lookup(engine.fingerprint()));
    const distance = Number(known >> 32n);
    if (distance < nearest.distance) nearest = { distance, owner: Number(known & 0xffffffffn) };
    if (machine.step() !== Status.OK) return undefined;
    if (engine.executed()) around++;
  } while (engine.fingerprint() !== first);
  return { schedule: space.schedule(scenario, nearest.owner), distance: nearest.distance + around };
}
