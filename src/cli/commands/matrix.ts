import type { Command } from "commander";
import { json } from "../../report/format.js";
import { matrixJson, matrixStatus, matrixText } from "../../report/matrix.js";
import { progressLine } from "../../report/progress.js";
import { packageDesigns } from "../files.js";
import { positiveInteger } from "../options.js";
import type { Session } from "../session.js";

interface MatrixCommandOptions {
  readonly workers?: number;
  readonly all?: boolean;
  readonly json?: boolean;
}

/** `matrix [FOLDER]`: every scenario against every threat. */
export function registerMatrix(program: Command, session: Session): void {
  program
    .command("matrix")
    .description("check every design of a folder against every threat")
    .argument("[folder]", "a folder of scenarios (default: the designs of the package)")
    .option("--workers <number>", "checks at a time (default: the cores)", positiveInteger)
    .option("--all", "every scenario file against every threat, not only the designs themselves")
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (folder: string | undefined, { workers, all, json: asJson }: MatrixCommandOptions) => {
      const { runMatrix } = await import("../../check/matrix.js");
      const { err } = session.io;
      const line = progressLine((text) => err.write(text), err.terminal, err.columns);
      const matrix = await session.interruptible(async (signal) => {
        try {
          return await runMatrix(folder ?? packageDesigns(), {
            ...(workers !== undefined && { workers }),
            ...(all && { all }),
            signal,
            onProgress: (what, seconds) => line.update(what, seconds),
          });
        } finally {
          line.end();
        }
      });
      const { write, colours } = session.text(asJson);
      write(matrixText(matrix, colours));
      if (asJson) session.io.out.write(json(matrixJson(matrix)));
      session.status = matrixStatus(matrix);
    });
}
