// Every numbered statement about the CPU has a test that names it, or a reason why it has none.

import { expect, it } from "vitest";
import { factsPage, REASONS, statements, testsByFact } from "./support/facts.js";

const NUMBERS = statements().map(({ number }) => number);

it("statements are numbered once each", () => {
  expect(NUMBERS.length).toBeGreaterThan(200);
  expect(new Set(NUMBERS).size).toBe(NUMBERS.length);
});

it("each has a test or a reason", () => {
  const tests = testsByFact();
  expect(NUMBERS.filter((number) => !tests.has(number) && !REASONS.has(number))).toEqual([]);
});

it("no reason is given for what has a test, or does not exist", () => {
  const tests = testsByFact();
  expect([...REASONS.keys()].filter((number) => tests.has(number) || !NUMBERS.includes(number))).toEqual([]);
});

it("tests name statements that exist", () => {
  const inFacts = [...testsByFact()].filter(([, files]) => files.some((file) => file.includes("/facts/")));
  expect(inFacts.map(([number]) => number).filter((number) => !NUMBERS.includes(number))).toEqual([]);
});

it("docs/facts.md is current", async () => {
  await expect(factsPage()).toMatchFileSnapshot("../docs/facts.md");
});
