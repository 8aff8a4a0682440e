// A worker thread: one machine of its own on the shared memory; does what it is told until it is ended.

import { parentPort, workerData } from "node:worker_threads";
import { Status } from "../engine/abi.js";
import { Machine, OutOfMemory } from "../machine/machine.js";
import type { Answer, Order, WorkerData } from "./crew.js";
import { begin, readFindings, workOn } from "./team.js";

const BUDGET = 0x7fffffff;

function work(machine: Machine): Answer {
  const status = workOn(machine, BUDGET);
  if (status === Status.DONE) return { kind: "done", findings: readFindings(machine) };
  return status === Status.TABLE_FULL ? { kind: "full" } : { kind: "paused" };
}

/** Runs `act` and answers with its result, or with the reason why it could not. */
function answer(act: () => Answer): void {
  let result: Answer;
  try {
    result = act();
  } catch (error) {
    if (error instanceof OutOfMemory) result = { kind: "memory" };
    else result = { kind: "error", text: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(result);
}

const { module, memory, scenario, coverage } = workerData as WorkerData;
answer(() => {
  const machine = new Machine(module, scenario, { memory, coverage });
  parentPort?.on("message", (order: Order) => {
    answer(() => {
      if (order.kind === "begin") begin(machine, order.round);
      return work(machine);
    });
  });
  return { kind: "ready" };
});
