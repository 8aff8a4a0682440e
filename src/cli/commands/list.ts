import type { Command } from "commander";
import { designsJson, designsText } from "../../report/designs.js";
import { json } from "../../report/format.js";
import { packageDesigns } from "../files.js";
import type { Session } from "../session.js";

/** `list [FOLDER]`: the scenarios of a folder and what is expected of them. */
export function registerList(program: Command, session: Session): void {
  program
    .command("list")
    .description("list scenarios with their sources and expected verdicts")
    .argument("[folder]", "a folder of scenarios (default: the designs of the package)")
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (folder: string | undefined, options: { readonly json?: boolean }) => {
      const { listScenarios } = await import("../../scenario/list.js");
      const entries = listScenarios(folder ?? packageDesigns());
      const { write, colours } = session.text(options.json);
      write(designsText(entries, colours));
      if (options.json) session.io.out.write(json(designsJson(entries)));
    });
}
