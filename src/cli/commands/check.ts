import type { Command } from "commander";
import { labeller } from "../../image/labels.js";
import { json } from "../../report/format.js";
import { replayJson } from "../../report/trace-json.js";
import { outcomeText } from "../../report/trace-text.js";
import { verdictJson } from "../../report/verdict-json.js";
import { type Subject, verdictText } from "../../report/verdict-text.js";
import type { Scenario } from "../../scenario/types.js";
import { byteSize, positiveInteger, seconds } from "../options.js";
import { addScenario, type ScenarioOptions, subjectOf } from "../scenario-options.js";
import { type SearchOptions, search, traceStatus, verdictStatus } from "../search.js";
import type { Session } from "../session.js";

interface CheckCommandOptions extends ScenarioOptions, SearchOptions {
  readonly schedule?: string;
  readonly json?: boolean;
}

/** `check PATH`: the verdict on a scenario, or on one schedule of it. */
export function registerCheck(program: Command, session: Session): void {
  addScenario(program.command("check").description("say whether a scenario's properties hold for every schedule"))
    .option("--schedule <events>", "replay this schedule only, such as nmi@7,bp@+31")
    .option("--workers <number>", "worker threads (default: the cores)", positiveInteger)
    .option("--max-states <number>", "stop after so many states", positiveInteger)
    .option("--max-seconds <seconds>", "stop after so many seconds", seconds)
    .option("--max-memory <size>", "stop at this much memory, such as 512M or 2G", byteSize)
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (path: string, options: CheckCommandOptions) => {
      const { loadScenario } = await import("../../scenario/load.js");
      const subject = subjectOf(path, options);
      const scenario = loadScenario(path, subject);
      session.status =
        options.schedule === undefined
          ? await checkAll(session, scenario, subject, options)
          : await checkOne(session, scenario, subject, options.schedule, options.json);
    });
}

async function checkAll(session: Session, scenario: Scenario, subject: Subject, options: CheckCommandOptions) {
  const { formatSchedule } = await import("../../check/schedule.js");
  const { workers, maxStates, maxSeconds, maxMemory } = options;
  const verdict = await search(session, scenario, {
    ...(workers !== undefined && { workers }),
    ...(maxStates !== undefined && { maxStates }),
    ...(maxSeconds !== undefined && { maxSeconds }),
    ...(maxMemory !== undefined && { maxMemory }),
  });
  const schedule = verdict.violation ? formatSchedule(verdict.violation.schedule) : "";
  const label = labeller(scenario.image);
  const { write, colours } = session.text(options.json);
  write(verdictText(verdict, { subject, schedule, colours, label }));
  if (options.json) session.io.out.write(json(verdictJson(verdict, { schedule, label })));
  return verdictStatus(verdict.verdict);
}

async function checkOne(session: Session, scenario: Scenario, subject: Subject, text: string, asJson?: boolean) {
  const { formatSchedule, parseSchedule } = await import("../../check/schedule.js");
  const { trace } = await import("../../check/trace.js");
  const result = await trace(scenario, parseSchedule(text));
  const schedule = formatSchedule(result.schedule);
  const { write, colours } = session.text(asJson);
  write(outcomeText(result, { subject, schedule, colours }));
  if (asJson) session.io.out.write(json(replayJson(result, schedule)));
  return traceStatus(result);
}
