import { describe, expect, it } from "vitest";
import type { Verdict } from "../check/types.js";
import { Prop } from "../engine/abi.js";
import { palette } from "./colour.js";
import { hex } from "./format.js";
import { verdictJson } from "./verdict-json.js";
import { replayCommand, verdictText } from "./verdict-text.js";

const holds: Verdict = {
  design: "rostedt-2011",
  verdict: "holds",
  levels: 3,
  chains: 1240,
  states: 5678,
  instructions: 12345,
  seconds: 0.5,
  workers: 4,
  memory: 34 * 2 ** 20,
  missProbability: 1.7e-12,
  assumptions: ["Writes to nmi_count are dropped."],
  properties: [
    { prop: Prop.RESUME, verdict: "holds" },
    { prop: Prop.NMI_SERVED, verdict: "holds" },
  ],
  coverage: { reached: 9, total: 10, missed: [0x10n] },
};

const violated: Verdict = {
  ...holds,
  design: "naive",
  verdict: "violated",
  properties: [
    { prop: Prop.RESUME, verdict: "violated" },
    { prop: Prop.NMI_SERVED, verdict: "unknown" },
  ],
  assumptions: [],
  coverage: { reached: 10, total: 10, missed: [] },
  violation: {
    property: Prop.RESUME,
    message: "user code resumes at body+0x4 instead of spin.",
    events: 2,
    instructions: 41,
    schedule: [
      { event: "bp", after: 7 },
      { event: "nmi", after: 4 },
    ],
    diagnosis: ["RIP of the frame of user code was overwritten by the delivery of an NMI, 9 instructions before."],
  },
};

const label = (address: bigint) => `at_${hex(address)}`;
const text = (verdict: Verdict, schedule = "", threat?: string) =>
  verdictText(verdict, {
    subject: { path: "designs/naive", ...(threat !== undefined && { threat }) },
    schedule,
    colours: palette(false),
    label,
  });

describe("the text of a verdict", () => {
  it("holds", () => {
    expect(text(holds)).toBe(`holds for any number of events

  rostedt-2011: every event was tried at every boundary where it is allowed. After 3 events nothing new can
  happen.

  searched    3 levels, 1,240 chains, 5,678 states, 12,345 instructions
  time        0.50 s (11,356 states/s), 4 workers, 34 MiB
  certainty   a state was missed with probability 1.7e-12
  properties  hold: resume, nmi-served
  assuming    Writes to nmi_count are dropped.
  coverage    9 of 10 boundaries of the entry code; not reached: at_0x10
`);
  });

  it("violated", () => {
    expect(text(violated, "bp@7,nmi@+4", "bp")).toBe(`violated: resume

  naive: user code resumes at body+0x4 instead of spin.

  - RIP of the frame of user code was overwritten by the delivery of an NMI, 9 instructions before.

  schedule    bp@7,nmi@+4  (2 events, 41 instructions)
  replay      npx trapcheck trace designs/naive --threat bp --schedule 'bp@7,nmi@+4'

  searched    3 levels, 1,240 chains, 5,678 states, 12,345 instructions
  time        0.50 s (11,356 states/s), 4 workers, 34 MiB
  certainty   a state was missed with probability 1.7e-12
  properties  violated: resume; not decided: nmi-served
  coverage    10 of 10 boundaries of the entry code
`);
  });

  it.each([
    ["incomplete", "the bound of 1,000 states was reached."],
    ["unsupported", "0f 77 (emms) at entry+0x3 is not in the model."],
  ] as const)("%s, with the reason", (verdict, reason) => {
    const lines = text({ ...holds, verdict, reason }).split("\n");
    expect(lines[0]).toBe(verdict);
    expect(lines[2]).toBe(`  rostedt-2011: ${reason}`);
  });

  it("counts the labels that it does not list", () => {
    const missed = Array.from({ length: 11 }, (_, index) => BigInt(index));
    const lines = text({ ...holds, coverage: { reached: 0, total: 11, missed } });
    expect(lines).toContain("at_0x7 and 3 more");
    expect(lines).not.toContain("at_0x8");
  });

  it("gives the command with all that was named, quoted for a shell", () => {
    expect(replayCommand({ path: "my design", program: "syscall", threat: "mc" }, "nmi@1")).toBe(
      "npx trapcheck trace 'my design' --program syscall --threat mc --schedule 'nmi@1'",
    );
  });
});

describe("the document of a verdict", () => {
  it("names properties and labels, and leaves out what there is not", () => {
    expect(verdictJson(holds, { label })).toEqual({
      design: "rostedt-2011",
      verdict: "holds",
      levels: 3,
      chains: 1240,
      states: 5678,
      instructions: 12345,
      seconds: 0.5,
      missProbability: 1.7e-12,
      assumptions: ["Writes to nmi_count are dropped."],
      properties: [
        { name: "resume", verdict: "holds" },
        { name: "nmi-served", verdict: "holds" },
      ],
      coverage: { reached: 9, total: 10, missed: ["at_0x10"] },
      workers: 4,
      memory: 34 * 2 ** 20,
    });
  });

  it("carries the violation with its schedule as text", () => {
    expect(verdictJson(violated, { schedule: "bp@7,nmi@+4", label }).violation).toEqual({
      property: "resume",
      message: "user code resumes at body+0x4 instead of spin.",
      events: 2,
      instructions: 41,
      schedule: "bp@7,nmi@+4",
      diagnosis: violated.violation?.diagnosis,
    });
  });

  it("carries the reason", () => {
    expect(verdictJson({ ...holds, verdict: "incomplete", reason: "why" }, { label }).reason).toBe("why");
  });
});
