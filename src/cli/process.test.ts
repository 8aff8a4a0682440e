// The real streams of the process.

import { spawnSync } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const BIN = fileURLToPath(new URL("../../bin/trapcheck.js", import.meta.url));

it.skipIf(!existsSync("/dev/full"))(
  "output that cannot be written is one sentence and no success",
  () => {
    const full = openSync("/dev/full", "w");
    const { status, stderr } = spawnSync(process.execPath, [BIN, "explain"], {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    });
    expect(stderr).toMatch(/^error: the output cannot be written \(ENOSPC\)$/m);
    expect(stderr).not.toContain("    at ");
    expect(status).toBe(2);
  },
  60_000,
);
