// What a command needs of the world around it: streams, colours, an end.

import type { Command } from "commander";
import { type Palette, palette, wantsColour } from "../report/colour.js";

export interface Sink {
  write(text: string): void;
  readonly terminal: boolean;
  readonly columns: number;
}

/** The process as the commands see it; tests give their own. */
export interface Io {
  readonly out: Sink;
  readonly err: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Calls back at each Ctrl-C until the returned function is called. */
  onInterrupt(handler: () => void): () => void;
  /** Ends the process at once. */
  quit(status: number): void;
}

/** Exit statuses (docs/cli.md). */
export const Exit = { holds: 0, violated: 1, input: 2, open: 3, internal: 4, interrupted: 130 } as const;

/** Where text goes, and its colours. */
export interface TextOut {
  readonly write: (text: string) => void;
  readonly colours: Palette;
}

export class Session {
  readonly io: Io;
  status: number = Exit.holds;

  constructor(io: Io) {
    this.io = io;
  }

  /** Text for people: standard output, or standard error where a document takes standard output. */
  text(json: boolean | undefined): TextOut {
    const sink = json ? this.io.err : this.io.out;
    return { write: (text) => sink.write(text), colours: palette(wantsColour(this.io.env, sink.terminal)) };
  }

  /** Runs `work` with a signal that the first Ctrl-C aborts; the second one quits. */
  async interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const dispose = this.io.onInterrupt(() => {
      if (controller.signal.aborted) this.io.quit(Exit.interrupted);
      else controller.abort();
    });
    try {
      return await work(controller.signal);
    } finally {
      dispose();
    }
  }
}

/** Adds a command to the program. */
export type Register = (program: Command, session: Session) => void;
