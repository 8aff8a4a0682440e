import { expect, it } from "vitest";
import { Prop } from "../engine/abi.js";
import type { ScenarioEntry } from "../scenario/list.js";
import { palette } from "./colour.js";
import { designsJson, designsText } from "./designs.js";

const entry: ScenarioEntry = {
  name: "naive",
  file: "designs/naive/scenario.yaml",
  title: "One stack, one frame",
  from: "rostedt-2011",
  programs: ["user", "kernel"],
  threats: ["nmi", "bp"],
  expect: { verdict: "holds" },
  expected: new Map([
    [
      "user",
      new Map([
        ["nmi", { verdict: "holds" as const }],
        ["bp", { verdict: "violated" as const, property: Prop.RESUME, events: 2 }],
      ]),
    ],
  ]),
};
const { from: _from, expect: _expect, ...plain } = { ...entry, name: "bare", expected: new Map() };

it("lists names, sources, titles and expectations", () => {
  expect(designsText([entry, plain], palette(false))).toBe(`naive  from rostedt-2011
  One stack, one frame
  expected     holds
  user         nmi holds, bp resume@2

bare
  One stack, one frame
`);
});

it("as a document", () => {
  expect(designsJson([entry])).toEqual({
    designs: [
      {
        name: "naive",
        file: "designs/naive/scenario.yaml",
        title: "One stack, one frame",
        from: "rostedt-2011",
        programs: ["user", "kernel"],
        threats: ["nmi", "bp"],
        expect: "holds",
        expected: { user: { nmi: "holds", bp: "resume@2" } },
      },
    ],
  });
});
