// The assembler against GNU as: sections byte for byte, relocations one by one. What as gave is recorded beside each
// fixture, so that machines without it check the same; with it, the record itself is checked too.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ObjectModule } from "../image/module.js";
import type { Mode } from "../isa/insn.js";
import { assemble } from "./assemble.js";

interface Recorded {
  /** hex, or `4096 zeros`; relocated fields are zero */
  readonly sections: Readonly<Record<string, string>>;
  /** `section+offset size kind symbol+addend`, sorted */
  readonly relocations: readonly string[];
}

const FIXTURES = join(import.meta.dirname, "fixtures");
const RANDOM_LAYOUTS = Number(process.env.TRAPCHECK_RANDOM_LAYOUTS ?? 40);
const hasAs = ["as", "objcopy", "objdump"].every((tool) => spawnSync(tool, ["--version"]).status === 0);
const fixtures = readdirSync(FIXTURES).filter((name) => name.endsWith(".S"));
const modeOf = (name: string): Mode => (name.includes("32") ? 32 : 64);
/** what `.ident` and `.cfi_*` make, which say nothing to the machine */
const IGNORED = [".comment", ".eh_frame"];
const line = (section: string, at: number, size: number, kind: string, symbol: string, addend: bigint): string =>
  `${section}+${at} ${size} ${kind} ${symbol}${addend < 0n ? addend : `+${addend}`}`;

const TYPES: Readonly<Record<string, readonly [number, string]>> = {
  R_X86_64_64: [8, "absolute"],
  R_X86_64_32: [4, "absolute"],
  R_X86_64_32S: [4, "absolute signed"],
  R_X86_64_16: [2, "absolute"],
  R_X86_64_8: [1, "absolute"],
  R_X86_64_PC64: [8, "relative"],
  R_X86_64_PC32: [4, "relative"],
  R_X86_64_PLT32: [4, "relative"],
  R_X86_64_PC8: [1, "relative"],
  R_386_32: [4, "absolute"],
  R_386_16: [2, "absolute"],
  R_386_8: [1, "absolute"],
  R_386_PC32: [4, "relative"],
  R_386_PLT32: [4, "relative"],
  R_386_PC8: [1, "relative"],
};

