// When text is coloured, and what the colours mean. Nothing else in the project knows an escape code.

import pc from "picocolors";

type Paint = (text: string) => string;

/** Colours by meaning. */
export interface Palette {
  readonly good: Paint;
  readonly bad: Paint;
  readonly warn: Paint;
  readonly event: Paint;
  readonly strong: Paint;
  readonly quiet: Paint;
}

/** A palette; without colours every paint gives its text back. */
export function palette(enabled: boolean): Palette {
  const c = pc.createColors(enabled);
  return { good: c.green, bad: c.red, warn: c.yellow, event: c.cyan, strong: c.bold, quiet: c.dim };
}

/** NO_COLOR (any text) forbids, FORCE_COLOR (any text but `0`) demands; else a terminal that is not `dumb` decides. */
export function wantsColour(env: Readonly<Record<string, string | undefined>>, terminal: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== "0";
  return terminal && env.TERM !== "dumb";
}
