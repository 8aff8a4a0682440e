// check, trace and matrix with a search that answers what the test wants: what they print where, and their exit statuses.

import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { CheckOptions, Trace, Verdict } from "../check/types.js";
import { InputError } from "../diagnostic.js";
import { Prop } from "../engine/abi.js";
import type { Scenario } from "../scenario/types.js";
import { main } from "./main.js";

const fake = vi.hoisted(() => ({
  check: (_scenario: unknown, _options: unknown): Promise<unknown> => Promise.reject(new Error("not set")),
  trace: (_scenario: unknown, _schedule: unknown): unknown => undefined,
}));

vi.mock("../check/check.js", () => ({ check: (a: unknown, b: unknown) => fake.check(a, b) }));
vi.mock("../check/trace.js", () => ({ trace: (a: unknown, b: unknown) => fake.trace(a, b) }));
vi.mock("../check/schedule.js", () => ({
  formatSchedule: (schedule: readonly { event: string; after: number }[]) =>
    schedule.map(({ event, after }, index) => `${event}@${index === 0 ? "" : "+"}${after}`).join(","),
  parseSchedule: (text: string) => {
    if (text === "nonsense") throw new InputError(`no schedule: ${text}`);
    return text === "" ? [] : [{ event: text.split("@")[0], after: Number(text.split("@")[1]) }];
  },
}));

const violation = {
  property: Prop.RESUME,
  message: "user code does not resume.",
  events: 1,
  instructions: 9,
  schedule: [{ event: "nmi", after: 3 }],
  diagnosis: [],
};
const holds: Verdict = {
  design: "tiny",
  verdict: "holds",
  levels: 1,
  chains: 2,
  states: 3,
  instructions: 4,
  seconds: 0.1,
  workers: 1,
  memory: 1,
  missProbability: 0,
  assumptions: [],
  properties: [{ prop: Prop.RESUME, verdict: "holds" }],
  coverage: { reached: 1, total: 1, missed: [] },
};
const violated: Verdict = { ...holds, verdict: "violated", violation };
const incomplete: Verdict = { ...holds, verdict: "incomplete", reason: "interrupted." };
const quietRun: Trace = { design: "tiny", schedule: [], end: "stopped", steps: [] };
const badRun: Trace = { ...quietRun, schedule: violation.schedule, end: "violation", violation };

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "trapcheck-"));
  const scenario = `
title: a tiny scenario
code: entry.S
programs: { user: { code: "spin: jmp spin" } }
tables: { idt: { nmi: nmi_entry } }
stacks: { nmi: { size: 4096, rsp0: true } }
expect: holds
threats: { user: { nmi: holds } }
`;
  writeFileSync(join(folder, "scenario.yaml"), scenario);
  writeFileSync(join(folder, "entry.S"), "nmi_entry: iretq\n");
});

let interrupt: () => void = () => {};
const quits: number[] = [];
afterEach(() => quits.splice(0));

async function run(args: readonly string[], env: Record<string, string> = {}) {
  const text = { out: "", err: "" };
  const sink = (name: "out" | "err") => ({
    write: (more: string) => {
      text[name] += more;
    },
    terminal: name === "err",
    columns: 80,
  });
  const status = await main(args, {
    out: sink("out"),
    err: sink("err"),
    env: { NO_COLOR: "1", ...env },
    onInterrupt: (handler) => {
      interrupt = handler;
      return () => {
        interrupt = () => {};
      };
    },
    quit: (code) => quits.push(code),
  });
  return { status, ...text };
}

const answer = (verdict: Verdict) => {
  fake.check = () => Promise.resolve(verdict);
};

