// The program as a process: exit statuses, which stream gets what, and one clear sentence for everything that is wrong.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Small, smallFile } from "./support/small.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const BIN = join(ROOT, "bin/trapcheck.js");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "trapcheck-cli-"));
  run(["--version"]); // brings dist/ up to date, once
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

function run(args: readonly string[], env: Record<string, string> = { NO_COLOR: "1" }) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [BIN, ...args], {
    cwd: folder,
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", ...env },
  });
  if (error) throw error;
  return { status, out: stdout, err: stderr.replace(/^building trapcheck\n/, "") };
}

/** A folder with a scenario of its own; gives its name. */
function design(name: string, setup: Small): string {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, "entry.S"), `.text\n${setup.kernel}\n`);
  writeFileSync(join(folder, name, "scenario.yaml"), smallFile(setup));
  return name;
}

const GOOD: Small = { kernel: "entry_nmi: push %rax\n pop %rax\n iretq" };
const BAD: Small = { kernel: "entry_nmi: pop %rax\n iretq" };
const LONG: Small = { kernel: GOOD.kernel, program: "again: inc %rax\nand $0xffffff, %rax\njmp again" };
const LACKING: Small = { kernel: "entry_nmi: nop\n .byte 0x0f, 0x77\n iretq" };

describe("exit status", () => {
  it.each([
    ["holds", GOOD, [], 0, /^holds for any number of events$/m],
    ["violated", BAD, [], 1, /^violated: \S+$/m],
    ["incomplete", LONG, ["--max-states", "1000"], 3, /^incomplete.*\n.*the bound of 1000 states was reached/ms],
    ["unsupported", LACKING, [], 3, /^unsupported.*\n.*0f 77/ms],
  ] as const)("check: %s", (name, setup, more, status, text) => {
    const result = run(["check", design(name, setup), ...more]);
    expect([result.status, result.err]).toEqual([status, ""]);
    expect(result.out).toMatch(text);
  });

  it("trace: 1 with a violation on the way, 0 without", () => {
    const bad = design("traced", BAD);
    expect(run(["trace", bad]).status).toBe(1);
    expect(run(["trace", bad, "--schedule", ""]).status).toBe(0);
    expect(run(["trace", design("fine", GOOD), "--schedule", "nmi@1"]).status).toBe(0);
  });

  it("the schedule that check prints is one that trace accepts, to the same violation", () => {
    const bad = design("replayed", BAD);
    const document = JSON.parse(run(["check", bad, "--json"]).out);
    const replayed = run(["trace", bad, "--schedule", document.violation.schedule]);
    expect(replayed.status).toBe(1);
    expect(replayed.out.replace(/\s+/g, " ")).toContain(document.violation.message.replace(/\s+/g, " "));
  });
});

describe("--json", () => {
  it.each([
    ["check", ["check", "j-check"]],
    ["trace", ["trace", "j-check"]],
    ["matrix", ["matrix", "j-check", "--json"]],
    ["list", ["list", "j-check"]],
  ])("%s: one document on standard output", (_, args) => {
    design("j-check", BAD);
    const { out, err } = run([...args, ...(args.includes("--json") ? [] : ["--json"])]);
    expect(() => JSON.parse(out)).not.toThrow();
    expect(err).not.toMatch(/^\s*at /m);
  });

  it("the text goes to standard error", () => {
    const { out, err } = run(["check", design("j-text", BAD), "--json"]);
    expect(JSON.parse(out)).toMatchObject({ verdict: "violated" });
    expect(err).toMatch(/^violated: /m);
  });

  it("an error is a document too, and the sentence still on standard error", () => {
    const { status, out, err } = run(["check", "nowhere", "--json"]);
    expect(status).toBe(2);
    expect(JSON.parse(out).error.message).toMatch(/^nowhere does not exist/);
    expect(err).toMatch(/^error: nowhere does not exist/);
  });
});

/** An ELF header, for the fields that are looked at first. */
function elf(bytes: number, machine: number): Uint8Array {
  const file = new Uint8Array(bytes);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  if (bytes > 20) {
    file[16] = 1;
    file[18] = machine & 0xff;
    file[19] = machine >> 8;
    file[20] = 1;
  }
  return file;
}

