// Files and folders that commands name.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { InputError } from "../diagnostic.js";

/** The designs that come with the package. */
export function packageDesigns(): string {
  return fileURLToPath(new URL("../../designs", import.meta.url));
}

/** The bytes of a file. InputError when it cannot be read. */
export function readInput(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: "no such file",
      EISDIR: "this is a folder; expected a file",
      EACCES: "not allowed to read this file",
    };
    const code = (error as NodeJS.ErrnoException).code ?? "";
    throw new InputError(reasons[code] ?? `cannot be read (${code})`, { file });
  }
}
