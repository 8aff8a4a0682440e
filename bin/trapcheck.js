#!/usr/bin/env node
// Starts the command line. In a source checkout dist/ is brought up to date first; an installed package comes with it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

if (existsSync(path("../src")) && existsSync(path("../scripts/build.js"))) {
  // the build's own text must not end up in a document on standard output
  const { status, error } = spawnSync(process.execPath, [path("../scripts/build.js")], { stdio: ["ignore", 2, 2] });
  if (error || status !== 0) {
    console.error(`internal error: the build of trapcheck failed${error ? `: ${error.message}` : ""}`);
    process.exit(4);
  }
}
const { run } = await import("../dist/cli/main.js");
await run();
