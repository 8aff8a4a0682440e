// The package as others get it: packed, unpacked elsewhere, with its dependencies and nothing of the checkout beside it.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const { version, dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  version: string;
  dependencies: Record<string, string>;
};
const tools = ["npm", "tar"].every((tool) => spawnSync(tool, ["--version"]).status === 0);

let folder = "";
let installed = "";

function run(command: string, args: readonly string[], cwd: string) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined },
  });
  if (error) throw error;
  return { status, out: stdout, err: stderr };
}

describe(`the packed package${tools ? "" : " (skipped: needs npm and tar)"}`, () => {
  beforeAll(() => {
    if (!tools) return;
    folder = mkdtempSync(join(tmpdir(), "trapcheck-package-"));
    const packed = run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], ROOT);
    expect(packed.status, packed.err).toBe(0);
    // its dependencies are those of the checkout, so that no registry is asked
    const modules = join(folder, "node_modules");
    installed = join(modules, "trapcheck");
    mkdirSync(installed, { recursive: true });
    const unpacked = run(
      "tar",
      ["-xzf", join(folder, `trapcheck-${version}.tgz`), "--strip-components=1", "-C", installed],
      folder,
    );
    expect(unpacked.status, unpacked.err).toBe(0);
    for (const name of Object.keys(dependencies)) symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  }, 120_000);
  afterAll(() => {
    if (folder !== "") rmSync(folder, { recursive: true });
  });

  const trapcheck = (...args: string[]) =>
    run(process.execPath, [join(installed, "bin/trapcheck.js"), ...args], folder);
  const own = (design: string) => join(installed, "designs", design);

  it.skipIf(!tools)("has the program, the engine, the designs, and neither sources nor tests", () => {
    expect(existsSync(join(installed, "dist/engine.wasm"))).toBe(true);
    expect(existsSync(join(installed, "src"))).toBe(false);
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" });
    expect(files.filter((name) => /\.test\.|\.tgz$|node_modules/.test(name))).toEqual([]);
    expect(files).toEqual(
      expect.arrayContaining(["bin/trapcheck.js", "designs/naive/scenario.yaml", "dist/check/worker.js"]),
    );
  });

  it.skipIf(!tools)("says its version", () => {
    expect(trapcheck("--version")).toEqual({ status: 0, out: `${version}\n`, err: "" });
  });

  it.skipIf(!tools)("checks its own designs", () => {
    const holds = trapcheck("check", own("rostedt-2011"), "--threat", "nmi");
    expect([holds.status, holds.err]).toEqual([0, ""]);
    expect(holds.out).toMatch(/^holds for any number of events/);
    const violated = trapcheck("check", own("naive"), "--json");
    expect(violated.status).toBe(1);
    expect(JSON.parse(violated.out)).toMatchObject({
      verdict: "violated",
      violation: { property: "nmi-reentry", events: 3 },
    });
  });

  it.skipIf(!tools)("starts worker threads from where it is installed", () => {
    const { status, out } = trapcheck("check", own("naive"), "--threat", "nmi", "--workers", "2");
    expect(status).toBe(0);
    expect(out).toMatch(/2 workers/);
  });

  it.skipIf(!tools)("lists and traces them", () => {
    expect(trapcheck("list", join(installed, "designs")).out).toMatch(/^naive/m);
    expect(trapcheck("trace", own("naive"), "--schedule", "nmi@1").status).toBe(0);
  });
});
