import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { main } from "./main.js";
import type { Io } from "./session.js";

async function run(...args: string[]) {
  let out = "";
  let err = "";
  const io: Io = {
    out: {
      write: (text) => {
        out += text;
      },
      terminal: false,
      columns: 100,
    },
    err: {
      write: (text) => {
        err += text;
      },
      terminal: false,
      columns: 100,
    },
    env: {},
    onInterrupt: () => () => {},
    quit: (status) => {
      throw new Error(`quit ${status}`);
    },
  };
  const status = await main(args, io);
  return { status, out, err };
}

describe("wrong input ends with status 2, one sentence, nothing on standard output", () => {
  it.each([
    [[], "Usage: trapcheck"],
    [["chekc"], "error: unknown command 'chekc'\n(Did you mean check?)"],
    [["check"], "error: missing required argument 'path'"],
    [["check", "a", "b"], "error: too many arguments for 'check'"],
    [["check", "a", "--threta", "nmi"], "error: unknown option '--threta'\n(Did you mean --threat?)"],
    [["check", "a", "--threat", "cosmic"], "Allowed choices are nmi, bp, pf, mc, mc-anywhere."],
    [["check", "a", "--workers", "0"], "Expected a whole number of at least 1."],
    [["check", "a", "--max-memory", "lots"], "Expected a size such as 512M or 2G."],
    [["check", "a", "--max-seconds"], "error: option '--max-seconds <seconds>' argument missing"],
    [["explain", "luck"], "Allowed choices are resume, progress"],
    [["asm", "no-such-file.S"], "no-such-file.S: error: no such file\n"],
    [["disasm"], "error: expected either a file or --hex with bytes\n"],
    [["disasm", "a", "--hex", "90"], "error: expected either a file or --hex with bytes\n"],
    [["disasm", "src"], "src: error: this is a folder; expected a file\n"],
    [["completion", "csh"], "Allowed choices are bash, zsh, fish."],
    [["check", "no-such-folder"], "no-such-folder"],
    [["trace", "no-such-folder"], "no-such-folder"],
    [["matrix", "no-such-folder"], "no-such-folder"],
    [["list", "no-such-folder"], "no-such-folder"],
  ])("%j", async (args, message) => {
    const { status, out, err } = await run(...args);
    expect(err).toContain(message);
    expect({ status, out }).toEqual({ status: 2, out: "" });
  });

  it.each([
    [["asm", "no-such-file.S", "--json"], { message: "no such file", file: "no-such-file.S", notes: [] }],
    [["explain", "--json", "--yaml"], { message: "unknown option '--yaml'" }],
  ])("%j, as a document", async (args, error) => {
    const { status, out } = await run(...args);
    expect(status).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ error });
  });
});

it.each([
  [["--help"]],
  [["help"]],
  [["help", "check"]],
  [["check", "--help"]],
  [["--version"]],
])("%j goes to standard output, status 0", async (args) => {
  const { status, out, err } = await run(...args);
  expect({ status, err }).toEqual({ status: 0, err: "" });
  expect(out).not.toBe("");
});

it("help shows every command, examples and exit statuses", async () => {
  const { out } = await run("--help");
  for (const word of "check trace matrix list explain asm disasm completion Examples: status:".split(" ")) {
    expect(out).toContain(word);
  }
});

describe("explain", () => {
  it("tells one property, or all", async () => {
    const one = await run("explain", "nmi-unmasked");
    expect(one.out).toMatch(/^nmi-unmasked\n {2}NMIs are not blocked in a quiescent state\.\n\n {2}\w/);
    const all = await run("explain");
    expect(all.out).toContain(one.out.trim());
    expect(all.out.length).toBeGreaterThan(10 * one.out.length);
  });

  it("gives one document on standard output, the text on standard error", async () => {
    const { out, err } = await run("explain", "resume", "--json");
    expect(JSON.parse(out).properties).toMatchObject([{ name: "resume" }]);
    expect(err).toMatch(/^resume\n/);
  });
});

describe("completion", () => {
  it.each(["bash", "zsh", "fish"])("%s knows commands, options, properties and threats", async (shell) => {
    const { status, out } = await run("completion", shell);
    expect(status).toBe(0);
    for (const word of ["matrix", "max-memory", "nmi-unmasked", "mc-anywhere", "intel"]) expect(out).toContain(word);
  });

  const complete = (line: string, script: string) => {
    const words = line.split(" ");
    const list = words.map((word) => `'${word}'`).join(" ");
    const command = `${script}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _trapcheck; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync("bash", ["--norc", "-c", command], { encoding: "utf8" }).stdout.trim().split("\n");
  };
  const noBash = spawnSync("bash", ["--version"]).status !== 0;

  it.skipIf(noBash).each([
    ["trapcheck ma", ["matrix"]],
    ["trapcheck check --thr", ["--threat"]],
    ["trapcheck check x --threat mc", ["mc", "mc-anywhere"]],
    ["trapcheck explain nmi-u", ["nmi-unmasked"]],
    ["trapcheck completion z", ["zsh"]],
    ["trapcheck check package.j", ["package.json"]],
  ])("bash completes %j (skipped without bash)", async (line, expected) => {
    const { out } = await run("completion", "bash");
    expect(complete(line, out)).toEqual(expected);
  });

  it.skipIf(noBash || spawnSync("zsh", ["--version"]).status !== 0)(
    "zsh can read its script (skipped without zsh)",
    async () => {
      const { out } = await run("completion", "zsh");
      expect(spawnSync("zsh", ["-n"], { input: out, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
    },
  );
});
