// The list of designs.

import { expectedResult } from "../check/matrix.js";
import type { ScenarioEntry } from "../scenario/list.js";
import type { Expectation } from "../scenario/types.js";
import type { Palette } from "./colour.js";
import { wrap } from "./format.js";
import { resultText } from "./matrix.js";

const WIDTH = 108;
const TITLE = 12;

/** One paragraph per scenario: its name, source, title, and what is expected of it. */
export function designsText(entries: readonly ScenarioEntry[], { strong, quiet, good, bad }: Palette): string {
  const painted = (expectation: Expectation) => {
    const text = expectationText(expectation);
    return expectation.verdict === "holds" ? good(text) : bad(text);
  };
  const row = (title: string, text: string) => `  ${quiet(title.padEnd(TITLE))} ${text}`;
  const blocks = entries.map(({ name, title, from, expect, expected }) => [
    `${strong(name)}${from === undefined ? "" : quiet(`  from ${from}`)}`,
    ...wrap(title, WIDTH).map((line) => `  ${line}`),
    ...(expect === undefined ? [] : [row("expected", painted(expect))]),
    ...[...expected].map(([program, threats]) =>
      row(program, [...threats].map(([threat, expectation]) => `${threat} ${painted(expectation)}`).join(", ")),
    ),
  ]);
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** The document of `list --json`. */
export function designsJson(entries: readonly ScenarioEntry[]) {
  return {
    designs: entries.map(({ name, file, title, from, programs, threats, expect, expected }) => ({
      name,
      file,
      title,
      ...(from !== undefined && { from }),
      programs,
      threats,
      ...(expect && { expect: expectationText(expect) }),
      expected: Object.fromEntries(
        [...expected].map(([program, row]) => [
          program,
          Object.fromEntries([...row].map(([threat, expectation]) => [threat, expectationText(expectation)])),
        ]),
      ),
    })),
  };
}

function expectationText(expectation: Expectation): string {
  return resultText(expectedResult(expectation));
}
