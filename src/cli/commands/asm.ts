import { type Command, Option } from "commander";
import { formatDiagnostic, type InputError } from "../../diagnostic.js";
import { json } from "../../report/format.js";
import { assembledLines, assemblyJson, assemblyListing } from "../../report/listing.js";
import { readInput } from "../files.js";
import { definition, modeOption } from "../options.js";
import type { Session } from "../session.js";

interface AsmOptions {
  readonly mode: 32 | 64;
  readonly define: ReadonlyMap<string, bigint>;
  readonly json?: boolean;
}

/** `asm FILE...`: what the assembler makes of each source line. */
export function registerAsm(program: Command, session: Session): void {
  program
    .command("asm")
    .description("assemble GNU-syntax source and list address, bytes and source")
    .argument("<file...>", "assembly files, assembled together")
    .addOption(modeOption("of the code").default(64))
    .addOption(
      new Option("--define <name=number>", "a symbol given before the first line (may be repeated)")
        .argParser(definition)
        .default(new Map(), "none"),
    )
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (files: readonly string[], options: AsmOptions) => {
      const { assemble } = await import("../../asm/assemble.js");
      const sources = files.map((file) => ({ file, text: Buffer.from(readInput(file)).toString("utf8") }));
      const onWarning = (warning: InputError) => {
        session.io.err.write(`${formatDiagnostic(warning).replace("error:", "warning:")}\n`);
      };
      const module = assemble(sources, { mode: options.mode, define: options.define, onWarning });
      const texts = new Map(sources.map(({ file, text }) => [file, text]));
      const lines = assembledLines(module, texts);
      const { write, colours } = session.text(options.json);
      write(assemblyListing(lines, texts, colours));
      if (options.json) session.io.out.write(json(assemblyJson(options.mode, module, lines)));
    });
}
