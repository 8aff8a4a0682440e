// Where the compiled engine lies on disk. The page fetches it instead; everything else takes the module as a value.

import { readFileSync } from "node:fs";

let compiled: WebAssembly.Module | undefined;

/** The engine's module, compiled once in each thread. */
export function engineModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(new URL("../../dist/engine.wasm", import.meta.url)));
  return compiled;
}
