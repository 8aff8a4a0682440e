import type { Command } from "commander";
import { json } from "../../report/format.js";
import { matrixJson, matrixStatus, matrixText } from "../../report/matrix.js";
import { progressLine, progressText } from "../../report/progress.js";
import { packageDesigns } from "../files.js";
import { positiveInteger } from "../options.js";
import type { Session } from "../session.js";

interface MatrixCommandOptions {
  readonly workers?: number;
  readonly json?: boolean;
}

/** `matrix [FOLDER]`: every scenario against every threat. */
export function registerMatrix(program: Command, session: Session): void {
  program
    .command("matrix")
    .description("check every scenario of a folder against every threat")
    .argument("[folder]", "a folder of scenarios (default: the designs of the package)")
    .option("--workers <number>", "worker threads of each check (default: the cores)", positiveInteger)
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (folder: string | undefined, { workers, json: asJson }: MatrixCommandOptions) => {
      const { runMatrix } = await import("../../report/matrix-run.js");
      const { err } = session.io;
      const line = progressLine((text) => err.write(text), err.terminal, err.columns);
      const matrix = await session.interruptible(async (signal) => {
        try {
          return await runMatrix(folder ?? packageDesigns(), {
            ...(workers !== undefined && { workers }),
            signal,
            onProgress: (what, seconds, progress) =>
              line.update(progress ? `${what}, ${progressText(progress)}` : what, seconds),
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
