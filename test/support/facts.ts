// The numbered statements of docs/x86-events.md, the tests that name them, and why the others have none.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

export interface Statement {
  readonly number: string;
  /** its first words */
  readonly text: string;
}

/** A line begins with the number of its statement; a few hold several (`14.1 ... [R] 14.2 ...`). */
export function statements(): Statement[] {
  const lines = readFileSync(join(root, "docs/x86-events.md"), "utf8").split("\n");
  return lines.flatMap((line) =>
    [...line.matchAll(/(?:^|\] |\. )(\d{1,2}\.\d{1,2}) (?=\S)/g)]
      .filter(({ index, 1: number = "" }) => index === 0 || (/^\d/.test(line) && sameSection(line, number)))
      .map(({ index, 0: match, 1: number = "" }) => ({ number, text: words(line.slice(index + match.length)) })),
  );
}

function sameSection(line: string, number: string): boolean {
  return line.startsWith("14.") && number.startsWith("14.");
}

function words(text: string): string {
  const plain = text.replaceAll("|", "/").replace(/\*\*/g, "");
  return plain.length <= 90 ? plain : `${plain.slice(0, 90).replace(/\s+\S*$/, "")} ...`;
}

/** Fact numbers at the start of a test's name, with the files (from the root) that have such a test. */
export function testsByFact(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>();
  for (const file of testFiles(join(root, "src")).concat(testFiles(join(root, "test")))) {
    const name = relative(root, file).replaceAll("\\", "/");
    for (const [, numbers = ""] of readFileSync(file, "utf8").matchAll(
      /[`"'](\d+\.\d+(?:[ ,]+(?:and )?\d+\.\d+)*) /g,
    )) {
      for (const number of numbers.match(/\d+\.\d+/g) ?? [])
        found.set(number, (found.get(number) ?? new Set()).add(name));
    }
  }
  return new Map([...found].map(([number, files]) => [number, [...files].sort()]));
}

function testFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return testFiles(path);
    return entry.name.endsWith(".test.ts") ? [path] : [];
  });
}

/** Why a statement has no test: the machine does not have it, or it is not about what a machine does. */
export const REASONS: ReadonlyMap<string, string> = new Map([
  ["1.3", "order inside one class is the implementation's: no verdict may rest on it"],
  ["1.4", "about the 486"],
  ["1.7", "VMX is not in the model"],
  ["1.9", "SVM is not in the model"],
  ["1.11", "wait-for-SIPI and VMX are not in the model"],
  ["2.13", "SMM and VM entry are not in the model"],
  ["2.16", "shutdown ends a run"],
  ["2.17", "virtual NMIs are not in the model"],
  ["3.9", "SMM is not in the model yet"],
  ["5.8", "real mode is not in the model"],
  ["5.10", "vm86 is not in the model"],
  ["6.14", "serialisation cannot be seen: the model executes in order"],
  ["6.15", "FRED is not in the model yet"],
  ["6.17", "CET is not in the model"],
  ["8.7", "task switches are not in the model yet"],
  ["8.16", "refers to 3.1 and 3.13 to 3.16, which have tests"],
  ["8.19", "real mode and vm86 are not in the model"],
  ["8.20", "a caution about measuring in a guest"],
  ["9.8", "one logical CPU: nothing to broadcast to"],
  ...["10.2", "10.3", "10.4", "10.5", "10.6", "10.7", "10.8"].map((n) => [n, "SMM is not in the model yet"] as const),
  ["11.6", "an erratum of some CPUs, which the model does not have"],
  ...Array.from({ length: 17 }, (_, n) => [`13.${n + 1}`, "FRED is not in the model yet"] as const),
  ...Array.from({ length: 11 }, (_, n) => [`14.${n + 1}`, "a cost: the model has no time"] as const),
  ["15.1", "which kernels use which IST slots: a matter of scenarios"],
  ["15.3", "fields of preempt_count in kernels: software"],
  ["15.4", "the order of nmi_enter in kernels: software"],
  ["15.10", "the irq_stack of kernels: software"],
  ["15.11", "context tracking in kernels: software"],
  ["15.13", "deferred unwinding in kernels: software"],
]);

/** The page docs/facts.md. */
export function factsPage(): string {
  const tests = testsByFact();
  const rows = statements().map(({ number, text }) => {
    const files = tests.get(number);
    const proof = files
      ? files.map((file) => `[${file.replace(/^.*\//, "")}](../${file})`).join(", ")
      : REASONS.get(number);
    return `| ${number} | ${text} | ${proof ?? "**neither test nor reason**"} |`;
  });
  return [
    "# Facts and their tests",
    "",
    "Every numbered statement of [x86-events.md](x86-events.md): the tests that name it, or why there is none. Made by",
    "`npx vitest run test/facts.test.ts -u`; a statement with neither fails the check.",
    "",
    "| fact | it begins | tested in, or why not |",
    "| --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}
