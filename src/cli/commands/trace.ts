import type { Command } from "commander";
import type { Trace } from "../../check/types.js";
import { json } from "../../report/format.js";
import { traceJson } from "../../report/trace-json.js";
import { traceText } from "../../report/trace-text.js";
import type { Scenario } from "../../scenario/types.js";
import { addScenario, type ScenarioOptions, subjectOf } from "../scenario-options.js";
import { search, traceStatus, verdictStatus } from "../search.js";
import { Exit, type Session } from "../session.js";

interface TraceCommandOptions extends ScenarioOptions {
  readonly schedule?: string;
  readonly json?: boolean;
}

/** `trace PATH`: a run step by step; without a schedule the shortest counterexample. */
export function registerTrace(program: Command, session: Session): void {
  addScenario(
    program.command("trace").description("show a run step by step: the shortest counterexample, or a schedule"),
  )
    .option("--schedule <events>", "the run to show, such as nmi@7,bp@+31; empty for the run without events")
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (path: string, options: TraceCommandOptions) => {
      const { loadScenario } = await import("../../scenario/load.js");
      const { formatSchedule } = await import("../../check/schedule.js");
      const scenario = loadScenario(path, subjectOf(path, options));
      const { trace, preface, status } = await chooseRun(session, scenario, options.schedule);
      const schedule = formatSchedule(trace.schedule);
      const { write, colours } = session.text(options.json);
      write(`${preface === undefined ? "" : `${preface}\n\n`}${traceText(trace, { schedule, colours })}`);
      if (options.json) session.io.out.write(json(traceJson(trace, schedule)));
      session.status = status;
    });
}

interface Run {
  readonly trace: Trace;
  /** why it is this run that is shown, when the user did not choose it and nothing is violated */
  readonly preface?: string;
  readonly status: number;
}

async function chooseRun(session: Session, scenario: Scenario, wanted: string | undefined): Promise<Run> {
  const { parseSchedule } = await import("../../check/schedule.js");
  const { trace } = await import("../../check/trace.js");
  if (wanted !== undefined) {
    const result = await trace(scenario, parseSchedule(wanted));
    return { trace: result, status: traceStatus(result) };
  }
  const { design, verdict, violation, reason } = await search(session, scenario, {});
  if (violation) {
    const result = await trace(scenario, violation.schedule);
    return { trace: { ...result, violation: result.violation ?? violation }, status: Exit.violated };
  }
  const why =
    verdict === "holds" ? "holds for any number of events" : `${verdict}${reason === undefined ? "" : `: ${reason}`}`;
  return { trace: await trace(scenario, []), preface: `${design}: ${why}`, status: verdictStatus(verdict) };
}
