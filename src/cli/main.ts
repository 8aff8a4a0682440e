// The command line: the commands, and what an error means for the exit status.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { formatDiagnostic, InputError } from "../diagnostic.js";
import { palette, wantsColour } from "../report/colour.js";
import { json } from "../report/format.js";
import { registerAsm } from "./commands/asm.js";
import { registerCheck } from "./commands/check.js";
import { registerCompletion } from "./commands/completion.js";
import { registerDisasm } from "./commands/disasm.js";
import { registerExplain } from "./commands/explain.js";
import { registerList } from "./commands/list.js";
import { registerMatrix } from "./commands/matrix.js";
import { registerTrace } from "./commands/trace.js";
import { processIo } from "./process.js";
import { Exit, type Io, Session } from "./session.js";

const DESCRIPTION =
  "Checks x86 exception entry code: lets every event arrive at every instruction boundary,\n" +
  "and proves that what was interrupted resumes, or prints the shortest schedule that breaks it.";

const EPILOGUE = `
Examples:
  trapcheck check designs/rostedt-2011                    is this design right?
  trapcheck check mine/ --threat bp --json                one document on standard output
  trapcheck trace designs/naive --threat bp               the shortest counterexample, step by step
  trapcheck trace designs/naive --schedule 'nmi@3'        one run of your choice
  trapcheck matrix                                        every design against every threat
  trapcheck disasm vmlinux --symbol asm_exc_nmi           what the machine will execute

Exit status: 0 holds, 1 violated, 2 wrong input, 3 incomplete or unsupported, 4 internal error.`;

/** The program with all its commands. */
export function makeProgram(session: Session): Command {
  const { out, err } = session.io;
  const coloured = (terminal: boolean) => wantsColour(session.io.env, terminal);
  const program = new Command("trapcheck")
    .description(DESCRIPTION)
    .version(packageVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .addHelpText("after", EPILOGUE)
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      getOutHelpWidth: () => out.columns,
      getErrHelpWidth: () => err.columns,
      getOutHasColors: () => coloured(out.terminal),
      getErrHasColors: () => coloured(err.terminal),
    });
  for (const register of [
    registerCheck,
    registerTrace,
    registerMatrix,
    registerList,
    registerExplain,
    registerAsm,
    registerDisasm,
    registerCompletion,
  ]) {
    register(program, session);
  }
  return program;
}

/**
 * Runs one command line (without the program's name) and gives its exit status: 0 holds, 1 violated, 2 wrong input,
 * 3 incomplete or unsupported, 4 internal error. Never throws.
 */
export async function main(args: readonly string[], io: Io): Promise<number> {
  const session = new Session(io);
  try {
    await makeProgram(session).parseAsync([...args], { from: "user" });
    return session.status;
  } catch (error) {
    return explainError(error, io, args.includes("--json"));
  }
}

/** Runs the command line of this process. */
export async function run(): Promise<void> {
  process.exitCode = await main(process.argv.slice(2), processIo());
}

function explainError(error: unknown, io: Io, asJson: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return Exit.holds;
    // commander has said on standard error what is wrong
    if (asJson) io.out.write(json({ error: { message: error.message.replace(/^error: /, "") } }));
    return Exit.input;
  }
  const { bad } = palette(wantsColour(io.env, io.err.terminal));
  if (error instanceof InputError) {
    io.err.write(`${formatDiagnostic(error).replace(/(?<=^|: )error:/, (word) => bad(word))}\n`);
    const { message, location, notes } = error;
    if (asJson) io.out.write(json({ error: { message, ...location, notes } }));
    return Exit.input;
  }
  const message = error instanceof Error ? error.message : String(error);
  const stack = io.env.TRAPCHECK_DEBUG === "1" && error instanceof Error ? `${error.stack}\n` : "";
  const hint = stack === "" ? " (TRAPCHECK_DEBUG=1 shows where)" : "";
  io.err.write(`${bad("internal error:")} ${message.split("\n")[0]}${hint}\n${stack}`);
  if (asJson) io.out.write(json({ error: { message, internal: true } }));
  return Exit.internal;
}

function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
