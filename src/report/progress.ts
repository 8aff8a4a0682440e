// One line on the terminal that is rewritten in place, and gone at the end.

import type { Progress } from "../check/types.js";
import { count, plural } from "./format.js";

export interface ProgressLine {
  /** Shows the text, once the run has lasted long enough to be looked at. */
  update(text: string, seconds: number): void;
  /** Erases the line. */
  end(): void;
}

/** Runs shorter than this show nothing (seconds). */
const QUIET = 0.5;

export function progressText(progress: Progress): string {
  const { level, states, statesPerSecond, chainsLeft } = progress;
  return `level ${level}: ${plural(states, "state")}, ${count(statesPerSecond)} states/s, ${plural(chainsLeft, "chain")} left`;
}

/** A progress line; silent where the stream is no terminal. `columns` is its width. */
export function progressLine(write: (text: string) => void, terminal: boolean, columns: number): ProgressLine {
  let shown = false;
  return {
    update(text, seconds) {
      if (!terminal || seconds <= QUIET) return;
      shown = true;
      write(`\r\x1b[K${text.slice(0, columns - 1)}`);
    },
    end() {
      if (shown) write("\r\x1b[K");
      shown = false;
    },
  };
}
