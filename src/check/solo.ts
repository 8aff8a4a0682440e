// One worker: this thread.

import { Ctl, Status } from "../engine/abi.js";
import type { Machine } from "../machine/machine.js";
import type { Space } from "./space.js";
import { begin, type Round, readFindings, type Supervise, type Team, workOn } from "./team.js";

/** Steps between two looks at bounds; a few milliseconds. */
const BUDGET = 50_000;
/** Milliseconds of work after which the event loop gets a turn, for Ctrl-C and the progress line. */
const TURN = 25;

export function solo(space: Space, machine: Machine): Team {
  return {
    size: 1,
    async run(round: Round, supervise: Supervise) {
      begin(machine, round);
      let turn = performance.now();
      while (true) {
        const status = workOn(machine, BUDGET);
        if (status === Status.DONE) return readFindings(machine);
        if (status === Status.TABLE_FULL) space.growTable(machine);
        supervise(space.get(Ctl.STATES));
        if (performance.now() - turn > TURN) {
          await new Promise((resolve) => setImmediate(resolve));
          turn = performance.now();
        }
      }
    },
    async close() {},
  };
}
