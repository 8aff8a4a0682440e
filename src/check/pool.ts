// Many checks at a time: each in one thread of a pool, one check after the other. For one check with many threads see crew.

import { Worker } from "node:worker_threads";
import { InputError, type Location } from "../diagnostic.js";
import { loadScenario } from "../scenario/load.js";
import { check } from "./check.js";
import type { Verdict } from "./types.js";

/** A scenario to load and check. */
export interface Job {
  readonly file: string;
  readonly program?: string;
  readonly threat?: string;
}

/** What a pool thread answers. */
export type JobAnswer =
  | { readonly kind: "verdict"; readonly verdict: Verdict }
  | { readonly kind: "input"; readonly text: string; readonly location?: Location; readonly notes: readonly string[] }
  | { readonly kind: "error"; readonly text: string };

export interface PoolOptions {
  readonly size: number;
  readonly signal?: AbortSignal;
  readonly onDone?: (job: number) => void;
}

/** Loads and checks one scenario in this thread, without helpers. */
export async function runJob(job: Job, signal?: AbortSignal): Promise<Verdict> {
  const { file, program, threat } = job;
  const scenario = loadScenario(file, {
    ...(program !== undefined && { program }),
    ...(threat !== undefined && { threat }),
  });
  return check(scenario, { workers: 1, ...(signal && { signal }) });
}

/**
 * Verdicts in the order of the jobs; undefined for those that an interrupt kept from being run. InputError: the first
 * scenario that is wrong.
 */
export async function runJobs(jobs: readonly Job[], options: PoolOptions): Promise<ReadonlyArray<Verdict | undefined>> {
  const verdicts: Array<Verdict | undefined> = jobs.map(() => undefined);
  const { signal, onDone } = options;
  let next = 0;
  const lane = async (run: (job: Job) => Promise<Verdict | undefined>) => {
    while (next < jobs.length && !signal?.aborted) {
      const number = next++;
      verdicts[number] = await run(jobs[number] as Job);
      onDone?.(number);
    }
  };
  const size = Math.min(options.size, jobs.length);
  if (size < 2) {
    await lane((job) => runJob(job, signal));
    return verdicts;
  }
  const threads = Array.from({ length: size }, () => new Worker(jobFile()));
  const stop = () => Promise.all(threads.map((thread) => thread.terminate()));
  try {
    await Promise.all(threads.map((thread) => lane((job) => ask(thread, job, signal))));
  } finally {
    await stop();
  }
  return verdicts;
}

/** Pool threads are JavaScript files; when this file runs as TypeScript (in tests), theirs is the built one. */
function jobFile(): URL {
  const path = import.meta.url.endsWith(".ts") ? "../../dist/check/job.js" : "./job.js";
  return new URL(path, import.meta.url);
}

/** One job for a thread; undefined when an interrupt comes first. */
function ask(thread: Worker, job: Job, signal?: AbortSignal): Promise<Verdict | undefined> {
  return new Promise((resolve, reject) => {
    const end = () => {
      signal?.removeEventListener("abort", onAbort);
      thread.off("error", onError);
      thread.off("message", onMessage);
    };
    const onAbort = () => {
      end();
      resolve(undefined);
    };
    const onError = (error: Error) => {
      end();
      reject(error);
    };
    const onMessage = (answer: JobAnswer) => {
      end();
      if (answer.kind === "verdict") resolve(answer.verdict);
      else if (answer.kind === "input") reject(new InputError(answer.text, answer.location, answer.notes));
      else reject(new Error(answer.text));
    };
    signal?.addEventListener("abort", onAbort);
    thread.on("error", onError);
    thread.on("message", onMessage);
    thread.postMessage(job);
  });
}
