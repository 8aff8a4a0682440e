// Every design of a folder against every threat: many checks, several at a time.

import { availableParallelism } from "node:os";
import { listScenarios, type ScenarioEntry } from "../scenario/list.js";
import { propertyText } from "../scenario/properties.js";
import { THREAT_NAMES } from "../scenario/threats.js";
import type { Expectation } from "../scenario/types.js";
import { type Job, runJobs } from "./pool.js";
import { formatSchedule } from "./schedule.js";
import type { Outcome, Verdict } from "./types.js";

/** What is known of one check, or was expected of it. */
export interface CellResult {
  readonly verdict: Outcome;
  /** the violated property, by name */
  readonly property?: string;
  readonly events?: number;
}

export interface MatrixCell {
  readonly threat: string;
  /** false: the scenario has no gate for the threat's events, or only its own events are asked for */
  readonly applies: boolean;
  readonly result?: CellResult;
  /** what the scenario file says; undefined: nothing */
  readonly expected?: CellResult;
  readonly schedule?: string;
  readonly reason?: string;
  readonly states?: number;
  readonly instructions?: number;
  readonly seconds?: number;
}

export interface MatrixRow {
  /** the scenario's name: its folder, and its file unless that is scenario.yaml */
  readonly scenario: string;
  readonly program: string;
  readonly cells: readonly MatrixCell[];
}

export interface Matrix {
  readonly threats: readonly string[];
  readonly rows: readonly MatrixRow[];
  /** for the whole table */
  readonly seconds: number;
  /** an interrupt ended it before the last cell */
  readonly interrupted: boolean;
}

/** The column of the events that the scenario file itself allows. */
export const OWN_EVENTS = "own";

export interface MatrixOptions {
  /** checks at a time; default: the cores */
  readonly workers?: number;
  /** every scenario file against every threat, not only each folder's scenario.yaml */
  readonly all?: boolean;
  readonly signal?: AbortSignal;
  /** hears of each check that ends; `seconds` since the matrix began */
  readonly onProgress?: (what: string, seconds: number) => void;
}

interface Cell {
  readonly entry: ScenarioEntry;
  readonly program: string;
  readonly threat: string;
}

/** Runs the checks. InputError: the folder has no scenario, or one that is wrong. */
export async function runMatrix(folder: string, options: MatrixOptions = {}): Promise<Matrix> {
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  const threats = [OWN_EVENTS, ...THREAT_NAMES];
  const rows = listScenarios(folder).flatMap((entry) => {
    const wide = options.all || isDesign(entry);
    const programs = wide ? entry.programs : entry.programs.slice(0, 1);
    return programs.map((program) => ({ entry, program, wide }));
  });
  const cells = rows.flatMap(({ entry, program, wide }) =>
    threats.map((threat) => ({ entry, program, threat, asked: wide || threat === OWN_EVENTS })),
  );
  const wanted = cells.filter((cell) => cell.asked && applies(cell));
  let done = 0;
  const verdicts = await runJobs(wanted.map(job), {
    size: options.workers ?? availableParallelism(),
    ...(options.signal && { signal: options.signal }),
    onDone: (n) => {
      done++;
      const cell = wanted[n];
      options.onProgress?.(
        `check ${done} of ${wanted.length}: ${cell?.entry.name}, ${cell?.program}, ${cell?.threat}`,
        elapsed(),
      );
    },
  });
  const results = new Map(wanted.map((cell, n) => [cell as Cell, verdicts[n]]));
  const filled = cells.map((cell) => fill(cell, results.get(cell)));
  return {
    threats,
    rows: rows.map(({ entry, program }, n) => ({
      scenario: entry.name,
      program,
      cells: filled.slice(n * threats.length, (n + 1) * threats.length),
    })),
    seconds: elapsed(),
    interrupted: options.signal?.aborted ?? false,
  };
}

/** A folder's scenario.yaml is the design; the files beside it are variations of it. */
function isDesign(entry: ScenarioEntry): boolean {
  return /(^|[\\/])scenario\.ya?ml$/.test(entry.file);
}

function job({ entry, program, threat }: Cell): Job {
  return { file: entry.file, program, ...(threat !== OWN_EVENTS && { threat }) };
}

function fill(cell: Cell & { readonly asked: boolean }, verdict: Verdict | undefined): MatrixCell {
  const { asked } = cell;
  const expectation = asked ? expectationOf(cell) : undefined;
  const base = {
    threat: cell.threat,
    applies: asked && applies(cell),
    ...(expectation && { expected: expectedResult(expectation) }),
  };
  if (!verdict) return base;
  const { violation, reason, states, instructions, seconds } = verdict;
  return {
    ...base,
    result: {
      verdict: verdict.verdict,
      ...(violation && { property: propertyText(violation.property).name, events: violation.events }),
    },
    ...(violation && { schedule: formatSchedule(violation.schedule) }),
    ...(reason !== undefined && { reason }),
    states,
    instructions,
    seconds,
  };
}

/** The file's own events belong to its default program; a threat applies where the scenario has gates and a body for it. */
function applies({ entry, program, threat }: Cell): boolean {
  return threat === OWN_EVENTS ? program === entry.programs[0] : entry.threats.includes(threat);
}

function expectationOf({ entry, program, threat }: Cell): Expectation | undefined {
  if (threat !== OWN_EVENTS) return entry.expected.get(program)?.get(threat);
  return program === entry.programs[0] ? entry.expect : undefined;
}

export function expectedResult(expectation: Expectation): CellResult {
  const { verdict, property, events } = expectation;
  return {
    verdict,
    ...(property !== undefined && { property: propertyText(property).name }),
    ...(events !== undefined && { events }),
  };
}
