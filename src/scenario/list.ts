// The scenarios of a folder, without loading their code.

import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../diagnostic.js";
import { expectations, expected } from "./expect.js";
import { EVENTS, VECTORS } from "./names.js";
import { readScenario, scenarioName } from "./read.js";
import { THREATS } from "./threats.js";
import type { Expectation } from "./types.js";

export interface ScenarioEntry {
  readonly name: string;
  readonly file: string;
  readonly title: string;
  readonly from?: string;
  /** the default program first */
  readonly programs: readonly string[];
  /** built-in threats that apply: the IDT has a gate for each of their events, and there is a body where they need one */
  readonly threats: readonly string[];
  /** expected verdict of the scenario as it stands */
  readonly expect?: Expectation;
  /** expected verdicts: program -> threat -> what must come out */
  readonly expected: ReadonlyMap<string, ReadonlyMap<string, Expectation>>;
}

/**
 * Every scenario file (.yaml, .yml) in the folder itself and in the folders directly inside it, scenario.yaml first. Reads and
 * checks the files, not the code. InputError: no such folder, no scenario in it, or a wrong file.
 */
export function listScenarios(folder: string): ScenarioEntry[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new InputError(`${folder} is not a folder; expected a folder of scenarios`);
  }
  const inside = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && entry.name !== "node_modules")
    .map((entry) => join(folder, entry.name))
    .sort();
  const files = [folder, ...inside].flatMap(scenarioFiles);
  if (files.length === 0) throw new InputError(`no scenario (*.yaml) in folder ${folder} or the folders in it`);
  return files.map(scenarioEntry);
}

function scenarioFiles(folder: string): string[] {
  const first = (name: string) => Number(!/^scenario\.ya?ml$/.test(name));
  return readdirSync(folder)
    .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith("."))
    .sort((a, b) => first(a) - first(b) || (a < b ? -1 : 1))
    .map((name) => join(folder, name));
}

function scenarioEntry(file: string): ScenarioEntry {
  const source = readScenario(file);
  const { value } = source;
  const names = Object.keys(value.programs);
  const usual = value.program ?? (names[0] as string);
  const expects = expectations(source);
  const expect = expected(source, expects, usual, {});
  const vectors = new Set(Object.keys(value.tables?.idt ?? {}).map((key) => VECTORS.get(key) ?? Number(key)));
  const threats = THREATS.filter(({ events }) =>
    Object.entries(events).every(([word, event]) => {
      const vector = EVENTS.get(word)?.vector;
      return (vector === undefined || vectors.has(vector)) && (event === "anywhere" || value.body !== undefined);
    }),
  );
  return {
    name: scenarioName(file),
    file,
    title: value.title ?? scenarioName(file),
    ...(value.from === undefined ? {} : { from: value.from }),
    programs: [usual, ...names.filter((name) => name !== usual)],
    threats: threats.map(({ name }) => name),
    ...(expect === undefined ? {} : { expect }),
    expected: expects,
  };
}
