// Fills a matrix: every scenario of a folder, with each of its programs, against each threat.

import { check } from "../check/check.js";
import { formatSchedule } from "../check/schedule.js";
import type { Progress } from "../check/types.js";
import { listScenarios, type ScenarioEntry } from "../scenario/list.js";
import { loadScenario } from "../scenario/load.js";
import { propertyText } from "../scenario/properties.js";
import { THREAT_NAMES } from "../scenario/threats.js";
import type { Expectation } from "../scenario/types.js";
import { expectedResult, type Matrix, type MatrixCell, OWN_EVENTS } from "./matrix.js";

export interface MatrixOptions {
  /** worker threads of each check; default: the cores */
  readonly workers?: number;
  readonly signal?: AbortSignal;
  /** hears of each check as it goes on; `seconds` since the matrix began */
  readonly onProgress?: (what: string, seconds: number, progress?: Progress) => void;
}

interface Cell {
  readonly entry: ScenarioEntry;
  readonly program: string;
  readonly threat: string;
}

/** Runs the checks one after the other. InputError: the folder has no scenario, or one that is wrong. */
export async function runMatrix(folder: string, options: MatrixOptions = {}): Promise<Matrix> {
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  const threats = [OWN_EVENTS, ...THREAT_NAMES];
  const entries = listScenarios(folder);
  const total = entries.reduce((sum, entry) => sum + entry.programs.length, 0) * threats.length;
  const rows: Matrix["rows"][number][] = [];
  let done = 0;
  for (const entry of entries) {
    for (const program of entry.programs) {
      const cells: MatrixCell[] = [];
      for (const threat of threats) {
        done += 1;
        const what = `check ${done} of ${total}: ${entry.name}, ${program}, ${threat}`;
        options.onProgress?.(what, elapsed());
        const hear = (progress: Progress) => options.onProgress?.(what, elapsed(), progress);
        cells.push(await runCell({ entry, program, threat }, options, hear));
      }
      rows.push({ scenario: entry.name, program, cells });
    }
  }
  return { threats, rows, seconds: elapsed(), interrupted: options.signal?.aborted ?? false };
}

async function runCell(
  cell: Cell,
  options: MatrixOptions,
  onProgress: (progress: Progress) => void,
): Promise<MatrixCell> {
  const { entry, program, threat } = cell;
  const expectation = expectationOf(cell);
  const base = { threat, applies: applies(cell), ...(expectation && { expected: expectedResult(expectation) }) };
  if (!base.applies || options.signal?.aborted) return base;
  const scenario = loadScenario(entry.file, { program, ...(threat !== OWN_EVENTS && { threat }) });
  const { workers, signal } = options;
  const verdict = await check(scenario, {
    ...(workers !== undefined && { workers }),
    ...(signal && { signal }),
    onProgress,
  });
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
