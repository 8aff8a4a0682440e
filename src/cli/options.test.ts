import { describe, expect, it } from "vitest";
import { byteSize, definition, hexBytes, mode, positiveInteger, seconds } from "./options.js";

describe("values of options", () => {
  it.each([
    [positiveInteger, "12", 12],
    [seconds, "0.5", 0.5],
    [seconds, ".5", 0.5],
    [byteSize, "512M", 512 * 2 ** 20],
    [byteSize, "2g", 2 * 2 ** 30],
    [byteSize, "4096", 4096],
    [mode, "32", 32],
  ] as const)("%o reads %s", (read, text, expected) =>
    expect((read as (text: string) => unknown)(text)).toBe(expected));

  it.each([
    [positiveInteger, "0"],
    [positiveInteger, "1.5"],
    [positiveInteger, "-1"],
    [positiveInteger, "99999999999999999999"],
    [seconds, "0"],
    [seconds, "1s"],
    [seconds, "Infinity"],
    [byteSize, "512MB"],
    [byteSize, "M"],
    [byteSize, "0"],
    [mode, "16"],
    [hexBytes, "48c"],
    [hexBytes, ""],
    [hexBytes, "zz"],
  ] as const)("%o refuses %j", (read, text) => {
    expect(() => (read as (text: string) => unknown)(text)).toThrow(/^Expected /);
  });

  it("collects definitions", () => {
    const two = definition("B=-2", definition("A=0x10", new Map()));
    expect([...two]).toEqual([
      ["A", 16n],
      ["B", -2n],
    ]);
    expect(() => definition("A", new Map())).toThrow("Expected NAME=NUMBER.");
  });

  it.each(["48 cf", "48CF", "0x48, 0xcf"])("reads bytes written as %j", (text) => {
    expect([...hexBytes(text)]).toEqual([0x48, 0xcf]);
  });
});
