// The code of a scenario as modules: assembly and ELF files, stubs, the interrupted program, initial contents of regions.

import { readFileSync, statSync } from "node:fs";
import { assemble } from "../asm/assemble.js";
import { InputError } from "../diagnostic.js";
import { isElf, readElf } from "../image/elf.js";
import type { ObjectModule } from "../image/module.js";
import type { Part } from "./layout.js";
import { beside, type EmbeddedText, type Path, type ScenarioSource } from "./read.js";
import type { ProgramFile } from "./schema.js";

/** Boot protocol magic of a bzImage, at 0x202. */
const BZIMAGE = [0x48, 0x64, 0x72, 0x53];

/** All modules of the scenario with that program. InputError: files that cannot be read or are not code. */
export function loadParts(source: ScenarioSource, mode: 32 | 64, programName: string, program: ProgramFile): Part[] {
  const { value } = source;
  const define = new Map(Object.entries(value.define ?? {}));
  const embedded = (path: Path) => assembleText(source.text(path), mode, define);
  const paths = typeof value.code === "string" ? [value.code] : value.code;
  const parts: Part[] = paths.map((file, index) => {
    const path = typeof value.code === "string" ? ["code"] : ["code", index];
    return { module: readCode(source, path, file, mode, define), role: "entry", user: false };
  });
  if (value.stubs !== undefined) parts.push({ module: embedded(["stubs"]), role: "entry", user: false });
  const module = embedded(["programs", programName, "code"]);
  if (!module.sections.some((section) => section.executable && section.bytes.length > 0)) {
    throw source.error(["programs", programName, "code"], "expected at least one instruction in an executable section");
  }
  parts.push({ module, role: "program", user: (program.cpl ?? 3n) === 3n });
  for (const [name, region] of Object.entries(value.memory ?? {})) {
    if (region.data === undefined) continue;
    const contents = embedded(["memory", name, "data"]);
    // Its rights are those of the region, whatever section the text stands in.
    const rights = { writable: region.writable ?? true, executable: region.executable ?? false };
    const module = { ...contents, sections: contents.sections.map((section) => ({ ...section, ...rights })) };
    parts.push({ module, role: "region", user: region.user ?? false, region: name });
  }
  return parts;
}

function readCode(
  source: ScenarioSource,
  path: Path,
  name: string,
  mode: 32 | 64,
  define: ReadonlyMap<string, bigint>,
): ObjectModule {
  const at = source.locate(path);
  const file = beside(at.file, name);
  let bytes: Uint8Array;
  // /dev/zero never ends
  if (statSync(file, { throwIfNoEntry: false })?.isCharacterDevice()) {
    throw source.error(path, `${file} is a device; expected assembly text or an ELF file`);
  }
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw source.error(path, `cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
  if (isElf(bytes)) {
    const elf = readElf(file, bytes);
    if (elf.mode !== mode) {
      throw source.error(
        path,
        `${file} is ${elf.mode}-bit code, but the scenario's mode is ${mode}; expected \`mode: ${elf.mode}\``,
      );
    }
    return elf.module;
  }
  if (BZIMAGE.every((byte, index) => bytes[0x202 + index] === byte)) {
    throw source.error(path, `${file} is a compressed kernel (bzImage); expected the vmlinux that is inside`);
  }
  if (bytes.includes(0)) {
    throw source.error(path, `${file} is neither assembly text nor ELF`);
  }
  return assembleText({ file, text: new TextDecoder().decode(bytes), startLine: 1 }, mode, define);
}

function assembleText(text: EmbeddedText, mode: 32 | 64, define: ReadonlyMap<string, bigint>): ObjectModule {
  try {
    return assemble([text], { mode, define });
  } catch (error) {
    // Lines of an embedded text are those of the scenario file already.
    if (error instanceof InputError && error.location === undefined)
      throw new InputError(error.message, { file: text.file }, error.notes);
    throw error;
  }
}
