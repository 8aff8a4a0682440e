import { describe, expect, it } from "vitest";
import type { CellResult, Matrix, MatrixCell } from "../check/matrix.js";
import { palette } from "./colour.js";
import { differs, matrixJson, matrixStatus, matrixText } from "./matrix.js";

const holds: CellResult = { verdict: "holds" };
const resume: CellResult = { verdict: "violated", property: "resume", events: 2 };
const cell = (threat: string, result?: CellResult, expected?: CellResult): MatrixCell => ({
  threat,
  applies: true,
  ...(result && { result }),
  ...(expected && { expected }),
});
const away: MatrixCell = { threat: "mc", applies: false };
const matrix = (...cells: MatrixCell[]): Matrix => ({
  threats: cells.map(({ threat }) => threat),
  rows: [{ scenario: "naive", program: "user", cells }],
  seconds: 1.5,
  interrupted: false,
});

describe("differs", () => {
  it.each([
    [cell("nmi", holds, holds), false],
    [cell("nmi", resume, holds), true],
    [cell("nmi", resume, { verdict: "violated", property: "resume" }), false],
    [cell("nmi", resume, { verdict: "violated", property: "resume", events: 1 }), true],
    [cell("nmi", resume, { verdict: "violated", property: "gs-base" }), true],
    [cell("nmi", { verdict: "incomplete" }, holds), true],
    [cell("nmi", resume), false],
    [cell("nmi", undefined, holds), false],
    [away, false],
    [{ ...away, expected: holds }, true],
  ])("%j: %s", (one, expected) => expect(differs(one)).toBe(expected));
});

describe("the table", () => {
  it("shows verdicts, totals, and what is not as expected", () => {
    const table = matrix(cell("nmi", holds, holds), cell("bp", resume, holds), away);
    expect(matrixText(table, palette(false))).toBe(`scenario  program  nmi     bp         mc
naive     user     holds   resume@2!  -

2 checks: 1 hold, 1 violated in 1.50 s
differs: naive, user, bp: expected holds, found resume@2
`);
    expect(matrixStatus(table)).toBe(1);
  });

  it("names open cells, and ends with 3 for them", () => {
    const table = matrix({ ...cell("nmi", { verdict: "unsupported" }), reason: "0f 77 at x." }, cell("bp"));
    expect(matrixText(table, palette(false)).split("\n").slice(-3)).toEqual([
      "open: naive, user, nmi: unsupported: 0f 77 at x.",
      "open: naive, user, bp: not checked",
      "",
    ]);
    expect(matrixStatus(table)).toBe(3);
    expect(matrixStatus(matrix(cell("nmi", holds, holds)))).toBe(0);
  });

  it("fits 120 columns, keeping the ends of long names", () => {
    const cells = ["nmi", "bp", "pf", "mc", "mc-anywhere"].map((threat) =>
      cell(threat, { verdict: "violated", property: "nmi-unmasked", events: 10 }),
    );
    const scenario = `${"long/".repeat(20)}end.yaml`;
    const text = matrixText({ ...matrix(...cells), rows: [{ scenario, program: "user", cells }] }, palette(false));
    const lines = text.split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(120);
    expect(lines[1]).toMatch(/^\.\..*end\.yaml {2}user {5}nmi-unmasked@10/);
  });
});

it("the document has every cell flat, with what was expected", () => {
  expect(matrixJson(matrix({ ...cell("bp", resume, holds), schedule: "bp@1,nmi@+2", states: 5 }))).toEqual({
    threats: ["bp"],
    rows: [
      {
        scenario: "naive",
        program: "user",
        cells: [
          {
            threat: "bp",
            applies: true,
            expected: holds,
            schedule: "bp@1,nmi@+2",
            states: 5,
            verdict: "violated",
            property: "resume",
            events: 2,
            differs: true,
          },
        ],
      },
    ],
    seconds: 1.5,
    interrupted: false,
    differing: 1,
  });
});
