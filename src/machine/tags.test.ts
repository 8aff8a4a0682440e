import { describe, expect, it } from "vitest";
import type { Image } from "../image/image.js";
import { instructionStarts } from "./tags.js";

function image(...sections: Array<{ address: bigint; bytes: number[] }>): Image {
  return {
    sections: sections.map(({ address, bytes }) => ({
      name: ".text",
      address,
      bytes: Uint8Array.from(bytes),
      executable: true,
      writable: false,
    })),
    symbols: new Map([["padded", 0x1010n]]),
    lines: [],
  };
}

describe("instruction starts", () => {
  it("are found in every section that a range covers", () => {
    const two = image({ address: 0x1000n, bytes: [0x50, 0x58] }, { address: 0x1002n, bytes: [0x48, 0xcf] });
    expect(instructionStarts(two, [{ low: 0x1000n, high: 0x1004n }], 64)).toEqual([0x1000n, 0x1001n, 0x1002n]);
  });

  it("leave out padding behind the end of a path, but not a NOP that a symbol names", () => {
    const padded = image({ address: 0x100en, bytes: [0xc3, 0x90, 0x90, 0xc3] }); // ret; nop; padded: nop; ret
    expect(instructionStarts(padded, [{ low: 0x100en, high: 0x1012n }], 64)).toEqual([0x100en, 0x1010n, 0x1011n]);
  });

  it("step over bytes that are no instruction", () => {
    const data = image({ address: 0x1000n, bytes: [0x06, 0x90] }); // PUSH ES does not exist in 64-bit mode
    expect(instructionStarts(data, [{ low: 0x1000n, high: 0x1002n }], 64)).toEqual([0x1001n]);
  });
});
