import { describe, expect, it } from "vitest";
import type { Trace, TraceContext, TraceStep } from "../check/types.js";
import { Prop } from "../engine/abi.js";
import { palette } from "./colour.js";
import { json } from "./format.js";
import { replayJson, traceJson } from "./trace-json.js";
import { outcomeText, traceText } from "./trace-text.js";

const step = (part: Partial<TraceStep> & Pick<TraceStep, "index" | "label" | "text">): TraceStep => ({
  kind: "instruction",
  rip: 0x1000n,
  cpl: 0,
  rsp: 0x2000n,
  nmiBlocked: true,
  nmiPending: false,
  registers: [],
  writes: [],
  contexts: [],
  ...part,
});

const user: TraceContext = {
  number: 1,
  name: "user code",
  by: "NMI",
  rip: 0x401000n,
  label: "spin",
  rsp: 0x7000n,
  frame: { low: 0x1ff0n, high: 0x2000n },
  overwritten: [],
};
const damaged: TraceContext = {
  ...user,
  overwritten: [{ address: 0x1ff0n, slot: "RIP", step: 3, by: "instruction" }],
};

const violation = {
  property: Prop.RESUME,
  message: "user code resumes at 0x5 instead of spin",
  events: 1,
  instructions: 4,
  schedule: [{ event: "nmi", after: 1 }],
  diagnosis: ["RIP of the frame was overwritten 1 instruction before."],
};

const trace: Trace = {
  design: "naive",
  schedule: violation.schedule,
  end: "violation",
  violation,
  steps: [
    step({ index: 0, label: "spin", text: "jmp spin", cpl: 3, nmiBlocked: false }),
    step({
      index: 1,
      kind: "event",
      label: "spin",
      text: "nmi",
      cpl: 3,
      nmiBlocked: true,
      delivered: { vector: 2, name: "#NMI", frame: 0x1ff0n },
      contexts: [user],
      writes: [
        { address: 0x1ff8n, before: 0n, after: 0x7000n, place: "nmi stack -0x8", owner: { context: 1, slot: "RSP" } },
        {
          address: 0x1ff0n,
          before: 0n,
          after: 0x401000n,
          place: "nmi stack -0x10",
          owner: { context: 1, slot: "RIP" },
        },
      ],
    }),
    step({
      index: 2,
      label: "entry",
      text: "push %rax",
      contexts: [user],
      registers: [
        { name: "RIP", before: 0n, after: 1n },
        { name: "RSP", before: 0x1ff0n, after: 0x1fe8n },
      ],
      writes: [{ address: 0x1fe8n, before: 0n, after: 7n, place: "nmi stack -0x18" }],
    }),
    step({
      index: 3,
      label: "entry+0x1",
      text: "movq $5,8(%rsp)",
      contexts: [damaged],
      writes: [
        {
          address: 0x1ff0n,
          before: 0x401000n,
          after: 5n,
          place: "nmi stack -0x10",
          owner: { context: 1, slot: "RIP" },
        },
      ],
    }),
    step({
      index: 4,
      label: "entry+0x6",
      text: "iretq",
      nmiPending: true,
      resumed: 1,
      violation: { property: Prop.RESUME, message: violation.message },
    }),
  ],
};

describe("the text of a trace", () => {
  it("is one line per instruction; events, damage and resumes stand out", () => {
    expect(traceText(trace, { schedule: "nmi@1", colours: palette(false) })).toBe(`naive: the run with nmi@1

    0 u   spin             jmp spin
    1 ub  >>> event nmi at spin
          nmi stack -0x8       0x0 -> 0x7000 RSP of context 1
          nmi stack -0x10      0x0 -> 0x401000 RIP of context 1
          context 1 begins: user code, to resume at spin, rsp 0x7000, frame nmi stack -0x10, 16 bytes
          owed: 1 user code (NMI, nmi stack -0x10, 16 bytes)
    2 kb  entry            push %rax                [nmi stack -0x18]=0x7
    3 kb  entry+0x1        movq $5,8(%rsp)
          OVERWRITTEN RIP of context 1 (user code), nmi stack -0x10: 0x401000 -> 0x5
    4 kbp entry+0x6        iretq
          context 1 (user code) resumes
          VIOLATES resume: user code resumes at 0x5 instead of spin

violated: resume
  user code resumes at 0x5 instead of spin
  - RIP of the frame was overwritten 1 instruction before.
`);
  });

  it.each([
    ["stopped", "no violation: the run ends, with nothing owed, after 5 steps"],
    ["repeats", "no violation: after 5 steps the run is in a state where it has been before"],
    ["limit", "the trace stops here, after 5 steps: enough"],
    ["unsupported", "unsupported"],
  ] as const)("ends: %s", (end, expected) => {
    const { violation: _, ...plain } = trace;
    const quiet = plain.steps.slice(0, 4).concat(step({ index: 4, label: "x", text: "nop" }));
    const text = outcomeText(
      { ...plain, steps: quiet, end, reason: "enough" },
      { subject: { path: "a" }, schedule: "", colours: palette(false) },
    );
    expect(text.split("\n")[0]).toBe(expected);
    expect(text).toContain("npx trapcheck trace a --schedule ''");
  });

  it("says where damage lies when the write is not in the step", () => {
    const last = step({ index: 3, label: "x", text: "nop", contexts: [damaged] });
    const text = traceText({ ...trace, steps: [last] }, { schedule: "", colours: palette(false) });
    expect(text).toContain("OVERWRITTEN RIP of context 1 (user code), 0x1ff0\n");
  });
});

describe("the document of a trace", () => {
  it("has every step, numbers above 2^53 safe, properties by name", () => {
    const document = JSON.parse(json(traceJson(trace, "nmi@1")));
    expect(document).toMatchObject({ design: "naive", schedule: "nmi@1", end: "violation" });
    expect(document.violation.property).toBe("resume");
    expect(document.steps).toHaveLength(5);
    expect(document.steps[1].writes[1]).toEqual({
      address: "0x1ff0",
      before: "0x0",
      after: "0x401000",
      place: "nmi stack -0x10",
      owner: { context: 1, slot: "RIP" },
    });
    expect(document.steps[4].violation).toEqual({ property: "resume", message: violation.message });
  });

  it("counts the steps where only the outcome was asked for", () => {
    expect(replayJson(trace, "nmi@1")).toMatchObject({ end: "violation", steps: 5, schedule: "nmi@1" });
  });
});
