// A verdict for programs. docs/cli.md describes the document field by field.

import type { Verdict, Violation } from "../check/types.js";
import type { Label } from "../image/labels.js";
import { propertyText } from "../scenario/properties.js";

export interface VerdictJsonOptions {
  /** as `formatSchedule` writes it; given when there is a violation */
  readonly schedule?: string;
  readonly label: Label;
}

/** The document of `check --json`, ready for JSON.stringify. */
export function verdictJson(verdict: Verdict, { schedule = "", label }: VerdictJsonOptions) {
  const { design, levels, chains, states, instructions, seconds, missProbability, assumptions, workers, memory } =
    verdict;
  return {
    design,
    verdict: verdict.verdict,
    levels,
    chains,
    states,
    instructions,
    seconds,
    missProbability,
    assumptions,
    properties: verdict.properties.map((one) => ({ name: propertyText(one.prop).name, verdict: one.verdict })),
    coverage: {
      reached: verdict.coverage.reached,
      total: verdict.coverage.total,
      missed: verdict.coverage.missed.map(label),
    },
    workers,
    memory,
    ...(verdict.violation && { violation: violationJson(verdict.violation, schedule) }),
    ...(verdict.reason !== undefined && { reason: verdict.reason }),
  };
}

/** A violation inside a document. */
export function violationJson(violation: Violation, schedule: string) {
  const { message, events, instructions, diagnosis } = violation;
  return { property: propertyText(violation.property).name, message, events, instructions, schedule, diagnosis };
}
