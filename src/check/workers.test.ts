// However many workers share a search, it has the same result. Threads run the built dist/check/worker.js.

import { describe, expect, it } from "vitest";
import { type Small, small } from "../../test/support/small.js";
import { check } from "./check.js";
import { explore } from "./explore.js";
import { formatSchedule } from "./schedule.js";

const BODY = { body: { start: "handler", end: "handler_end" } };
const NAIVE = `entry_nmi: push %rax
  call handler
  pop %rax
  iretq
entry_bp: push %rbx
  pop %rbx
  iretq
handler: nop
  nop
handler_end: ret`;
const IDT = { nmi: { entry: "entry_nmi", ist: 1 }, bp: "entry_bp", "32": "entry_bp" };

const SCENARIOS: ReadonlyArray<readonly [string, Small]> = [
  ["holds: NMIs alone", { kernel: NAIVE, ...BODY }],
  [
    "holds: many states",
    {
      kernel: NAIVE,
      ...BODY,
      tables: { idt: IDT },
      program: "again: xor $1, %rcx\nxor $2, %rcx\nxor $4, %rcx\nxor $1, %rcx\njmp again",
      events: { nmi: { limit: 3 }, intr: { vector: 32 }, second: { event: "intr", vector: 3, limit: 2 } },
    },
  ],
  [
    "violated after three events",
    { kernel: NAIVE, ...BODY, tables: { idt: IDT }, events: { nmi: "anywhere", bp: { in: "body" } } },
  ],
  [
    "violated: an endless run",
    {
      kernel: "entry_nmi: nop\n jmp *%rax\nring: nop\na: nop\nb: jmp ring",
      program: "again: mov $a, %rax\nmov $b, %rax\njmp again",
      registers: { rax: "ring" },
    },
  ],
  ["violated without an event", { kernel: NAIVE, ...BODY, cpl: 0, program: "mov $0x100, %eax\njmp *%rax" }],
  [
    "with the choices behind STI",
    {
      kernel: `${NAIVE}\nopen: cli\n sti\n nop\n iretq`,
      ...BODY,
      tables: { idt: { ...IDT, "33": "open" } },
      events: { intr: { vector: 33, limit: 2 }, nmi: { limit: 3 } },
    },
  ],
  ["unsupported", { kernel: "entry_nmi: .byte 0xdb, 0xe3\n iretq" }],
];

async function result(setup: Small, workers: number) {
  const verdict = await check(small(setup), { workers });
  const { design: _, seconds: __, memory: ___, workers: used, violation, ...rest } = verdict;
  return {
    used,
    rest: { ...rest, violation: violation && { ...violation, schedule: formatSchedule(violation.schedule) } },
  };
}

describe("one, two and three workers", () => {
  it.each(SCENARIOS)("%s", async (name, setup) => {
    const one = await result(setup, 1);
    expect(one.used).toBe(1);
    for (const workers of [2, 3]) {
      const more = await result(setup, workers);
      expect(more.rest).toEqual(one.rest);
      // what the first level decides needs no threads
      expect(more.used).toBe(name.includes("without an event") ? 1 : workers);
    }
  });

  it("the length does not depend on luck: ten runs with three workers", async () => {
    const [, setup] = SCENARIOS[2] as (typeof SCENARIOS)[number];
    const scenario = small(setup);
    const { outcome: alone } = await explore(scenario, { workers: 1 });
    if (alone.kind !== "violated") throw new Error(alone.kind);
    for (let n = 0; n < 10; n++) {
      const { outcome } = await explore(scenario, { workers: 3 });
      expect(outcome).toMatchObject({ kind: "violated", distance: alone.distance });
      expect(outcome.kind === "violated" && outcome.schedule.length).toBe(alone.schedule.length);
    }
  });

  it("bounds and Ctrl-C reach threads too", async () => {
    const wide = small({
      kernel: `${NAIVE}\n.data\nword: .quad 0`,
      ...BODY,
      tables: { idt: IDT },
      program: "again: inc %rax\nand $0x3fff, %rax\njmp again",
      events: { nmi: "anywhere", intr: { vector: 32 } },
    });
    expect(await check(wide, { workers: 2, maxStates: 100_000 })).toMatchObject({
      verdict: "incomplete",
      reason: "the bound of 100000 states was reached",
      workers: 2,
    });
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 700);
    expect(await check(wide, { workers: 2, signal: abort.signal })).toMatchObject({
      verdict: "incomplete",
      reason: "it was interrupted",
    });
    expect(await check(wide, { workers: 2, maxMemory: 80 << 20 })).toMatchObject({
      verdict: "incomplete",
      reason: "the memory bound of 80 MiB was reached",
    });
  });
});
