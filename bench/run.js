// How fast the explorer is, as ratios against peers in the same run: medians of several, since machines are noisy.
//
//   npm run bench             five runs each
//   npm run bench -- --runs 3
//
// Peers: the hand-written C engine of bench/engine-c and the Promela model of bench/spin, both of the same design at the same
// grain (one state for each instruction boundary). They need gcc, and the second one spin; without them the rows say so.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { check } from "../dist/check/check.js";
import { loadScenario } from "../dist/scenario/load.js";

const here = dirname(fileURLToPath(import.meta.url));
const at = process.argv.indexOf("--runs");
const RUNS = at < 0 ? 5 : Number(process.argv[at + 1]);
/** The workload of bench/spin/README.md called W1: 4.6 million states. */
const W1 = ["-DBUDGET=10", "-DNBP=2"];
const SPIN_PAN = ["-w", "-O3", "-march=native", "-DSAFETY", "-DNOREDUCE", "-DNOBOUNDCHECK", "-DMEMLIM=20000", "-DHC4"];

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const has = (tool) => spawnSync(tool, ["--version"]).error === undefined;
const folder = mkdtempSync(join(tmpdir(), "trapcheck-bench-"));

function sh(command, args, cwd = folder) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** A peer or a configuration of ours: one run gives states, seconds and bytes. */
const contenders = [];

function ours(name, workers) {
  const scenario = loadScenario(join(here, "../designs/rostedt-2011"), { program: "syscall", threat: "bp" });
  contenders.push({
    name,
    async run() {
      const { verdict, states, seconds, memory } = await check(scenario, { workers });
      if (verdict !== "holds") throw new Error(`rostedt-2011 gives ${verdict}`);
      return { states, seconds, bytes: memory };
    },
  });
}

function cEngine() {
  if (!has("gcc")) return console.log("engine-c: skipped, no gcc");
  const program = join(folder, "eng");
  sh("gcc", [
    "-w",
    "-O3",
    "-march=native",
    ...W1,
    "-I",
    join(here, "spin"),
    "-o",
    program,
    join(here, "engine-c/eng.c"),
  ]);
  contenders.push({
    name: "engine-c",
    run() {
      const out = sh(program, ["24"]);
      const [, states, seconds, mebibytes] = /states (\d+) .* search ([\d.]+) s .* table (\d+) MiB/.exec(out) ?? [];
      return { states: Number(states), seconds: Number(seconds), bytes: Number(mebibytes) * 2 ** 20 };
    },
  });
}

function spin() {
  if (spawnSync("spin", ["-V"]).error || !has("gcc")) return console.log("spin: skipped, no spin or no gcc");
  sh("spin", ["-a", ...W1, join(here, "spin/nmi.pml")]);
  sh("gcc", [...SPIN_PAN, "-o", "pan", "pan.c"]);
  contenders.push({
    name: "spin -DHC4",
    run() {
      const start = performance.now();
      const out = sh(join(folder, "pan"), ["-m20000", "-w24"]);
      const [, states] = /([\d.e+]+) states, stored/.exec(out) ?? [];
      const [, mebibytes] = /([\d.]+)\s+total actual memory usage/.exec(out) ?? [];
      return {
        states: Number(states),
        seconds: (performance.now() - start) / 1000,
        bytes: Number(mebibytes) * 2 ** 20,
      };
    },
  });
}

try {
  ours("trapcheck, 1 worker", 1);
  ours("trapcheck, 2 workers", 2);
  cEngine();
  spin();
  const runs = contenders.map(() => []);
  // interleaved, so that a busy minute of the machine hits all alike
  for (let n = 0; n < RUNS; n++) for (const [i, contender] of contenders.entries()) runs[i].push(await contender.run());
  const rows = contenders.map(({ name }, i) => ({
    name,
    states: runs[i][0].states,
    rate: median(runs[i].map(({ states, seconds }) => states / seconds)),
    bytes: runs[i][0].bytes / runs[i][0].states,
  }));
  console.log(`${cpus()[0]?.model ?? "unknown CPU"}, ${availableParallelism()} cores, medians of ${RUNS}`);
  for (const { name, states, rate, bytes } of rows) {
    const ratio = rate / rows[0].rate;
    console.log(
      `${name.padEnd(22)} ${String(states).padStart(9)} states ${(rate / 1e6).toFixed(2).padStart(6)} M states/s ` +
        `${ratio.toFixed(2).padStart(5)}x ${bytes.toFixed(0).padStart(4)} bytes/state`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
