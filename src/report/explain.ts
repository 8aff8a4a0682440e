// What the properties mean, from src/scenario/properties.ts.

import type { PropertyText } from "../scenario/properties.js";
import type { Palette } from "./colour.js";
import { wrap } from "./format.js";

const WIDTH = 98;

/** Each property: its name, what must hold, and why. */
export function explainText(properties: readonly PropertyText[], { strong, quiet }: Palette): string {
  const blocks = properties.map(({ name, sentence, explanation }) => [
    strong(name),
    ...wrap(`${sentence}.`, WIDTH).map((line) => `  ${line}`),
    "",
    ...wrap(explanation, WIDTH).map((line) => `  ${quiet(line)}`),
  ]);
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** The document of `explain --json`. */
export function explainJson(properties: readonly PropertyText[]) {
  return { properties: properties.map(({ name, sentence, explanation }) => ({ name, sentence, explanation })) };
}
