// Expected verdicts: what tests and the matrix compare with.

import { InputError } from "../diagnostic.js";
import { suggestion } from "./names.js";
import { propertyByName } from "./properties.js";
import type { ScenarioSource } from "./read.js";
import type { ScenarioFile } from "./schema.js";
import type { Expectation } from "./types.js";

type Threats = ReadonlyMap<string, ReadonlyMap<string, Expectation>>;

/** `threats` of the file: program -> threat -> verdict. InputError: a program that does not exist. */
export function expectations(source: ScenarioSource): Threats {
  const { value } = source;
  const programs = Object.keys(value.programs);
  const result = new Map<string, ReadonlyMap<string, Expectation>>();
  for (const [program, row] of Object.entries(value.threats ?? {})) {
    if (!programs.includes(program)) {
      throw new InputError(
        `threats: no program "${program}"${suggestion(program, programs)}`,
        source.locateKey(["threats", program]),
      );
    }
    const verdicts = new Map<string, Expectation>();
    for (const [threat, word] of Object.entries(row)) {
      if (word === undefined) continue;
      verdicts.set(threat, typeof word === "string" ? fromWord(word) : violated(word.property, word.events));
    }
    result.set(program, verdicts);
  }
  return result;
}

/** What is expected of that program and threat; without either, the file's `expect`. */
export function expected(
  source: ScenarioSource,
  threats: Threats,
  program: string,
  options: { readonly program?: string; readonly threat?: string },
): Expectation | undefined {
  const own = source.value.expect === undefined ? undefined : fromFile(source, source.value.expect);
  if (options.threat !== undefined) return threats.get(program)?.get(options.threat);
  const usual = source.value.program ?? Object.keys(source.value.programs)[0];
  return program === usual ? own : undefined;
}

function fromFile(source: ScenarioSource, expect: NonNullable<ScenarioFile["expect"]>): Expectation {
  if (expect === "holds") return { verdict: "holds" };
  if (expect.verdict === "violated") return violated(expect.property, expect.events);
  for (const key of ["property", "events"] as const) {
    if (expect[key] !== undefined) throw source.error(["expect", key], "belongs to `verdict: violated` only");
  }
  return { verdict: "holds" };
}

function fromWord(word: string): Expectation {
  return word === "holds" ? { verdict: "holds" } : violated(word, undefined);
}

function violated(property: string | undefined, events: bigint | undefined): Expectation {
  const prop = property === undefined ? undefined : propertyByName(property)?.prop;
  return {
    verdict: "violated",
    ...(prop === undefined ? {} : { property: prop }),
    ...(events === undefined ? {} : { events: Number(events) }),
  };
}
