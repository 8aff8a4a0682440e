// The bounds of a search, what it counts, and what it holds in memory.

import { describe, expect, it } from "vitest";
import { small } from "../../test/support/small.js";
import { Ctl, Prop, Special, Status } from "../engine/abi.js";
import { Machine } from "../machine/machine.js";
import { engineModule } from "../machine/wasm.js";
import { check, missProbability } from "./check.js";
import { endlessCircles } from "./circles.js";
import { explore } from "./explore.js";
import { solo } from "./solo.js";
import { FIRST_CHAIN, Space } from "./space.js";
import type { Progress } from "./types.js";

/** A counter of 2^24 values: more states than any test waits for. */
const ENDLESS = small({ kernel: "entry_nmi: iretq", program: "again: inc %rax\nand $0xffffff, %rax\njmp again" });
const TINY = small({ kernel: "entry_nmi: push %rax\n pop %rax\n iretq" });

describe("bounds", () => {
  it("states", async () => {
    const verdict = await check(ENDLESS, { workers: 1, maxStates: 1000 });
    expect(verdict).toMatchObject({ verdict: "incomplete", reason: "the bound of 1000 states was reached" });
    expect(verdict.states).toBeGreaterThan(1000);
    expect(verdict.properties.every((one) => one.verdict === "unknown")).toBe(true);
  });

  it("seconds", async () => {
    const verdict = await check(ENDLESS, { workers: 1, maxSeconds: 0.2 });
    expect(verdict).toMatchObject({ verdict: "incomplete", reason: "the bound of 0.2 seconds was reached" });
    expect(verdict.seconds).toBeLessThan(5);
  });

  it("memory, which is kept to", async () => {
    const verdict = await check(ENDLESS, { workers: 1, maxMemory: 32 << 20 });
    expect(verdict).toMatchObject({ verdict: "incomplete", reason: "the memory bound of 32 MiB was reached" });
    expect(verdict.memory).toBeLessThanOrEqual(32 << 20);
  });

  it("memory that does not hold even the machine", async () => {
    expect(await check(ENDLESS, { workers: 1, maxMemory: 1 << 20 })).toMatchObject({
      verdict: "incomplete",
      reason: "the memory bound of 1 MiB was reached",
      states: 0,
    });
  });

  it("Ctrl-C: an aborted signal ends the search with what is known", async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    const verdict = await check(ENDLESS, { workers: 1, signal: abort.signal });
    expect(verdict).toMatchObject({ verdict: "incomplete", reason: "it was interrupted" });
    expect(verdict.states).toBeGreaterThan(0);
  });

  it("a bound that is not reached changes nothing", async () => {
    const free = await explore(TINY, { workers: 1 });
    const bound = await explore(TINY, { workers: 1, maxStates: free.states, maxSeconds: 60, maxMemory: 1 << 28 });
    expect({ ...bound, memory: 0 }).toEqual({ ...free, memory: 0 });
    expect(free.outcome.kind).toBe("complete");
  });

  it("a level that is to be the last", async () => {
    expect((await explore(TINY, { workers: 1, maxLevel: 0 })).outcome).toEqual({
      kind: "incomplete",
      reason: "level 0 was to be the last",
    });
  });

  it("progress is reported while it works", async () => {
    const reports: Progress[] = [];
    await check(ENDLESS, { workers: 1, maxStates: 200_000, onProgress: (one) => reports.push(one) });
    expect(reports.length).toBeGreaterThan(2);
    expect(reports.at(-1)?.states).toBeGreaterThan(reports[0]?.states ?? Number.POSITIVE_INFINITY);
    expect(reports.at(-1)?.statesPerSecond).toBeGreaterThan(0);
  });
});