/** What GNU as makes of a source. */
function assembleWithGnu(path: string, mode: Mode): Recorded {
  const folder = mkdtempSync(join(tmpdir(), "trapcheck-as-"));
  try {
    const object = join(folder, "out.o");
    execFileSync("as", [`--${mode}`, path, "-o", object], { stdio: "pipe" });
    const headers = execFileSync("objdump", ["-hw", object], { encoding: "utf8" });
    const bytes = new Map<string, Buffer>();
    for (const [, name = "", size = "0", flags = ""] of headers.matchAll(
      /^\s*\d+ (\S+)\s+([0-9a-f]+)(?:\s+\S+){4}\s+(.*)$/gm,
    )) {
      if (Number.parseInt(size, 16) === 0 || IGNORED.includes(name)) continue;
      if (flags.includes("CONTENTS")) {
        const file = join(folder, "section");
        execFileSync("objcopy", ["--dump-section", `${name}=${file}`, object, join(folder, "copy.o")]);
        bytes.set(name, readFileSync(file));
      } else bytes.set(name, Buffer.alloc(Number.parseInt(size, 16)));
    }
    return { relocations: relocationsOf(object, bytes), sections: hexOf(bytes) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Reads the relocations; those of 32-bit objects keep the addend in the field, which is cleared. */
function relocationsOf(object: string, bytes: ReadonlyMap<string, Buffer>): string[] {
  const result: string[] = [];
  const text = execFileSync("objdump", ["-rw", object], { encoding: "utf8" });
  for (const block of text.split("RELOCATION RECORDS FOR [").slice(1)) {
    const section = block.slice(0, block.indexOf("]"));
    if (IGNORED.includes(section)) continue;
    const data = bytes.get(section);
    for (const [, at = "", type = "", symbol = "", written] of block.matchAll(
      /^([0-9a-f]+) (R_\S+)\s+(\S+?)([-+]0x[0-9a-f]+)?$/gm,
    )) {
      const [size, kind] = TYPES[type] ?? [0, type];
      const offset = Number.parseInt(at, 16);
      let addend = written === undefined ? 0n : BigInt(written.slice(1)) * (written.startsWith("-") ? -1n : 1n);
      if (type.startsWith("R_386_") && data !== undefined) {
        addend +=
          size === 4
            ? BigInt(data.readInt32LE(offset))
            : size === 2
              ? BigInt(data.readInt16LE(offset))
              : BigInt(data.readInt8(offset));
      }
      data?.fill(0, offset, offset + size);
      result.push(line(section, offset, size, kind, symbol, addend));
    }
  }
  return result.sort();
}

function hexOf(bytes: ReadonlyMap<string, Uint8Array>): Record<string, string> {
  const shown = (data: Uint8Array): string =>
    data.every((byte) => byte === 0) ? `${data.length} zeros` : Buffer.from(data).toString("hex");
  return Object.fromEntries([...bytes].map(([name, data]) => [name, shown(data)]).sort());
}

function asRecorded(module: ObjectModule, mode: Mode): Recorded {
  const sections = module.sections.filter((section) => section.bytes.length > 0 && section.name !== "COMMON");
  const relocations = module.relocations.map((relocation) => {
    const { section, offset, size, kind, signed, symbol, addend } = relocation;
    const name = typeof symbol === "number" ? (module.symbols[symbol]?.name ?? "?") : symbol;
    const shown = kind === "absolute" && signed ? "absolute signed" : kind;
    // as keeps 32-bit addends in the field, where the sign is lost
    const kept = mode === 32 ? BigInt.asIntN(32, addend) : addend;
    return line(module.sections[section]?.name ?? "?", offset, size, shown, name, kept);
  });
  return {
    relocations: relocations.sort(),
    sections: hexOf(new Map(sections.map(({ name, bytes }) => [name, bytes]))),
  };
}

describe.each(fixtures)("%s", (name) => {
  const path = join(FIXTURES, name);
  const record = path.replace(/\.S$/, ".vectors.json");

  it.skipIf(!hasAs)("is recorded as GNU as assembles it", () => {
    const theirs = assembleWithGnu(path, modeOf(name));
    if (process.env.TRAPCHECK_RECORD !== undefined || !existsSync(record))
      writeFileSync(record, `${JSON.stringify(theirs, null, 1)}\n`);
    expect(theirs).toEqual(JSON.parse(readFileSync(record, "utf8")));
  });

  it("assembles to the recorded bytes and relocations", () => {
    const module = assemble([{ file: name, text: readFileSync(path, "utf8") }], { mode: modeOf(name) });
    expect(asRecorded(module, modeOf(name))).toEqual(JSON.parse(readFileSync(record, "utf8")));
  });
});

/** A source of jumps, labels, alignments, gaps and distances; the same for the same seed. */
function randomLayout(seed: number): string {
  let state = seed * 2654435761 + 12345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 4294967296) * below);
  };
  const labels = 12;
  const lines: string[] = [];
  for (let label = 0; label < labels; label++) {
    for (let item = random(6); item >= 0; item--) {
      const to = `l${random(labels)}`;
      const choices = [
        `jmp ${to}`,
        `jne ${to}`,
        `jb ${to} + ${random(20)}`,
        `.skip ${random(60)}, 0x90`,
        `.p2align ${random(6)}`,
        `.p2align ${1 + random(5)}, , ${1 + random(12)}`,
        `.balign ${1 << random(6)}, 0xcc`,
        "nop",
        `call ${to}`,
        label > 1 ? `.skip (l1 - l0) & 15, 0xf4` : "nop",
        `.long ${to} - .`,
        `lea ${to}(%rip), %rax`,
      ];
      lines.push(choices[random(choices.length)] ?? "");
    }
    lines.push(`l${label}:`);
  }
  return `${lines.join("\n")}\n.org l${labels - 1} + 32\n.long l3 - l2\n`;
}

it.skipIf(!hasAs)("lays out random code as GNU as does", () => {
  const folder = mkdtempSync(join(tmpdir(), "trapcheck-as-"));
  const path = join(folder, "random.S");
  try {
    for (let seed = 1; seed <= RANDOM_LAYOUTS; seed++) {
      const text = randomLayout(seed);
      writeFileSync(path, text);
      const ours = asRecorded(assemble([{ file: path, text }], { mode: 64 }), 64);
      expect(ours, `seed ${seed}:\n${text}`).toEqual(assembleWithGnu(path, 64));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
