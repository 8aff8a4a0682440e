// The same code by GNU as and ld instead of the built-in assembler: the same bytes, and the same verdict to the last state.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { check } from "../src/check/check.js";
import { formatSchedule } from "../src/check/schedule.js";
import { type LoadOptions, loadScenario } from "../src/scenario/load.js";
import type { Scenario } from "../src/scenario/types.js";
import { yaml } from "./support/small.js";

const DESIGNS = join(dirname(fileURLToPath(import.meta.url)), "../designs");

function works(tool: string, ...args: string[]): boolean {
  return spawnSync(tool, args, { encoding: "utf8" }).status === 0;
}
const gnu = process.arch === "x64" && works("as", "--version") && works("ld", "--version");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "trapcheck-objects-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function tool(name: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(name, args, { encoding: "utf8", cwd: folder });
  if (status !== 0) throw new Error(`${name} ${args.join(" ")}: ${stderr}`);
}

/** Assembles a file of designs/; gives the object's name in the folder. */
function object(source: string, define: Readonly<Record<string, number>> = {}): string {
  const name = `${source.replace(/\W/g, "-")}${Object.keys(define).join("-")}.o`;
  const symbols = Object.entries(define).flatMap(([symbol, value]) => ["--defsym", `${symbol}=${value}`]);
  tool("as", "--64", "-g", ...symbols, "-o", name, join(DESIGNS, source));
  return name;
}

/** The scenario of designs/ with its code replaced. */
function withCode(base: string, code: readonly string[], options: LoadOptions): Scenario {
  const file = join(folder, `${base.replace(/\W/g, "-")}.yaml`);
  writeFileSync(file, yaml({ extends: join(DESIGNS, base), code: code.map((name) => join(folder, name)) }));
  return loadScenario(file, options);
}

async function verdictOf(scenario: Scenario) {
  const { verdict, states, chains, instructions, levels, coverage, violation } = await check(scenario, { workers: 1 });
  return {
    verdict,
    states,
    chains,
    instructions,
    levels,
    reached: coverage.reached,
    boundaries: coverage.total,
    schedule: violation && formatSchedule(violation.schedule),
    property: violation?.property,
    message: violation?.message,
  };
}

/** Guest memory, page by page, as text. */
function contents(scenario: Scenario): string[] {
  return scenario.memory.chunks.map(({ physical, bytes }) => `${physical}: ${Buffer.from(bytes).toString("hex")}`);
}

const CASES: ReadonlyArray<readonly [string, string, LoadOptions, string, Readonly<Record<string, number>>]> = [
  ["naive under breakpoints", "naive/scenario.yaml", { threat: "bp" }, "naive/entry.S", {}],
  ["naive, system calls under NMIs", "naive/scenario.yaml", { program: "syscall", threat: "nmi" }, "naive/entry.S", {}],
  ["rostedt-2011 under NMIs", "rostedt-2011/scenario.yaml", { threat: "nmi" }, "rostedt-2011/entry.S", {}],
  [
    "rostedt-2011 without its variable (--defsym)",
    "rostedt-2011/mutant-no-variable.yaml",
    { threat: "bp" },
    "rostedt-2011/entry.S",
    { NO_VARIABLE: 1 },
  ],
];

describe(`objects by GNU as${gnu ? "" : " (skipped: needs GNU as and ld for x86)"}`, () => {
  it.skipIf(!gnu).each(CASES)("%s: the same bytes and the same verdict", async (_, base, options, source, define) => {
    const ours = loadScenario(join(DESIGNS, base), options);
    const theirs = withCode(base, [object(source, define), object("common/kernel.S")], options);
    expect(contents(theirs)).toEqual(contents(ours));
    expect([...theirs.registers]).toEqual([...ours.registers]);
    expect(await verdictOf(theirs)).toEqual(await verdictOf(ours));
  });

  it.skipIf(!gnu)("the 2011 entry as one executable by ld, at an address of its own", async () => {
    const objects = [object("rostedt-2011/entry.S"), object("common/kernel.S")];
    tool(
      "ld",
      "-static",
      "-z",
      "noseparate-code",
      "-Ttext=0xffffffff82345000",
      "-e",
      "0",
      "-o",
      "kernel.elf",
      ...objects,
    );
    const options = { threat: "nmi" };
    const ours = loadScenario(join(DESIGNS, "rostedt-2011"), options);
    const theirs = withCode("rostedt-2011/scenario.yaml", ["kernel.elf"], options);
    expect(theirs.image.symbols.get("entry_nmi")).toBeGreaterThanOrEqual(0xffffffff82345000n);
    // one file instead of two: what counts as the entry code differs
    const { boundaries: _, reached: __, ...found } = await verdictOf(theirs);
    expect(await verdictOf(ours)).toMatchObject(found);
  });
});

const SOURCE_32 = `
	.text
	.globl	entry_nmi, entry_bp, handler, handler_end
entry_nmi:
	pushl	%eax
	call	handler
	popl	%eax
	iretl
entry_bp:
	pushl	%ecx
	movl	counter, %ecx
	popl	%ecx
	iretl
handler:
	movl	$1, counter
	movl	$0, counter
handler_end:
	ret
	.data
	.globl	counter
counter:
	.long	0
`;

describe(`32-bit objects${gnu ? "" : " (skipped: needs GNU as and ld for x86)"}`, () => {
  const scenario = (name: string, code: string): Scenario => {
    const home = join(folder, name);
    mkdirSync(home, { recursive: true });
    writeFileSync(
      join(home, "scenario.yaml"),
      yaml({
        mode: 32,
        code,
        programs: { user: { code: "again: nop\njmp again\n" } },
        tables: { idt: { nmi: "entry_nmi", bp: "entry_bp" } },
        stacks: { kernel: { size: 512, rsp0: true } },
        events: { nmi: "anywhere", bp: { in: "body" } },
        body: { start: "handler", end: "handler_end" },
      }),
    );
    return loadScenario(home);
  };

  it.skipIf(!gnu)("ELF32: the same bytes and verdict; linked by ld the same verdict", async () => {
    writeFileSync(join(folder, "small.S"), SOURCE_32);
    tool("as", "--32", "-o", "small.o", "small.S");
    tool("ld", "-m", "elf_i386", "-static", "-Ttext=0xc2000000", "-e", "0", "-o", "small.elf", "small.o");
    const ours = scenario("own", "../small.S");
    const theirs = scenario("object", "../small.o");
    expect(contents(theirs)).toEqual(contents(ours));
    const verdict = await verdictOf(ours);
    expect(verdict).toMatchObject({ verdict: "violated" });
    expect(await verdictOf(theirs)).toEqual(verdict);
    expect(await verdictOf(scenario("linked", "../small.elf"))).toEqual(verdict);
  });
});
