// The list of designs.

import type { Palette } from "./colour.js";
import { wrap } from "./format.js";

export interface ListedDesign {
  readonly name: string;
  /** the scenario file, relative to the folder */
  readonly scenario: string;
  readonly title: string;
  /** where the idea comes from */
  readonly from?: string;
  /** `holds`, `resume@2`, ... for the scenario's own events */
  readonly expect?: string;
  readonly programs: readonly string[];
  /** expected results: program -> threat -> `holds`, `resume@2` */
  readonly threats: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** One paragraph per design: its name, title, source, and what is expected of it. */
export function designsText(designs: readonly ListedDesign[], { strong, quiet, good, bad }: Palette): string {
  const verdict = (text: string) => (text === "holds" ? good : bad)(text);
  const blocks = designs.map((design) => {
    const threats = Object.entries(design.threats).map(([program, byThreat]) => {
      const cells = Object.entries(byThreat).map(([threat, result]) => `${threat} ${verdict(result)}`);
      return `  ${quiet(program.padEnd(12))}${cells.join(", ")}`;
    });
    return [
      `${strong(design.scenario)}${design.from === undefined ? "" : quiet(`  from ${design.from}`)}`,
      ...wrap(design.title, 108).map((line) => `  ${line}`),
      ...(design.expect === undefined ? [] : [`  ${quiet("expected".padEnd(12))}${verdict(design.expect)}`]),
      ...threats,
    ].join("\n");
  });
  return blocks.length === 0 ? "no scenario found\n" : `${blocks.join("\n\n")}\n`;
}
