import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { InputError } from "../diagnostic.js";
import { OWN_EVENTS, runMatrix } from "./matrix.js";

const SCENARIO = `
code: entry.S
body: { start: body, end: body_end }
programs: { user: { code: "1: jmp 1b" } }
tables: { idt: { nmi: { entry: entry_nmi, ist: 1 }, bp: { entry: entry_bp, ist: 2 } } }
stacks: { nmi: { size: 4096, ist: 1 }, debug: { size: 4096, ist: 2 } }
threats: { user: { nmi: holds, bp: nmi-reentry } }
`;
const ENTRY = `
entry_nmi: call body
  iretq
body: nop
body_end: ret
entry_bp: iretq
`;

describe("a matrix", () => {
  const folder = mkdtempSync(join(tmpdir(), "trapcheck-matrix-"));
  writeFileSync(join(folder, "entry.S"), ENTRY);
  writeFileSync(join(folder, "scenario.yaml"), SCENARIO);
  writeFileSync(join(folder, "variation.yaml"), "extends: scenario.yaml\nexpect: holds\n");
  afterAll(() => rmSync(folder, { recursive: true }));

  const table = async (options: { workers: number; all?: boolean }) => {
    const { rows } = await runMatrix(folder, options);
    return rows.map(({ cells }) =>
      cells.map(({ threat, applies, result }) => `${threat} ${applies ? (result?.property ?? result?.verdict) : "-"}`),
    );
  };
  const design = ["own holds", "nmi holds", "bp nmi-reentry", "pf -", "mc -", "mc-anywhere -"];
  const variation = ["own holds", "nmi -", "bp -", "pf -", "mc -", "mc-anywhere -"];

  it.each([1, 2, 4])("is the same with %i checks at a time", async (workers) => {
    expect(await table({ workers })).toEqual([design, variation]);
  });

  it("tries variations against all threats when asked to", async () => {
    expect(await table({ workers: 2, all: true })).toEqual([design, design]);
  });

  it("ends with the first wrong scenario", async () => {
    writeFileSync(join(folder, "wrong.yaml"), "extends: scenario.yaml\ncode: missing.S\n");
    await expect(runMatrix(folder, { workers: 2 })).rejects.toThrow(InputError);
    rmSync(join(folder, "wrong.yaml"));
  });

  it("leaves cells open when it is interrupted", async () => {
    const matrix = await runMatrix(folder, { workers: 2, signal: AbortSignal.abort() });
    expect(matrix.interrupted).toBe(true);
    expect(matrix.rows[0]?.cells.find(({ threat }) => threat === OWN_EVENTS)?.result).toBeUndefined();
  });
});