describe("check", () => {
  it.each([
    [holds, 0, "holds for any number of events"],
    [violated, 1, "violated: resume"],
    [incomplete, 3, "incomplete"],
    [{ ...incomplete, verdict: "unsupported" as const }, 3, "unsupported"],
  ])("%#: the verdict first, and its exit status", async (verdict, expected, line) => {
    answer(verdict);
    const { status, out, err } = await run(["check", folder]);
    expect({ status, err, line: out.split("\n")[0] }).toEqual({ status: expected, err: "", line });
  });

  it("with --json: one document on standard output, the text on standard error", async () => {
    answer(violated);
    const { status, out, err } = await run(["check", folder, "--json"]);
    expect(status).toBe(1);
    expect(JSON.parse(out).violation).toMatchObject({ property: "resume", schedule: "nmi@3" });
    expect(err).toContain(`npx trapcheck trace ${folder} --schedule 'nmi@3'`);
  });

  it("hands the bounds on, and the threat to the scenario and the replay command", async () => {
    let seen: { scenario?: Scenario; options?: CheckOptions } = {};
    fake.check = (scenario, options) => {
      seen = { scenario: scenario as Scenario, options: options as CheckOptions };
      return Promise.resolve(violated);
    };
    const bounds = ["--workers", "2", "--max-states", "9", "--max-seconds", "1.5", "--max-memory", "1M"];
    const { out } = await run(["check", folder, "--threat", "nmi", "--program", "user", ...bounds]);
    expect(seen.options).toMatchObject({ workers: 2, maxStates: 9, maxSeconds: 1.5, maxMemory: 2 ** 20 });
    expect(seen.scenario).toMatchObject({ title: "a tiny scenario", program: "user" });
    expect(out).toContain("--program user --threat nmi --schedule 'nmi@3'");
  });

  it.each([
    [badRun, 1, "violated: resume"],
    [quietRun, 0, "no violation"],
    [{ ...quietRun, end: "unsupported" as const, reason: "0f 77" }, 3, "unsupported"],
  ])("--schedule %#: how that run ends", async (trace, expected, text) => {
    fake.trace = () => trace;
    const { status, out, err } = await run(["check", folder, "--schedule", "nmi@3", "--json"]);
    expect(status).toBe(expected);
    expect(err).toContain(text);
    expect(JSON.parse(out)).toMatchObject({ end: trace.end, steps: 0 });
  });

  it("--schedule refuses nonsense", async () => {
    expect(await run(["check", folder, "--schedule", "nonsense"])).toMatchObject({
      status: 2,
      out: "",
      err: "error: no schedule: nonsense\n",
    });
  });

  it("an internal error is one sentence; TRAPCHECK_DEBUG=1 adds the stack", async () => {
    fake.check = () => Promise.reject(new Error("the engine is gone"));
    const short = await run(["check", folder, "--json"]);
    expect(short).toMatchObject({
      status: 4,
      err: "internal error: the engine is gone (TRAPCHECK_DEBUG=1 shows where)\n",
    });
    expect(JSON.parse(short.out)).toEqual({ error: { message: "the engine is gone", internal: true } });
    expect((await run(["check", folder], { TRAPCHECK_DEBUG: "1" })).err).toMatch(/\n\s+at /);
  });

  it("Ctrl-C aborts the search and reports what is known; a second one quits", async () => {
    fake.check = async (_, options) => {
      interrupt();
      expect((options as CheckOptions).signal?.aborted).toBe(true);
      expect(quits).toEqual([]);
      interrupt();
      return incomplete;
    };
    const { status, out } = await run(["check", folder]);
    expect({ status, quits }).toEqual({ status: 3, quits: [130] });
    expect(out).toMatch(/^incomplete\n\n {2}tiny: interrupted\.\n/);
  });

  it("shows progress on a terminal and erases it", async () => {
    fake.check = async (_, options) => {
      const progress = { level: 1, states: 2000, statesPerSecond: 10, chainsLeft: 3, seconds: 0.7 };
      (options as CheckOptions).onProgress?.(progress);
      return holds;
    };
    const { err } = await run(["check", folder]);
    expect(err).toBe("\r\x1b[Klevel 1: 2,000 states, 10 states/s, 3 chains left\r\x1b[K");
  });

  it("FORCE_COLOR paints, and the text is the same without its paint", async () => {
    answer(violated);
    const { out } = await run(["check", folder], { NO_COLOR: "", FORCE_COLOR: "1" });
    expect(out).toContain("\x1b[31m");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is taken out
    expect(out.replace(/\x1b\[\d+m/g, "")).toBe((await run(["check", folder])).out);
  });
});

describe("trace", () => {
  it("without a schedule shows the counterexample of the check", async () => {
    answer(violated);
    let asked: unknown;
    fake.trace = (_, schedule) => {
      asked = schedule;
      return badRun;
    };
    const { status, out } = await run(["trace", folder]);
    expect({ status, asked }).toEqual({ status: 1, asked: violation.schedule });
    expect(out).toMatch(/^tiny: the run with nmi@3\n/);
  });

  it.each([
    [holds, 0, "tiny: holds for any number of events\n\ntiny: the run without events\n"],
    [incomplete, 3, "tiny: incomplete: interrupted.\n\ntiny: the run without events\n"],
  ])("%#: without a counterexample says so and shows the run without events", async (verdict, expected, text) => {
    answer(verdict);
    fake.trace = () => quietRun;
    const { status, out } = await run(["trace", folder]);
    expect(status).toBe(expected);
    expect(out.startsWith(text)).toBe(true);
  });

  it("shows the schedule that it is given, without a search", async () => {
    fake.check = () => Promise.reject(new Error("searched"));
    fake.trace = () => badRun;
    const { status, out } = await run(["trace", folder, "--schedule", "nmi@3", "--json"]);
    expect(status).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ schedule: "nmi@3", end: "violation", steps: [] });
  });
});

describe("matrix", () => {
  it("fills own events and threats, and agrees with the file", async () => {
    answer(holds);
    const { status, out, err } = await run(["matrix", folder, "--json"]);
    expect(status).toBe(0);
    const { threats, rows } = JSON.parse(out);
    expect(threats).toEqual(["own", "nmi", "bp", "pf", "mc", "mc-anywhere"]);
    expect(rows[0].cells.map((cell: { applies: boolean }) => cell.applies)).toEqual([
      true,
      true,
      ...Array(4).fill(false),
    ]);
    expect(err).toMatch(/ {2}user {5}holds {3}holds {3}- {3}- {3}- {3}-\n\n2 checks: 2 hold, 0 violated in /);
  });

  it("ends with 1 and a note where something else came out", async () => {
    answer(violated);
    const { status, out } = await run(["matrix", folder, "--workers", "1"]);
    expect(status).toBe(1);
    expect(out).toMatch(/differs: .*, user, nmi: expected holds, found resume@1\n/);
  });
});
