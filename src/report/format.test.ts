import { describe, expect, it } from "vitest";
import { labeller } from "../image/labels.js";
import { palette, wantsColour } from "./colour.js";
import { count, duration, hex, json, plural, probability, shellWord, size, wrap } from "./format.js";
import { progressLine, progressText } from "./progress.js";

describe("numbers", () => {
  it.each([
    [count(1234567), "1,234,567"],
    [count(999), "999"],
    [plural(1, "level"), "1 level"],
    [plural(0, "level"), "0 levels"],
    [duration(0.0004), "1 ms"],
    [duration(0.0994), "99 ms"],
    [duration(0.0999), "0.10 s"],
    [duration(9.999), "10.0 s"],
    [duration(119.96), "2 min 00 s"],
    [size(1023), "1023 bytes"],
    [size(1536), "1.5 KiB"],
    [size(34 * 2 ** 20), "34 MiB"],
    [probability(0), "0"],
    [probability(3.14e-9), "3.1e-9"],
    [hex(255n), "0xff"],
    [hex(-8n), "-0x8"],
  ])("%s", (found, expected) => expect(found).toBe(expected));
});

describe("text", () => {
  it("wraps at words and keeps a long one whole", () => {
    expect(wrap("aa bb  cccccc d", 5)).toEqual(["aa bb", "cccccc", "d"]);
    expect(wrap("", 5)).toEqual([]);
  });

  it.each([
    ["designs/naive", "designs/naive"],
    ["my design", "'my design'"],
    ["it's", "'it'\\''s'"],
    ["", "''"],
  ])("quotes %j for a shell", (word, quoted) => expect(shellWord(word)).toBe(quoted));

  it("writes bigints as hex strings", () => {
    expect(json({ at: 16n })).toBe('{\n  "at": "0x10"\n}\n');
  });
});

describe("colours", () => {
  it.each([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: "1", FORCE_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ FORCE_COLOR: "1" }, false, true],
    [{ FORCE_COLOR: "0" }, true, false],
    [{ TERM: "dumb" }, true, false],
  ])("%j on a terminal: %s", (env, terminal, expected) => expect(wantsColour(env, terminal)).toBe(expected));

  it("paints only when enabled", () => {
    expect(palette(false).bad("x")).toBe("x");
    expect(palette(true).bad("x")).toBe("\x1b[31mx\x1b[39m");
  });
});

describe("progress", () => {
  const progress = { level: 2, states: 12345, statesPerSecond: 99000.4, chainsLeft: 1, seconds: 1 };

  it("says level, states, speed and what is left", () => {
    expect(progressText(progress)).toBe("level 2: 12,345 states, 99,000 states/s, 1 chain left");
  });

  it.each([
    ["on a terminal, after half a second, in place and erased", true, 0.6, ["\r\x1b[Kabcd", "\r\x1b[K"]],
    ["not before", true, 0.5, []],
    ["nowhere else", false, 9, []],
  ])("is shown %s", (_, terminal, seconds, expected) => {
    const written: string[] = [];
    const line = progressLine((text) => written.push(text), terminal, 5);
    line.update("abcdefgh", seconds);
    line.end();
    expect(written).toEqual(expected);
  });
});

it("labels addresses by the nearest symbol of their section, never by an absolute one", () => {
  const section = { name: ".text", address: 0x1000n, bytes: new Uint8Array(16), executable: true, writable: false };
  const symbols = new Map([
    ["later", 0x1008n],
    ["entry", 0x1004n],
    ["CONSTANT", 0x900n],
  ]);
  const label = labeller({ sections: [section], symbols, lines: [] });
  expect([0xfffn, 0x1000n, 0x1004n, 0x1007n, 0x100fn, 0x1010n].map(label)).toEqual([
    "0xfff",
    "0x1000",
    "entry",
    "entry+0x3",
    "later+0x7",
    "0x1010",
  ]);
});
