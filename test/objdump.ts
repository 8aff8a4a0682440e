// What GNU objdump makes of a program, instruction by instruction, and how this project's decoder compares.

import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import { createInterface } from "node:readline";
import { decode } from "../src/isa/decode.js";
import { format } from "../src/isa/format.js";
import type { Mode } from "../src/isa/insn.js";

export interface Line {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** AT&T, one blank between words, without symbols */
  readonly text: string;
}

/** Is objdump there? */
export const hasObjdump = (): boolean => spawnSync("objdump", ["--version"]).status === 0;

/** The mode of a program's code, by the class in its ELF header. */
export function elfMode(file: string): Mode {
  const head = Buffer.alloc(5);
  const descriptor = openSync(file, "r");
  readSync(descriptor, head);
  closeSync(descriptor);
  if (head.toString("latin1", 0, 4) !== "\x7fELF")
    throw new Error(`${file} is no ELF file (a vmlinuz must be unpacked first)`);
  return head[4] === 2 ? 64 : 32;
}

/** Bytes of one section of code, as `objdump -h` lists it. */
export function codeSize(file: string, section: string): number {
  const { stdout, stderr, status } = spawnSync("objdump", ["-h", "-w", file], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr.trim());
  const rows = stdout.split("\n").map((line) => line.trim().split(/\s+/));
  const size = rows.find(([, name]) => name === section)?.[2];
  if (size === undefined) throw new Error(`${file} has no section ${section}`);
  return Number.parseInt(size, 16);
}

/** Symbols and the 0x of branch targets depend on the symbol table, blanks on columns: not compared. */
const normal = (text: string) =>
  text
    .replace(/ <[^>]*>/g, "")
    .replace(/\b0x/g, "")
    .replace(/\s+/g, " ")
    .trim();

const LINE = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(.*)$/;

/** The instructions of one section, in order. */
export async function* disassemble(file: string, section: string): AsyncGenerator<Line> {
  const child = spawn("objdump", ["-d", "-w", "-z", "--insn-width=16", "-j", section, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const status = new Promise<number | null>((resolve) => child.on("close", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const [, address, bytes, text] = LINE.exec(line) ?? [];
    if (address === undefined || bytes === undefined || text === undefined) continue;
    yield {
      address: BigInt(`0x${address}`),
      bytes: Uint8Array.from(Buffer.from(bytes.replaceAll(" ", ""), "hex")),
      text: normal(text),
    };
  }
  if ((await status) !== 0) throw new Error(`objdump ${file} failed`);
}

const PREFIX_WORDS = /^(?:lock|rep|repz|repnz|bnd|notrack|data16|addr32|addr16|[c-gs]s|rex(?:\.\w+)?) /;

/** `addps` of `rex.W addps %xmm0,%xmm1`. */
export function mnemonicOf(text: string): string {
  let rest = text;
  while (PREFIX_WORDS.test(rest)) rest = rest.replace(PREFIX_WORDS, "");
  return rest.split(" ")[0] ?? "";
}

/**
 * same: length and text agree. bad: objdump has no name for the bytes and this decoder refuses them. unknown: only this decoder
 * refuses them. different: anything else, with what this decoder says.
 */
export type Comparison =
  | { readonly kind: "same" | "bad" | "unknown" }
  | { readonly kind: "different"; readonly ours: string };

export function compare({ address, bytes, text }: Line, mode: Mode): Comparison {
  const result = decode(bytes, mode);
  const isBad = text.includes("(bad)");
  if (!result.ok) return { kind: isBad ? "bad" : "unknown" };
  const { insn } = result;
  const ours = normal(format(insn, address, "att"));
  if (!isBad && insn.length === bytes.length && ours === text) return { kind: "same" };
  return { kind: "different", ours: `${ours} (${insn.length} bytes)` };
}
