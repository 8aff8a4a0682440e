// Builds dist/: the engine to WebAssembly, everything else to JavaScript. Does nothing where dist/ is newer than its
// sources, so that `npm ci`, `npm test` and `npx trapcheck` may all call it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  const names = readdirSync(path).filter((name) => !name.endsWith(".test.ts"));
  return Math.max(0, ...names.map((name) => newest(join(path, name))));
}

function run(tool, args) {
  const { status, error } = spawnSync(process.execPath, [join(root, "node_modules", tool), ...args], {
    cwd: root,
    stdio: "inherit",
  });
  if (error) throw error;
  if (status !== 0) {
    rmSync(join(root, "dist/.built"), { force: true });
    process.exit(status ?? 1);
  }
}

function step(name, sources, output, build) {
  const out = join(root, output);
  const newestSource = Math.max(...sources.map((source) => newest(join(root, source))));
  if (existsSync(out) && statSync(out).mtimeMs > newestSource) return;
  process.stderr.write(`building ${name}\n`);
  const start = new Date(); // what is changed while it builds is built the next time
  build();
  utimesSync(out, start, start); // tsc leaves its file as it is when nothing that counts has changed
}

if (!existsSync(join(root, "src"))) process.exit(0); // an installed package: dist/ came with it
mkdirSync(join(root, "dist"), { recursive: true });
step("the engine", ["src/engine", "scripts/build.js"], "dist/engine.wasm", () =>
  run("assemblyscript/bin/asc.js", [
    "src/engine/index.ts",
    "-o",
    "dist/engine.wasm",
    "-O3",
    "--converge",
    "--runtime",
    "stub",
    "--noAssert",
    "--importMemory",
    "--sharedMemory",
    "--initialMemory",
    "2",
    "--maximumMemory",
    "65536",
    "--enable",
    "threads",
    "--memoryBase",
    "65536",
  ]),
);
step("trapcheck", ["src", "tsconfig.json", "package.json"], "dist/.built", () => {
  run("typescript/bin/tsc", ["-p", "tsconfig.json", "--tsBuildInfoFile", "dist/.built", "--incremental"]);
});
