// The verdict on a scenario.

import { Used } from "../engine/abi.js";
import type { Scenario } from "../scenario/types.js";
import { type Exploration, explore } from "./explore.js";
import { trace } from "./trace.js";
import type { CheckOptions, Outcome, Schedule, Verdict, Violation } from "./types.js";

/** Simplifications that a run made use of, as assumptions of the verdict. */
const SIMPLIFICATIONS: ReadonlyArray<readonly [Used, string]> = [
  [Used.PORTS, "IN reads all ones and OUT has no effect: the model has no devices"],
  [Used.TSC, "the time-stamp counter reads zero"],
  [Used.CPUID, "CPUID describes a fixed small processor"],
];

/**
 * Checks a scenario: for any number of events when the search is complete. Bounds, Ctrl-C and missing memory end in
 * `incomplete` with what is known so far.
 */
export async function check(scenario: Scenario, options: CheckOptions = {}): Promise<Verdict> {
  const start = performance.now();
  let found = await explore(scenario, options);
  if (found.outcome.kind === "violated" && found.workers > 1) {
    // Among equally short counterexamples threads find now this one, now that one; one worker always finds the same.
    const again = await explore(scenario, {
      ...(options.signal && { signal: options.signal }),
      workers: 1,
      maxLevel: found.levels + 1,
    });
    if (again.outcome.kind === "violated") found = { ...found, outcome: again.outcome };
  }
  return verdict(scenario, found, (performance.now() - start) / 1000);
}

function verdict(scenario: Scenario, found: Exploration, seconds: number): Verdict {
  const { outcome } = found;
  const violation = outcome.kind === "violated" ? violationOf(scenario, outcome.schedule) : undefined;
  const known: Outcome =
    outcome.kind === "complete"
      ? "holds"
      : outcome.kind === "unsupported"
        ? "unsupported"
        : outcome.kind === "violated"
          ? "violated"
          : "incomplete";
  const reason =
    outcome.kind === "incomplete"
      ? outcome.reason
      : outcome.kind === "unsupported"
        ? reasonOf(scenario, outcome.schedule)
        : undefined;
  return {
    design: scenario.name,
    verdict: known,
    levels: found.levels,
    chains: found.chains,
    states: found.states,
    instructions: found.instructions,
    seconds,
    workers: found.workers,
    memory: found.memory,
    missProbability: missProbability(found.states),
    assumptions: [
      ...scenario.assumptions,
      ...SIMPLIFICATIONS.flatMap(([bit, text]) => (found.used & bit ? [text] : [])),
    ],
    properties: [...scenario.properties]
      .sort((a, b) => a - b)
      .map((prop) => ({
        prop,
        verdict:
          known === "holds"
            ? ("holds" as const)
            : prop === violation?.property
              ? ("violated" as const)
              : ("unknown" as const),
      })),
    coverage: found.coverage,
    ...(violation && { violation }),
    ...(reason !== undefined && { reason }),
  };
}

/** Plays the schedule again, now with names. */
function violationOf(scenario: Scenario, schedule: Schedule): Violation {
  const { violation } = trace(scenario, schedule);
  if (!violation)
    throw new Error(`the schedule found for ${scenario.name} does not violate anything when it is replayed`);
  return violation;
}

function reasonOf(scenario: Scenario, schedule: Schedule): string {
  return trace(scenario, schedule).reason ?? "the model lacks something on this run";
}

/** Probability that two of n states share a 64-bit fingerprint, so that one was taken for known (birthday bound). */
export function missProbability(states: number): number {
  return -Math.expm1(-(states * (states - 1)) / 2 ** 65);
}
