// The real process behind the commands.

import type { Io, Sink } from "./session.js";

const COLUMNS = 100;

/** Standard streams, environment and Ctrl-C of this process. */
export function processIo(): Io {
  return {
    out: sink(process.stdout),
    err: sink(process.stderr),
    env: process.env,
    onInterrupt(handler) {
      process.on("SIGINT", handler);
      return () => process.off("SIGINT", handler);
    },
    quit: (status) => process.exit(status),
  };
}

/**
 * A reader that has gone away (EPIPE) ends the output, not the run: the exit status still tells the verdict. Output that
 * cannot be written for another reason, such as a full disk, is lost, which is said and is no success (status 2).
 */
function sink(stream: NodeJS.WriteStream): Sink {
  let open = true;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (open && error.code !== "EPIPE") {
      process.on("exit", () => {
        process.exitCode = 2;
      });
      if (stream === process.stdout) process.stderr.write(`error: the output cannot be written (${error.code})\n`);
    }
    open = false;
  });
  return {
    write(text) {
      if (open) stream.write(text);
    },
    get terminal() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? COLUMNS;
    },
  };
}
