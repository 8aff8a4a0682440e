import { describe, expect, it } from "vitest";
import { link, resolveSymbols } from "./link.js";
import type { ObjectModule, ObjectSection, ObjectSymbol, Relocation } from "./module.js";

const section = (name: string, size: number): ObjectSection => ({
  name,
  align: 1,
  alloc: true,
  writable: false,
  executable: true,
  nobits: false,
  bytes: new Uint8Array(size),
});
const symbol = (name: string, value: bigint, rest: Partial<ObjectSymbol> = {}): ObjectSymbol => ({
  name,
  section: 0,
  value,
  global: true,
  ...rest,
});
const module = (file: string, symbols: ObjectSymbol[], relocations: Partial<Relocation>[] = []): ObjectModule => ({
  file,
  sections: [section(".text", 16)],
  symbols,
  relocations: relocations.map((entry) => ({
    section: 0,
    offset: 0,
    size: 4,
    kind: "absolute",
    signed: false,
    symbol: "x",
    addend: 0n,
    location: { file, line: 3 },
    ...entry,
  })),
  lines: [{ section: 0, offset: 4, file, line: 9 }],
});
const undefinedSymbol = (name: string) => symbol(name, 0n, { section: "undefined" });
const bytes = (modules: ObjectModule[], bases: bigint[], mode: 32 | 64 = 64) =>
  link(
    modules,
    bases.map((base) => [base]),
    { mode },
  ).sections.map(({ bytes }) => Buffer.from(bytes).toString("hex"));

describe("symbols", () => {
  const local = (value: bigint) => symbol("x", value, { global: false });

  it("a global in two modules is an error that names both places", () => {
    const a = module("a.S", [symbol("x", 0n, { location: { file: "a.S", line: 1 } })]);
    const b = module("b.S", [symbol("x", 0n, { location: { file: "b.S", line: 5 } })]);
    expect(() => link([a, b], [[0x1000n], [0x2000n]], { mode: 64 })).toThrow(
      "symbol x is defined twice: here and in a.S:1",
    );
    const symbols = new Map([["x", { value: 1n, what: "as stack y" }]]);
    expect(() => link([a], [[0x1000n]], { mode: 64, symbols })).toThrow(
      "symbol x is defined twice: here and as stack y",
    );
  });

  it("missing symbols are listed together", () => {
    const a = module("a.S", [], [{ symbol: "two" }, { symbol: "one" }, { symbol: "one" }]);
    expect(() => link([a], [[0x1000n]], { mode: 64 })).toThrow(
      "undefined symbols one, two; `stubs` of the scenario can define them",
    );
  });

  it("a global hides a local elsewhere; two locals are ambiguous", () => {
    const use = module("c.S", [undefinedSymbol("x")], [{ symbol: 0 }]);
    expect(bytes([module("a.S", [local(4n)]), use], [0x1000n, 0x3000n])[1]).toMatch(/^04100000/);
    expect(
      bytes([module("a.S", [local(4n)]), module("b.S", [symbol("x", 0n)]), use], [0x1000n, 0x2000n, 0x3000n])[2],
    ).toMatch(/^00200000/);
    const twice = [module("a.S", [local(4n)]), module("b.S", [local(4n)]), use];
    expect(() => bytes(twice, [0x1000n, 0x2000n, 0x3000n])).toThrow("x is defined in more than one place");
    expect(resolveSymbols(twice, [[0x1000n], [0x2000n], [0x3000n]], { mode: 64 }).ambiguous.has("x")).toBe(true);
  });

  it("a module's own local comes first", () => {
    const own = module("a.S", [local(8n)], [{ symbol: 0 }]);
    expect(bytes([own, module("b.S", [symbol("x", 0n)])], [0x1000n, 0x2000n])[0]).toMatch(/^08100000/);
  });

  it("a weak definition gives way; an undefined weak one is 0", () => {
    const weak = module("a.S", [symbol("x", 8n, { weak: true })], [{ symbol: 0 }]);
    expect(bytes([weak], [0x1000n])[0]).toMatch(/^08100000/);
    expect(bytes([weak, module("b.S", [symbol("x", 0n)])], [0x1000n, 0x2000n])[0]).toMatch(/^00200000/);
    const none = module("a.S", [symbol("x", 0n, { section: "undefined", weak: true })], [{ symbol: 0 }]);
    expect(bytes([none], [0x1000n])[0]).toMatch(/^00000000/);
  });

  it("names of sections are no symbols, and lines are in order", () => {
    const image = link(
      [module("b.S", [symbol(".text", 0n, { global: false })]), module("a.S", [])],
      [[0x2000n], [0x1000n]],
      { mode: 64 },
    );
    expect([...image.symbols]).toEqual([]);
    expect(image.lines).toEqual([
      { address: 0x1004n, file: "a.S", line: 9 },
      { address: 0x2004n, file: "b.S", line: 9 },
    ]);
  });
});

describe("relocation", () => {
  const KERNEL = 0xffff_ffff_8100_0000n;
  const at = (value: bigint) => symbol("x", value, { section: "absolute" });

  it.each<[string, Partial<Relocation>, bigint, string]>([
    ["64 bits", { size: 8 }, KERNEL, "00000081ffffffff"],
    ["32 bits, zero-extended", { size: 4 }, 0xffff_ffffn, "ffffffff"],
    ["32 bits, sign-extended", { size: 4, signed: true }, KERNEL, "00000081"],
    [
      "32 bits, relative, with addend",
      { size: 4, kind: "relative", signed: true, addend: -4n },
      KERNEL + 0x10n,
      "0c000000",
    ],
    ["16 bits", { size: 2 }, 0xffffn, "ffff"],
    ["16 bits, negative", { size: 2 }, -1n, "ffff"],
    ["8 bits, relative", { size: 1, kind: "relative", signed: true, addend: -1n }, KERNEL - 0x7fn, "80"],
    ["64 bits, relative", { size: 8, kind: "relative", signed: true }, 0n, "0000007f00000000"],
  ])("%s", (_, relocation, value, expected) => {
    const [text] = bytes([module("a.S", [at(value)], [{ symbol: 0, ...relocation }])], [KERNEL]);
    expect(text?.slice(0, expected.length)).toBe(expected);
  });

  it.each<[string, Partial<Relocation>, bigint, RegExp]>([
    ["32 bits, zero-extended", { size: 4 }, KERNEL, /address of x \(0xffffffff81000000\) does not fit into 32 bits$/],
    ["32 bits, sign-extended", { size: 4, signed: true }, 0xffff_fe00_0000_0000n, /does not fit into 32 bits, signed/],
    [
      "32 bits, relative",
      { size: 4, kind: "relative", signed: true },
      0x1_0040_0000n,
      /relative address of x .* does not fit into 32 bits/,
    ],
    ["16 bits", { size: 2 }, 0x1_0000n, /does not fit into 16 bits/],
    [
      "8 bits, relative",
      { size: 1, kind: "relative", signed: true },
      KERNEL + 0x80n,
      /\(128\) does not fit into 8 bits/,
    ],
  ])("%s: too far", (_, relocation, value, message) => {
    expect(() => bytes([module("a.S", [at(value)], [{ symbol: 0, ...relocation }])], [KERNEL])).toThrow(message);
  });

  it("32-bit addresses wrap", () => {
    const a = module("a.S", [at(0x1000n)], [{ symbol: 0, kind: "relative", signed: true }]);
    expect(bytes([a], [0xc100_0000n], 32)[0]).toMatch(/^0010003f/);
  });
});
