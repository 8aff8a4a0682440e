import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encode } from "./encode.js";
import type { Mode } from "./insn.js";
import { parseLine } from "./vectors/parse.js";

interface Vector {
  readonly line: string;
  readonly mode: Mode;
  readonly bytes?: string;
  readonly refused?: true;
}

const VECTORS: readonly Vector[] = JSON.parse(
  readFileSync(new URL("./vectors/gas.vectors.json", import.meta.url), "utf8"),
);

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Bytes of a line, or the error; branches take the short form where it reaches. */
function assemble(line: string, mode: Mode): string {
  for (const form of ["short", "near"] as const) {
    for (const length of [2, 3, 4, 5, 6]) {
      const request = parseLine(line, mode, form, length);
      if (request === undefined) return "error: unreadable";
      const result = encode(request);
      const isBranch = request.operands[0]?.kind === "rel";
      if ("error" in result) {
        if (!isBranch || (form === "near" && length === 6)) return `error: ${result.error}`;
      } else if (!isBranch || result.bytes.length === length) return hex(result.bytes);
    }
  }
  return "error: no length fits";
}

describe("encode", () => {
  it("gives the bytes of GNU as", () => {
    const wrong = VECTORS.filter(({ refused }) => !refused).flatMap(({ line, mode, bytes }) => {
      const mine = assemble(line, mode);
      return mine === bytes ? [] : [`${mode}: ${line}: ${mine}, GNU as: ${bytes}`];
    });
    expect(wrong).toEqual([]);
  });

  it("refuses what GNU as refuses", () => {
    const wrong = VECTORS.filter(({ refused }) => refused).filter(
      ({ line, mode }) => !assemble(line, mode).startsWith("error"),
    );
    expect(wrong).toEqual([]);
  });
});
