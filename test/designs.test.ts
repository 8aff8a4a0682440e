// Every scenario of designs/ gives what its file says, for each program and threat that it names.

import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { check } from "../src/check/check.js";
import { formatSchedule, parseSchedule } from "../src/check/schedule.js";
import { trace } from "../src/check/trace.js";
import type { Verdict } from "../src/check/types.js";
import { Prop } from "../src/engine/abi.js";
import { labeller } from "../src/image/labels.js";
import { listScenarios } from "../src/scenario/list.js";
import { type LoadOptions, loadScenario } from "../src/scenario/load.js";
import type { Expectation, Scenario } from "../src/scenario/types.js";

const DESIGNS = join(dirname(fileURLToPath(import.meta.url)), "../designs");
const entries = listScenarios(DESIGNS);

interface Row {
  readonly title: string;
  readonly file: string;
  readonly options: LoadOptions;
  readonly expectation: Expectation;
}

const rows = entries.flatMap(({ name, file, expect: own, expected }): Row[] => [
  ...(own ? [{ title: name, file, options: {}, expectation: own }] : []),
  ...[...expected].flatMap(([program, threats]) =>
    [...threats].map(([threat, expectation]) => ({
      title: `${name}, program ${program}, threat ${threat}`,
      file,
      options: { program, threat },
      expectation,
    })),
  ),
]);

/** Part of a verdict that an expectation speaks of. */
function told(expectation: Expectation): Record<string, unknown> {
  const { verdict, property, events } = expectation;
  return {
    verdict,
    ...(property !== undefined && { property: Prop[property] }),
    ...(events !== undefined && { events }),
  };
}

/** What decides a verdict, as a text: different files may ask the same question. */
function question({ name, title, file, expect: _, threats, from, program, programs, ...rest }: Scenario): string {
  return JSON.stringify(rest, (_, value) => {
    if (typeof value === "bigint") return value.toString(16);
    if (value instanceof Map || value instanceof Set) return [...value];
    return value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
  });
}

const answers = new Map<string, Promise<Verdict>>();

function answer(scenario: Scenario): Promise<Verdict> {
  const key = question(scenario);
  const known = answers.get(key) ?? check(scenario, { maxMemory: 3 * 2 ** 30 });
  answers.set(key, known);
  return known;
}

describe("every scenario of designs/", () => {
  it.each(rows.map((row) => [row.title, row] as const))("%s", async (_, { file, options, expectation }) => {
    const scenario = loadScenario(file, options);
    const verdict = await answer(scenario);
    const { violation } = verdict;
    const found = {
      verdict: verdict.verdict,
      ...(expectation.property !== undefined && violation && { property: Prop[violation.property] }),
      ...(expectation.events !== undefined && violation && { events: violation.events }),
    };
    expect(found, violation?.message ?? verdict.reason).toEqual(told(expectation));
    if (violation) {
      const schedule = parseSchedule(formatSchedule(violation.schedule));
      expect(trace(scenario, schedule).violation).toEqual(violation);
    }
  });

  it("has an expectation, or more", () => {
    expect(entries.filter(({ expect: own, expected }) => !own && expected.size === 0).map(({ name }) => name)).toEqual(
      [],
    );
  });

  it("is in the list: no file is left out", () => {
    const files = readdirSync(DESIGNS, { recursive: true, encoding: "utf8" }).filter((name) => /\.ya?ml$/.test(name));
    expect(entries.map(({ file }) => relative(DESIGNS, file)).sort()).toEqual(files.sort());
  });
});

describe("rostedt-2011", () => {
  it("under breakpoints: every path of the entry is taken, nested and repeated too", async () => {
    const scenario = loadScenario(join(DESIGNS, "rostedt-2011"), { program: "user", threat: "bp" });
    const { coverage } = await answer(scenario);
    const label = labeller(scenario.image);
    const missed = coverage.missed.map(label);
    expect(
      missed.filter((place) => /^(nested_nmi|nested_nmi_out|repeat_nmi|first_nmi|restart_nmi)/.test(place)),
    ).toEqual([]);
    expect(coverage.total).toBeGreaterThan(50);
  });

  it("under NMIs alone: they never nest, so nothing is repeated", async () => {
    const scenario = loadScenario(join(DESIGNS, "rostedt-2011"), { program: "user", threat: "nmi" });
    const { coverage } = await answer(scenario);
    const label = labeller(scenario.image);
    expect(coverage.missed.map(label)).toEqual(expect.arrayContaining(["nested_nmi", "repeat_nmi"]));
  });
});
