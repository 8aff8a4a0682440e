import { describe, expect, it } from "vitest";
import type { ObjectModule } from "../image/module.js";
import { palette } from "./colour.js";
import { assembledLines, assemblyListing, disassemble, disassemblyListing } from "./listing.js";

const source = "start:\n  nop\n  call far_away # outside\n.bss\nroom: .skip 8\n";
const section = { align: 1, alloc: true, writable: false, executable: true, nobits: false };
const module: ObjectModule = {
  file: "a.S",
  sections: [
    { ...section, name: ".text", bytes: Uint8Array.of(0x90, 0xe8, 0, 0, 0, 0, 0xff) },
    { ...section, name: ".bss", executable: false, nobits: true, bytes: new Uint8Array(8) },
  ],
  symbols: [
    { name: "start", section: 0, value: 0n, global: true },
    { name: "end", section: 0, value: 6n, global: false },
    { name: "room", section: 1, value: 0n, global: false },
    { name: "far_away", section: "undefined", value: 0n, global: true },
  ],
  relocations: [{ section: 0, offset: 2, size: 4, kind: "relative", signed: true, symbol: "far_away", addend: -4n }],
  lines: [
    { section: 0, offset: 0, file: "a.S", line: 2 },
    { section: 0, offset: 1, file: "a.S", line: 3 },
    { section: 1, offset: 0, file: "a.S", line: 5 },
  ],
};
const sources = new Map([["a.S", source]]);

it("lists bytes beside the source", () => {
  expect(assemblyListing(assembledLines(module, sources), sources, palette(false))).toBe(
    [
      "   1                            start:",
      "   2     0000 90                  nop",
      "   3     0001 e800000000ff        call far_away # outside",
      "   4                            .bss",
      "   5     0000                   room: .skip 8",
      "",
    ].join("\n"),
  );
});

it("cuts long fills short", () => {
  const long = {
    ...module,
    sections: [{ ...section, name: ".text", bytes: new Uint8Array(100) }],
    lines: module.lines.slice(0, 1),
  };
  const lines = assemblyListing(assembledLines(long, sources), sources, palette(false)).split("\n");
  expect(lines.slice(1, 5).map((line) => line.trim())).toEqual([
    "2     0000 0000000000000000    nop",
    "2     0008 0000000000000000",
    "2     0010 0000000000000000",
    "2          ... 100 bytes",
  ]);
});

describe("disassembly", () => {
  const decodeAt = (bytes: Uint8Array, offset: number) =>
    ({ 144: { length: 1, text: "nop" }, 232: { length: 5, text: "call" } })[bytes[offset] ?? 0];

  it("goes symbol by symbol, with relocations, and marks what is no instruction", () => {
    expect(disassemblyListing(disassemble(module, {}, decodeAt), palette(false))).toBe(`section .text

start:
     0  90              nop
     1  e8 00 00 00 00  call
                        0x2: relative 32 bits: far_away-0x4

end:
     6  ff              (bad)
`);
  });

  it("names what instructions refer to, in the section itself and wherever addresses are fixed", () => {
    const seen: (string | undefined)[] = [];
    const ask = (from: ObjectModule) =>
      disassemble(from, { symbol: "end" }, (_bytes, _offset, _address, symbol) => {
        seen.push(...[0x2n, 0x6n, 0x4001n, 0x99n].map(symbol));
        return undefined;
      });
    ask(module);
    ask({ ...module, sections: module.sections.map((one, at) => (at === 1 ? { ...one, address: 0x4000n } : one)) });
    expect(seen).toEqual(["start+0x2", "end", undefined, undefined, "start+0x2", "end", "room+0x1", undefined]);
  });

  it("takes one symbol", () => {
    expect(disassemble(module, { symbol: "end" }, decodeAt).map(({ symbol }) => symbol)).toEqual(["end"]);
  });

  it.each([
    [{ section: ".nope" }, /no section `.nope` with contents; the file has .text, .bss/],
    [{ symbol: "far_away" }, /no symbol `far_away`/],
  ])("%j names nothing", (selection, message) => {
    expect(() => disassemble(module, selection, decodeAt)).toThrow(message);
  });
});
