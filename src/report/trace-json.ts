// A trace for programs. docs/cli.md describes the document field by field.

import type { Trace } from "../check/types.js";
import { propertyText } from "../scenario/properties.js";
import { violationJson } from "./verdict-json.js";

/** The document of `trace --json`; `json` writes its bigints as hex strings. */
export function traceJson(trace: Trace, schedule: string) {
  return {
    design: trace.design,
    schedule,
    end: trace.end,
    ...(trace.violation && { violation: violationJson(trace.violation, schedule) }),
    ...(trace.reason !== undefined && { reason: trace.reason }),
    steps: trace.steps.map(({ violation, ...step }) => ({
      ...step,
      ...(violation && { violation: { property: propertyText(violation.property).name, message: violation.message } }),
    })),
  };
}

/** The document of `check --schedule --json`: how one run ended. */
export function replayJson(trace: Trace, schedule: string) {
  const { steps, ...rest } = traceJson(trace, schedule);
  return { ...rest, steps: steps.length };
}
