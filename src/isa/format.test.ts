import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decode } from "./decode.js";
import { format } from "./format.js";
import type { Mode } from "./insn.js";

interface Vector {
  readonly line: string;
  readonly mode: Mode;
  readonly address: number;
  readonly bytes: string;
  readonly att: string;
  readonly intel: string;
  readonly refused?: true;
}

const VECTORS = (
  JSON.parse(readFileSync(new URL("./vectors/gas.vectors.json", import.meta.url), "utf8")) as readonly Vector[]
).filter(({ refused }) => !refused);

function print(
  hex: string,
  mode: Mode,
  address: bigint,
  syntax: "att" | "intel",
  symbol?: (at: bigint) => string | undefined,
): string {
  const result = decode(Uint8Array.from(Buffer.from(hex, "hex")), mode);
  return result.ok ? format(result.insn, address, syntax, symbol) : result.reason;
}

describe("format", () => {
  for (const syntax of ["att", "intel"] as const) {
    it(`prints what objdump prints (${syntax})`, () => {
      const wrong = VECTORS.flatMap((vector) => {
        const mine = print(vector.bytes, vector.mode, BigInt(vector.address), syntax);
        return mine === vector[syntax] ? [] : [`${vector.mode}: ${vector.bytes}: ${mine} | objdump: ${vector[syntax]}`];
      });
      expect(wrong).toEqual([]);
    });
  }

  it("names targets", () => {
    const symbol = (at: bigint) => (at === 0x1007n ? "next" : undefined);
    expect(print("eb05", 64, 0x1000n, "att", symbol)).toBe("jmp 1007 <next>");
    expect(print("488b0500000000", 64, 0x1000n, "att", symbol)).toBe("mov 0x0(%rip),%rax # 1007 <next>");
  });
});
