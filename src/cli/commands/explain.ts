import { Argument, type Command } from "commander";
import { explainJson, explainText } from "../../report/explain.js";
import { json } from "../../report/format.js";
import { PROPERTIES, PROPERTY_NAMES } from "../../scenario/properties.js";
import type { Session } from "../session.js";

/** `explain [PROPERTY]`: what a property demands and why. */
export function registerExplain(program: Command, session: Session): void {
  program
    .command("explain")
    .description("say what a property demands, and why")
    .addArgument(new Argument("[property]", "the property (default: all)").choices(PROPERTY_NAMES))
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action((name: string | undefined, options: { readonly json?: boolean }) => {
      const chosen = PROPERTIES.filter((property) => name === undefined || property.name === name);
      const { write, colours } = session.text(options.json);
      write(explainText(chosen, colours));
      if (options.json) session.io.out.write(json(explainJson(chosen)));
    });
}
