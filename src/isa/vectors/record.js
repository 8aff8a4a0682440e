// Records what GNU as makes of LINES and what objdump prints for the bytes. Run by hand: `node src/isa/vectors/record.js`.
// The result (gas.vectors.json) is what the tests use, so that they need neither program.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BYTES, LINES, REFUSED } from "./lines.js";

const folder = mkdtempSync(join(tmpdir(), "vectors-"));
const source = join(folder, "a.s");
const object = join(folder, "a.o");

/** Runs as; gives the numbers of the lines it refuses. */
function assemble(lines, mode) {
  writeFileSync(source, `${lines.join("\n")}\n`);
  const { stderr } = spawnSync("as", [`--${mode}`, source, "-o", object], { encoding: "utf8" });
  return stderr.split("\n").flatMap((text) => {
    const match = /:(\d+): Error: (.*)/.exec(text);
    return match === null ? [] : [{ number: Number(match[1]), reason: match[2] }];
  });
}

function disassemble(options) {
  const text = execFileSync("objdump", ["-d", "-w", "-z", "--insn-width=16", ...options, object], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  return text.split("\n").flatMap((line) => {
    const match = /^\s+([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(.*)$/.exec(line);
    if (match === null) return [];
    return [
      {
        address: Number.parseInt(match[1], 16),
        bytes: match[2].replaceAll(" ", ""),
        text: match[3].trim().replace(/\s+/g, " "),
      },
    ];
  });
}

const vectors = [];
for (const mode of [32, 64]) {
  const given = BYTES[mode].map((text) => `.byte 0x${text.replaceAll(" ", ",0x")}`);
  const lines = [...new Set([...LINES[mode], ...given])];
  for (const { number, reason } of assemble(lines, mode)) console.error(`${mode}: ${lines[number - 1]}: ${reason}`);
  const refused = new Set(assemble(lines, mode).map(({ number }) => number));
  const accepted = lines.filter((_, i) => !refused.has(i + 1));
  assemble(accepted, mode);
  const att = disassemble([]);
  const intel = disassemble(["-M", "intel"]);
  if (att.length !== accepted.length) throw new Error(`${accepted.length} lines, ${att.length} instructions`);
  accepted.forEach((line, i) => {
    vectors.push({ line, mode, address: att[i].address, bytes: att[i].bytes, att: att[i].text, intel: intel[i].text });
  });
  for (const line of REFUSED[mode]) {
    if (assemble([line], mode).length === 0) console.error(`${mode}: accepted: ${line}`);
    else vectors.push({ line, mode, refused: true });
  }
}
rmSync(folder, { recursive: true });
const file = join(dirname(fileURLToPath(import.meta.url)), "gas.vectors.json");
writeFileSync(file, `[\n${vectors.map((vector) => JSON.stringify(vector)).join(",\n")}\n]\n`);
console.error(`${vectors.length} vectors`);
