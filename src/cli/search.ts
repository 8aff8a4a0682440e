// A check as the commands run it: with a progress line, and with Ctrl-C.

import type { Bounds, Outcome, Trace, Verdict } from "../check/types.js";
import { progressLine, progressText } from "../report/progress.js";
import type { Scenario } from "../scenario/types.js";
import { Exit, type Session } from "./session.js";

export interface SearchOptions extends Bounds {
  readonly workers?: number;
}

/** Checks a scenario. The first Ctrl-C ends the check with what is known so far. */
export async function search(session: Session, scenario: Scenario, options: SearchOptions): Promise<Verdict> {
  const { check } = await import("../check/check.js");
  const { err } = session.io;
  const line = progressLine((text) => err.write(text), err.terminal, err.columns);
  return session.interruptible(async (signal) => {
    try {
      return await check(scenario, {
        ...options,
        signal,
        onProgress: (progress) => line.update(progressText(progress), progress.seconds),
      });
    } finally {
      line.end();
    }
  });
}

/** The exit status of a verdict. */
export function verdictStatus(verdict: Outcome): number {
  if (verdict === "holds") return Exit.holds;
  return verdict === "violated" ? Exit.violated : Exit.open;
}

/** The exit status of one run: 1 when it violates, 3 when it was not followed to its end. */
export function traceStatus(trace: Trace): number {
  if (trace.end === "violation" || trace.violation) return Exit.violated;
  return trace.end === "limit" || trace.end === "unsupported" ? Exit.open : Exit.holds;
}
