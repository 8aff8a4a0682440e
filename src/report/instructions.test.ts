import { expect, it } from "vitest";
import { decoder } from "./instructions.js";

const nameless = () => undefined;

it.each([
  [64, "att", [0x48, 0xcf], { length: 2, text: "iretq" }],
  [64, "att", [0x50], { length: 1, text: "push %rax" }],
  [32, "intel", [0x50], { length: 1, text: "push eax" }],
  [64, "att", [0x0f, 0x77], undefined],
] as const)("%s bits, %s: %j", (mode, syntax, bytes, expected) => {
  const found = decoder(mode, syntax)(Uint8Array.of(...bytes), 0, 0n, nameless);
  expect(found && { ...found, text: found.text.replace(/\s+/g, " ") }).toEqual(expected);
});

it("names the target of a branch", () => {
  const symbol = (address: bigint) => (address === 0x1000n ? "spin" : undefined);
  expect(decoder(64, "att")(Uint8Array.of(0xeb, 0xfe), 0, 0x1000n, symbol)?.text).toContain("spin");
});