describe("what a verdict counts", () => {
  it("states, events tried, instructions, levels, coverage", async () => {
    // The program's 2 states. From each: the NMI pending, 3 states of the handler, and a second NMI pending in each of
    // these; what it leads to is known.
    const verdict = await check(TINY, { workers: 1 });
    expect(verdict).toMatchObject({
      verdict: "holds",
      states: 2 + 2 * (1 + 3 + 3),
      chains: 2 + 2 * 3,
      instructions: 2 + 2 * (3 + 3),
      levels: 2,
      coverage: { reached: 3, total: 3, missed: [] },
    });
    expect(verdict.properties.every((one) => one.verdict === "holds")).toBe(true);
  });

  it("code that nothing reaches is named", async () => {
    const verdict = await check(small({ kernel: "entry_nmi: iretq\nnever: mov $1, %eax\n ret" }), { workers: 1 });
    expect(verdict.coverage).toMatchObject({ reached: 1, total: 3 });
    expect(verdict.coverage.missed).toHaveLength(2);
  });

  it("simplifications become assumptions only when they were used", async () => {
    const used = small({
      kernel: "entry_nmi: push %rax\n push %rdx\n in $0x61, %al\n rdtsc\n pop %rdx\n pop %rax\n iretq",
    });
    const said = (await check(used, { workers: 1 })).assumptions.join("\n");
    expect(said).toMatch(/no devices/);
    expect(said).toMatch(/time-stamp counter/);
    expect(said).not.toMatch(/CPUID/);
    expect((await check(TINY, { workers: 1 })).assumptions).toEqual([]);
  });
});

describe("missProbability", () => {
  it.each([
    [0, 0],
    [1, 0],
    [2, 2 ** -64],
    [1e6, 5e11 / 2 ** 64],
    [6_074_001_000, 0.6321],
    [1e12, 1],
  ])("%d states: %d", (states, probability) => {
    expect(missProbability(states)).toBeCloseTo(probability, 3);
    expect(missProbability(states) > 0).toBe(states > 1);
    if (probability > 0) expect(missProbability(states) / probability).toBeCloseTo(1, 3);
  });
});

describe("the space that workers share", () => {
  async function searched(levels: number) {
    const scenario = small({
      kernel: "entry_nmi: test $1, %rax\n jz long\nshort: jmp short\nlong: nop\n jmp long",
      program: "again: xor $1, %rax\njmp again",
    });
    const space = new Space(256 << 20);
    const machine = new Machine(engineModule(), scenario, { memory: space.memory });
    space.growTable(machine);
    const team = solo(space, machine);
    await team.run("first", () => {});
    let base = FIRST_CHAIN;
    for (let level = 0; level < levels; level++) {
      space.setParents(machine, space.chainsFrom(machine, base));
      base = space.get(Ctl.NEXT_CHAIN);
      space.set(Ctl.LEVEL_BASE, base);
      await team.run("events", () => {});
    }
    return { scenario, space, machine, base };
  }

  it("keeps a chain's origin as a schedule", async () => {
    const { scenario, space, machine, base } = await searched(1);
    expect(space.schedule(scenario, FIRST_CHAIN)).toEqual([]);
    const schedules = [...space.chainsFrom(machine, base)].map((chain) => space.schedule(scenario, chain));
    expect(schedules).toContainEqual([{ event: "nmi", after: 0 }]);
    expect(schedules).toContainEqual([{ event: "nmi", after: 1 }]);
    expect(space.chain(base)).toMatchObject({ parent: FIRST_CHAIN, event: 0 });
    expect(Special.HOLD).toBeGreaterThan(15);
  });

  it("finds every state again after its table has grown", async () => {
    const { space, machine } = await searched(1);
    machine.reset();
    const known = machine.engine.lookup(machine.engine.fingerprint());
    const states = space.get(Ctl.STATES);
    expect(known).not.toBe(0n);
    space.growTable(machine);
    machine.reset();
    expect(machine.engine.lookup(machine.engine.fingerprint())).toBe(known);
    for (let n = 0; n < 4; n++) {
      expect(machine.step()).toBe(Status.OK);
      expect(machine.engine.lookup(machine.engine.fingerprint())).not.toBe(0n);
    }
    expect(space.get(Ctl.STATES)).toBe(states);
  });

  it("has the circles of the level only, not the program's own loop", async () => {
    const first = await searched(0);
    expect(first.space.circlesFrom(first.machine, FIRST_CHAIN)).toHaveLength(1);
    expect(endlessCircles(first.space, first.machine, FIRST_CHAIN)).toEqual([]);

    const { scenario, space, machine, base } = await searched(1);
    const circles = endlessCircles(space, machine, base);
    // RAX differs by the instruction that was interrupted: `long` after one instruction more (the jump), `short` likewise
    const shortest = Math.min(...circles.map(({ distance }) => distance));
    expect(circles.length).toBeGreaterThanOrEqual(2);
    const verdict = await check(scenario, { workers: 1 });
    expect(verdict.violation).toMatchObject({ property: Prop.PROGRESS, instructions: shortest });
  });
});
