// A thread of the pool: runs the jobs that it is sent.

import { parentPort } from "node:worker_threads";
import { InputError } from "../diagnostic.js";
import { type Job, type JobAnswer, runJob } from "./pool.js";

async function answer(job: Job): Promise<JobAnswer> {
  try {
    return { kind: "verdict", verdict: await runJob(job) };
  } catch (error) {
    if (error instanceof InputError) {
      const { message, location, notes } = error;
      return { kind: "input", text: message, ...(location && { location }), notes };
    }
    return { kind: "error", text: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on("message", async (job: Job) => parentPort?.postMessage(await answer(job)));
