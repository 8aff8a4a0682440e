// Several workers: threads that share linear memory, and in it the table, the chains and the list of parents.

import { Worker } from "node:worker_threads";
import { Ctl } from "../engine/abi.js";
import { type Machine, OutOfMemory } from "../machine/machine.js";
import type { Scenario } from "../scenario/types.js";
import type { Space } from "./space.js";
import { type Findings, joinFindings, type Round, type Supervise, type Team } from "./team.js";

/** To a worker. */
export type Order =
  | { readonly kind: "begin"; readonly round: Round }
  | { readonly kind: "continue" }
  | { readonly kind: "end" };
/** From a worker. */
export type Answer =
  | { readonly kind: "ready" }
  | { readonly kind: "full" }
  | { readonly kind: "paused" }
  | { readonly kind: "done"; readonly findings: Findings }
  | { readonly kind: "memory" }
  | { readonly kind: "error"; readonly text: string };

/** What a worker is started with. */
export interface WorkerData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly scenario: Scenario;
  readonly coverage: number;
}

/** Milliseconds between two looks at bounds. */
const LOOK = 50;
const GO_ON = 0;
const PAUSE = 1;

/** Workers are JavaScript files; when this file runs as TypeScript (in tests), theirs is the built one. */
function workerFile(): URL {
  const compiled = new URL("./worker.js", import.meta.url);
  return import.meta.url.endsWith(".ts") ? new URL("../../dist/check/worker.js", import.meta.url) : compiled;
}

class Member {
  readonly #worker: Worker;
  readonly #answers: Answer[] = [];
  #waiting: ((answer: Answer) => void) | undefined;

  constructor(data: WorkerData) {
    this.#worker = new Worker(workerFile(), { workerData: data });
    this.#worker.on("message", (answer: Answer) => this.#receive(answer));
    this.#worker.on("error", (error) => this.#receive({ kind: "error", text: error.message }));
  }

  #receive(answer: Answer): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting(answer);
    else this.#answers.push(answer);
  }

  order(order: Order): void {
    this.#worker.postMessage(order);
  }

  /** The next answer; a failure of the worker is thrown. */
  async answer(): Promise<Exclude<Answer, { kind: "error" | "memory" }>> {
    const answer = this.#answers.shift() ?? (await new Promise<Answer>((resolve) => (this.#waiting = resolve)));
    if (answer.kind === "error") throw new Error(answer.text);
    if (answer.kind === "memory") throw new OutOfMemory();
    return answer;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Starts `size` worker threads. `machine` is this thread's own: it makes the tables. */
export async function crew(size: number, space: Space, machine: Machine, module: WebAssembly.Module): Promise<Team> {
  const data: WorkerData = { module, memory: space.memory, scenario: machine.scenario, coverage: machine.coverage };
  const members = Array.from({ length: size }, () => new Member(data));
  const close = async () => {
    await Promise.all(members.map((member) => member.end()));
  };
  try {
    for (const member of members) await member.answer();
  } catch (error) {
    await close();
    throw error;
  }

  /** Stops all workers at their next boundary; they answer `paused`, `full` or `done`. */
  const pause = (value: number) => Atomics.store(new Int32Array(space.memory.buffer), Ctl.STOP / 4, value);

  return {
    size,
    close,
    async run(round: Round, supervise: Supervise) {
      pause(GO_ON);
      for (const member of members) member.order({ kind: "begin", round });
      let failure: unknown;
      const timer = setInterval(() => {
        try {
          supervise(space.get(Ctl.STATES));
        } catch (error) {
          failure ??= error;
          pause(PAUSE);
        }
      }, LOOK);
      try {
        const findings: Findings[] = [];
        let running = members;
        while (running.length > 0) {
          const answers = await Promise.all(
            running.map(async (member) => {
              const answer = await member.answer();
              if (answer.kind === "full") pause(PAUSE);
              return { member, answer };
            }),
          );
          if (failure !== undefined) throw failure;
          for (const { answer } of answers) if (answer.kind === "done") findings.push(answer.findings);
          if (answers.some(({ answer }) => answer.kind === "full")) space.growTable(machine);
          pause(GO_ON);
          running = answers.filter(({ answer }) => answer.kind !== "done").map(({ member }) => member);
          for (const member of running) member.order({ kind: "continue" });
        }
        return joinFindings(findings);
      } finally {
        clearInterval(timer);
      }
    },
  };
}
