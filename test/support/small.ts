// Small scenarios for tests: a few lines of assembly and the keys of a scenario file that matter.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoadOptions, loadScenario } from "../../src/scenario/load.js";
import type { Scenario } from "../../src/scenario/types.js";

export interface Small {
  /** entry code: kernel text */
  readonly kernel: string;
  /** the interrupted program, default a loop of two instructions at CPL 3 */
  readonly program?: string;
  readonly cpl?: 0 | 3;
  /** registers of the program */
  readonly registers?: Readonly<Record<string, unknown>>;
  /** other keys of the program: start, stack */
  readonly run?: Readonly<Record<string, unknown>>;
  /** every other key stands as in a scenario file */
  readonly [key: string]: unknown;
}

/** A file as text: JSON is YAML, and numbers beyond 2^53 are written in hexadecimal. */
export function yaml(value: unknown): string {
  const text = JSON.stringify(value, (_, item) => (typeof item === "bigint" ? `@0x${item.toString(16)}@` : item), 1);
  return text.replace(/"@(0x[0-9a-f]+)@"/g, "$1");
}

/** The scenario file of a small scenario. Its code is in `entry.S` beside it. */
export function smallFile({ kernel: _, program, cpl = 3, registers, run, ...rest }: Small): string {
  const code = program ?? "again: nop\njmp again\n";
  return yaml({
    code: "entry.S",
    programs: {
      program: { cpl, code, ...(cpl === 0 && { stack: "kernel" }), ...(registers && { registers }), ...run },
    },
    tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 } } },
    stacks: { kernel: { size: 256, rsp0: true }, nmi: { size: 256, ist: 1 } },
    ...rest,
  });
}

/** Loads a small scenario: by default NMIs anywhere, through IST1 to `entry_nmi`, and a kernel stack. */
export function small(setup: Small, options: LoadOptions = {}): Scenario {
  const folder = mkdtempSync(join(tmpdir(), "trapcheck-small-"));
  try {
    writeFileSync(join(folder, "entry.S"), `.text\n${setup.kernel}\n`);
    writeFileSync(join(folder, "scenario.yaml"), smallFile(setup));
    return loadScenario(folder, options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
