import { Argument, type Command } from "commander";
import { completionScript, SHELLS, type Shell } from "../completion.js";
import type { Session } from "../session.js";

/** `completion SHELL`: a script that completes commands, options and their values. */
export function registerCompletion(program: Command, session: Session): void {
  program
    .command("completion")
    .description("print a completion script for a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .action((shell: Shell) => session.io.out.write(completionScript(program, shell)));
}
