// The options by which a command names a scenario.

import { type Command, Option } from "commander";
import type { Subject } from "../report/verdict-text.js";
import { THREAT_NAMES } from "../scenario/threats.js";

export interface ScenarioOptions {
  readonly program?: string;
  readonly threat?: string;
}

/** Adds the argument PATH and the options --program and --threat. */
export function addScenario(command: Command): Command {
  return command
    .argument("<path>", "a scenario file, or a folder with a scenario.yaml")
    .option("--program <name>", "the interrupted program, of those in the file")
    .addOption(
      new Option("--threat <name>", "a built-in set of events instead of the file's").choices([...THREAT_NAMES]),
    );
}

/** What the user named, without absent options. */
export function subjectOf(path: string, { program, threat }: ScenarioOptions): Subject {
  return { path, ...(program !== undefined && { program }), ...(threat !== undefined && { threat }) };
}