const WRONG: ReadonlyArray<readonly [string, (name: string) => readonly string[], RegExp]> = [
  [
    "an unknown instruction",
    (name) => ["check", design(name, { kernel: "entry_nmi: frobnicate %rax\n iretq" })],
    /entry\.S:2:\d+: error: .*frobnicate/,
  ],
  [
    "a label that does not exist",
    (name) => ["check", design(name, { kernel: "entry_other: iretq" })],
    /scenario\.yaml:\d+:\d+: error: .*entry_nmi/,
  ],
  [
    "an undefined symbol in the code",
    (name) => ["check", design(name, { kernel: "entry_nmi: call nobody\n iretq" })],
    /error: .*nobody/,
  ],
  [
    "broken YAML",
    (name) => {
      design(name, GOOD);
      writeFileSync(join(folder, name, "scenario.yaml"), "code: entry.S\nprograms: { user: \n  - [\n");
      return ["check", name];
    },
    /scenario\.yaml:\d+:\d+: error: /,
  ],
  [
    "a misspelt key",
    (name) => ["check", design(name, { ...GOOD, stack: {} })],
    /scenario\.yaml:\d+:\d+: error: .*stack.*stacks/,
  ],
  [
    "a truncated ELF file",
    (name) => {
      design(name, GOOD);
      writeFileSync(join(folder, name, "entry.S"), elf(40, 62));
      return ["check", name];
    },
    /entry\.S: error: /,
  ],
  [
    "an ELF file of another architecture",
    (name) => {
      design(name, GOOD);
      writeFileSync(join(folder, name, "entry.S"), elf(64, 183));
      return ["check", name];
    },
    /entry\.S: error: .*(AArch64|aarch64|ARM|183|x86)/,
  ],
  [
    "a file that is neither text nor ELF",
    (name) => {
      design(name, GOOD);
      writeFileSync(join(folder, name, "entry.S"), new Uint8Array([1, 0, 2, 0]));
      return ["check", name];
    },
    /error: .*neither assembly text nor ELF/,
  ],
  [
    "code that is not there",
    (name) => {
      design(name, GOOD);
      rmSync(join(folder, name, "entry.S"));
      return ["check", name];
    },
    /scenario\.yaml:\d+:\d+: error: .*entry\.S/,
  ],
  [
    "an empty folder",
    (name) => {
      mkdirSync(join(folder, name));
      return ["check", name];
    },
    /^error: no scenario\.yaml in folder /,
  ],
  [
    "a stack at an address where nothing can be",
    (name) => [
      "check",
      design(name, {
        ...GOOD,
        stacks: {
          kernel: { size: 256, rsp0: true },
          nmi: { size: 256, ist: 1, address: 0xffff_8000_0000_0000n - 128n },
        },
      }),
    ],
    /scenario\.yaml:\d+:\d+: error: /,
  ],
  [
    "a stack larger than memory",
    (name) => [
      "check",
      design(name, { ...GOOD, stacks: { kernel: { size: 256, rsp0: true }, nmi: { size: 2 ** 40, ist: 1 } } }),
    ],
    /scenario\.yaml:\d+:\d+: error: .*stacks/,
  ],
  ["a program that does not exist", (name) => ["check", design(name, GOOD), "--program", "progam"], /error: .*progam/],
  [
    "a threat that does not exist",
    (name) => ["check", design(name, GOOD), "--threat", "everything"],
    /error: .*everything/,
  ],
  ["a threat without its gate", (name) => ["check", design(name, GOOD), "--threat", "bp"], /error: /],
  [
    "a schedule that is none",
    (name) => ["trace", design(name, GOOD), "--schedule", "nmi"],
    /^error: "nmi" in the schedule/,
  ],
  [
    "a schedule that cannot be",
    (name) => ["trace", design(name, GOOD), "--schedule", "bp@1"],
    /^error: the schedule names the event "bp"/,
  ],
  ["a bound that is no number", (name) => ["check", design(name, GOOD), "--max-states", "many"], /error: .*max-states/],
  ["an unknown command", () => ["chek", "x"], /error: .*chek/],
  ["no argument", () => ["check"], /error: .*path/],
];

describe("wrong input: one sentence, status 2, no stack trace", () => {
  it.each(WRONG)("%s", (title, prepare, text) => {
    const { status, out, err } = run(prepare(title.replace(/\W+/g, "-")));
    expect(err).toMatch(text);
    expect([status, out]).toEqual([2, ""]);
    expect(err).not.toMatch(/^\s+at |node:internal|internal error/m);
    expect(err.split("\n").filter((line) => /error:/.test(line))).toHaveLength(1);
  });
});

describe("streams", () => {
  it("a reader that goes away (EPIPE) is no error, and the status still tells the verdict", async () => {
    const name = design("epipe", { ...BAD, program: `again: ${"nop\n".repeat(400)}jmp again` });
    const child = spawn(process.execPath, [BIN, "trace", name, "--schedule", "nmi@399"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.destroy();
    let err = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      err += text;
    });
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(err.replace(/^building trapcheck\n/, "")).toBe("");
    expect(status).toBe(1);
  });

  const escapes = new RegExp(String.fromCharCode(27));

  it("no colours in a pipe, colours when forced, none with NO_COLOR", () => {
    const name = design("colours", BAD);
    expect(run(["check", name], {}).out).not.toMatch(escapes);
    expect(run(["check", name], { FORCE_COLOR: "1" }).out).toMatch(escapes);
    expect(run(["check", name], { FORCE_COLOR: "1", NO_COLOR: "1" }).out).not.toMatch(escapes);
  });

  it("Ctrl-C: what is known so far, status 3", async () => {
    const child = spawn(process.execPath, [BIN, "check", design("interrupted", LONG), "--workers", "1"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    setTimeout(() => child.kill("SIGINT"), 2500);
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(out).toMatch(/^incomplete/);
    expect(out).toMatch(/it was interrupted/);
    expect(status).toBe(3);
  });
});

describe("help", () => {
  it("says what there is, with status 0", () => {
    const { status, out, err } = run(["--help"]);
    expect([status, err]).toEqual([0, ""]);
    expect(out).toMatch(/check.*trace.*matrix.*Exit status: 0 holds/s);
  });

  it("the version is that of package.json", () => {
    expect(run(["--version"]).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
