// The search against the same search done the obvious way (test/support/brute.ts): no fingerprints, no chains, no owners.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BruteResult, brute } from "../../test/support/brute.js";
import { type Small, small } from "../../test/support/small.js";
import { Prop } from "../engine/abi.js";
import type { Scenario } from "../scenario/types.js";
import { explore } from "./explore.js";
import { trace } from "./trace.js";

/** What both must agree on. */
async function compare(scenario: Scenario, obvious: BruteResult): Promise<void> {
  const found = await explore(scenario, { workers: 1 });
  const { outcome } = found;
  const verdict = outcome.kind === "complete" ? "holds" : outcome.kind;
  const told: Record<string, unknown> = { verdict, states: found.states };
  const wanted: Record<string, unknown> = { verdict: obvious.verdict, states: obvious.states };
  if (verdict === "holds") {
    told.levels = found.levels;
    wanted.levels = obvious.levels;
  }
  if (outcome.kind === "violated") {
    const { violation } = trace(scenario, outcome.schedule);
    Object.assign(told, {
      events: outcome.schedule.filter(({ event }) => event !== "hold").length,
      instructions: outcome.distance,
      replayed: violation?.instructions,
      property: obvious.properties?.has(violation?.property as Prop),
    });
    Object.assign(wanted, {
      events: obvious.events,
      instructions: obvious.instructions,
      replayed: obvious.instructions,
      property: true,
    });
  }
  expect(told).toEqual(wanted);
}

const BODY = { body: { start: "handler", end: "handler_end" } };
const HANDLER = `
handler: nop
handler_end: ret
`;
/** One IST frame, a call, IRETQ. */
const NAIVE = `
entry_nmi: push %rax
  call handler
  pop %rax
  iretq
entry_other: push %rcx
  mov $5, %ecx
  pop %rcx
  iretq
entry_code: add $8, %rsp
  iretq
${HANDLER}`;
const IDT = {
  nmi: { entry: "entry_nmi", ist: 1 },
  bp: "entry_other",
  mc: { entry: "entry_other", ist: 2 },
  pf: "entry_code",
  "32": "entry_other",
};
const STACKS = {
  kernel: { size: 512, rsp0: true },
  nmi: { size: 512, ist: 1 },
  mc: { size: 512, ist: 2 },
};
const FULL = { tables: { idt: IDT }, stacks: STACKS, ...BODY };

/** An NMI sets a flag; its handler is short only where it interrupts `second`. Breakpoints find the flag set. */
const LONG_FIRST = `
entry_nmi: movb $1, flag
  cmpq $second, (%rsp)
  je out
  .rept 10
  nop
  .endr
out: iretq
entry_bp: testb $1, flag
  jnz bad
  iretq
bad: jmp bad
.data
flag: .quad 0`;
const TWO_WAYS = {
  cpl: 0 as const,
  program: "start: nop\nnop\nsecond: nop",
  unreached: ["bad"],
  tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, bp: "entry_bp" } },
  events: { nmi: { in: "program" } },
};

const SCENARIOS: ReadonlyArray<readonly [string, Small, Partial<BruteResult>]> = [
  ["NMIs alone", { kernel: NAIVE, ...BODY }, { verdict: "holds" }],
  ["NMIs in kernel code", { kernel: NAIVE, cpl: 0, ...BODY }, { verdict: "holds" }],
  [
    "a breakpoint in the body opens NMIs",
    { kernel: NAIVE, ...FULL, events: { nmi: "anywhere", bp: { in: "body" } } },
    { verdict: "violated", events: 3 },
  ],
  [
    "a page fault in the body, kernel program",
    { kernel: NAIVE, ...FULL, cpl: 0, events: { nmi: "anywhere", pf: { in: "body" } } },
    { verdict: "violated", events: 3 },
  ],
  [
    "machine checks on their own stack, MCIP never cleared",
    { kernel: NAIVE, ...FULL, events: { mce: { "while-mcip": true, limit: 2 } } },
    { verdict: "violated", events: 2, properties: new Set([Prop.NO_SHUTDOWN]) },
  ],
  ["machine checks anywhere", { kernel: NAIVE, ...FULL, events: { nmi: { limit: 3 }, mce: { limit: 2 } } }, {}],
  [
    "interrupts and limited NMIs",
    { kernel: NAIVE, ...FULL, events: { nmi: { limit: 2 }, intr: { vector: 0x20 } } },
    { verdict: "holds" },
  ],
  [
    "two interrupts with handlers that open interrupts",
    {
      kernel: `${NAIVE}\nopen: push %rdx\n sti\n nop\n cli\n pop %rdx\n iretq`,
      ...FULL,
      tables: { idt: { ...IDT, "33": "open" } },
      cpl: 0,
      events: { intr: { vector: 0x21, limit: 2 }, second: { event: "intr", vector: 0x20, limit: 1 } },
    },
    { verdict: "holds" },
  ],
  [
    "an NMI pending behind STI may be held (3.5)",
    {
      kernel: `${NAIVE}\nopen: cli\n sti\n nop\n iretq`,
      ...FULL,
      tables: { idt: { ...IDT, "33": "open" } },
      events: { intr: { vector: 0x21, limit: 2 }, nmi: { limit: 2 } },
    },
    { verdict: "holds" },
  ],
  [
    "only a held NMI meets the label",
    {
      kernel: `entry_nmi: testb $1, flag\n jnz bad\n iretq\nbad: nop\n iretq
        open: sti\n movb $1, flag\n movb $0, flag\n iretq\n.data\nflag: .quad 0`,
      tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, "33": "open" } },
      events: { intr: { vector: 0x21, limit: 1 }, nmi: { in: ["open+1", "open+2"], limit: 1 } },
      unreached: ["bad"],
    },
    { verdict: "violated", events: 2, properties: new Set([Prop.UNREACHED]) },
  ],
  [
    "STI; HLT wakes or sleeps",
    {
      kernel: NAIVE,
      ...FULL,
      cpl: 0,
      program: "again: cli\nsti\nhlt\njmp again",
      events: { nmi: { limit: 2 }, intr: { vector: 0x20, limit: 2 } },
    },
    { verdict: "holds" },
  ],
  [
    "HLT with a context owed",
    { kernel: "entry_nmi: nop\n hlt\n jmp entry_nmi" },
    { verdict: "violated", events: 1, instructions: 2, properties: new Set([Prop.PROGRESS]) },
  ],
  [
    "an endless loop with a context owed",
    { kernel: "entry_nmi: nop\nspin: nop\n jmp spin" },
    { verdict: "violated", events: 1, properties: new Set([Prop.PROGRESS]) },
  ],
  [
    "two endless loops: the shorter one counts",
    {
      kernel: "entry_nmi: test $1, %rax\n jz long\nshort: jmp short\nlong: nop\n nop\n xor $1, %rbx\n jmp long",
      program: "again: xor $1, %rax\njmp again",
    },
    { verdict: "violated", events: 1 },
  ],
  [
    "an endless loop that is entered at different places",
    {
      kernel: "entry_nmi: nop\n jmp *%rax\nring: nop\na: nop\nb: nop\n jmp ring",
      program: "again: mov $ring, %rax\nmov $a, %rax\nmov $b, %rax\njmp again",
      registers: { rax: "ring" },
    },
    { verdict: "violated", events: 1 },
  ],
  [
    "a chain that joins itself behind its start",
    { kernel: NAIVE, ...BODY, program: "nop\nnop\nagain: nop\njmp again" },
    { verdict: "holds" },
  ],
  [
    "two ways to a state, the longer one found first: a violation behind it",
    { kernel: LONG_FIRST, ...TWO_WAYS, program: `${TWO_WAYS.program}\ntestb $1, flag\njnz bad\njmp start` },
    // two instructions of the program, four of the handler, three of the program; `bad` is not executed
    { verdict: "violated", events: 1, instructions: 2 + 4 + 3, properties: new Set([Prop.UNREACHED]) },
  ],
  [
    "two ways to a state, the longer one found first: a violation after one event more",
    {
      kernel: LONG_FIRST,
      ...TWO_WAYS,
      program: `${TWO_WAYS.program}\nthird: nop\njmp start`,
      events: { nmi: { in: "program" }, bp: { in: ["third", "third+1"] } },
    },
    { verdict: "violated", events: 2, instructions: 2 + 4 + 1 + 2, properties: new Set([Prop.UNREACHED]) },
  ],
  [
    "two ways to a state, the longer one found first: an endless run behind it",
    { kernel: LONG_FIRST, ...TWO_WAYS, program: `${TWO_WAYS.program}\nint3\njmp start`, unreached: [] },
    { verdict: "violated", events: 1, properties: new Set([Prop.PROGRESS]) },
  ],
  [
    "a program that ends",
    { kernel: NAIVE, ...BODY, cpl: 0, program: "nop\nhalt: hlt\njmp halt", events: { nmi: { limit: 2 } } },
    { verdict: "holds" },
  ],
  [
    "a violation without any event",
    { kernel: NAIVE, cpl: 0, program: "mov $0x100, %eax\njmp *%rax" },
    { verdict: "violated", events: 0 },
  ],
  [
    "a wrong register",
    { kernel: "entry_nmi: xor %eax, %eax\n iretq" },
    { verdict: "violated", events: 1, instructions: 2 },
  ],
  ["no IRET", { kernel: "entry_nmi: pushq (%rsp)\n ret" }, {}],
  [
    "an instruction that the model lacks",
    { kernel: "entry_nmi: nop\n fninit\n iretq".replace("fninit", ".byte 0xdb, 0xe3") },
    { verdict: "unsupported" },
  ],
  [
    "system calls",
    {
      kernel: `${NAIVE}\nsys: swapgs\n mov %rsp, %gs:8\n movabs $kernel_stack_top, %rsp\n push %rcx\n pop %rcx\n mov %gs:8, %rsp\n swapgs\n sysretq`,
      ...FULL,
      tables: { idt: IDT, syscall: "sys", gs: { kernel: "percpu", user: 0x20000 } },
      memory: { percpu: { size: 16 } },
      program: "again: syscall\njmp again",
      registers: { rcx: "again+2", r11: 0x202 },
      events: { nmi: { limit: 2 }, bp: { in: "body", limit: 1 } },
    },
    {},
  ],
  [
    "32-bit code",
    {
      mode: 32,
      kernel: "entry_nmi: push %eax\n call handler\n pop %eax\n iretl\nhandler: nop\nhandler_end: ret\nbp: iretl",
      ...BODY,
      tables: { idt: { nmi: "entry_nmi", bp: "bp" } },
      stacks: { kernel: { size: 256, rsp0: true } },
      events: { nmi: { limit: 3 }, bp: { in: "body" } },
    },
    {},
  ],
];

describe("the search agrees with an obviously right one", () => {
  it.each(SCENARIOS)("%s", async (_, setup, known) => {
    const scenario = small(setup);
    const obvious = brute(scenario);
    expect(obvious).toMatchObject(known);
    expect(obvious.verdict).not.toBe("too large");
    await compare(scenario, obvious);
  });
});

// --- random designs ---------------------------------------------------------------------------------------------------

const REGISTERS = ["rax", "rbx", "rcx", "rdx"] as const;
const register = fc.constantFrom(...REGISTERS);
/** Instructions that neither count upwards nor leave the code, so that states are few. */
const instruction = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("nop", "cli", "sti", "clc", "stc", "pushfq; popfq", "push %rbx; pop %rbx") },
  { weight: 2, arbitrary: fc.tuple(register, register).map(([a, b]) => `mov %${a}, %${b}`) },
  { weight: 2, arbitrary: fc.tuple(register, fc.nat(1)).map(([a, n]) => `mov $${n}, %${a}`) },
  { weight: 1, arbitrary: fc.tuple(register, register).map(([a, b]) => `xchg %${a}, %${b}`) },
  { weight: 2, arbitrary: register.map((a) => `mov %${a}, word`) },
  { weight: 2, arbitrary: register.map((a) => `mov word, %${a}`) },
  { weight: 1, arbitrary: fc.constantFrom("xorb $1, word", "movb $1, word", "movb $0, word") },
  { weight: 1, arbitrary: fc.constantFrom("cmpb $0, word; je 9f; nop; 9:", "cmpb $0, word; jne 9f; cli; sti; 9:") },
  { weight: 1, arbitrary: fc.constantFrom("call leaf", "pushq %rax; lea 8(%rsp), %rsp", "push (%rsp); pop (%rsp)") },
);
/** Rare: what breaks a handler. */
const slip = fc.constantFrom("push %rax", "pop %rax", "hlt", "jmp .", "iretq", "ud2", "mov $1, %r8d");

const handler = fc.record({
  saved: fc.subarray([...REGISTERS], { maxLength: 1 }),
  body: fc.array(instruction, { maxLength: 3 }),
  slip: fc.oneof({ weight: 12, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: slip }),
  swapped: fc.nat(24).map((n) => n === 0),
});
type Handler = { saved: string[]; body: string[]; slip: string | null; swapped: boolean };

function handlerText(name: string, { saved, body, slip: broken, swapped }: Handler, code: boolean): string {
  const used = new Set(REGISTERS.filter((r) => body.some((line) => line.includes(`%${r}`))));
  const all = [...new Set([...saved, ...used])];
  const restored = swapped ? all : [...all].reverse();
  return [
    `${name}:`,
    ...(code ? ["add $8, %rsp"] : []),
    ...all.map((r) => `push %${r}`),
    ...(name === "entry_nmi" ? ["call handler"] : []),
    ...body,
    ...(broken === null ? [] : [broken]),
    ...restored.map((r) => `pop %${r}`),
    "iretq",
  ].join("\n");
}

/** One or two rules, nearly all limited: nested events multiply states. */
const events = fc.constantFrom<Readonly<Record<string, object>>>(
  { nmi: {} },
  { nmi: { limit: 2 } },
  { nmi: { limit: 2 }, bp: { in: "body", limit: 1 } },
  { nmi: { limit: 2 }, bp: { in: "entry", limit: 1 } },
  { nmi: { limit: 1 }, pf: { in: "body", limit: 1 } },
  { pf: { limit: 2 } },
  { bp: { limit: 2 } },
  { nmi: { limit: 1 }, mce: { limit: 1 } },
  { mce: { "while-mcip": true, limit: 2 } },
  { intr: { vector: 32, limit: 2 } },
  { intr: { vector: 32, limit: 1 }, nmi: { limit: 1 } },
);

const design = fc
  .record({
    cpl: fc.constantFrom(0 as const, 3 as const),
    program: fc.array(instruction, { minLength: 1, maxLength: 3 }),
    nmi: handler,
    other: handler,
    code: handler,
    events,
    ist: fc.boolean(),
  })
  .map(({ cpl, program, nmi, other, code, events: rules, ist }): Small => {
    const user = program.filter((line) => cpl === 0 || !/cli|sti|call|word|int3/.test(line));
    return {
      cpl,
      program: ["again:", ...user, "nop", "jmp again"].join("\n"),
      registers: { rax: 0, rbx: 1, rcx: 0, rdx: 1 },
      kernel: [
        handlerText("entry_nmi", nmi, false),
        handlerText("entry_other", other, false),
        handlerText("entry_code", code, true),
        `leaf: ret\n${HANDLER}\n.data\nword: .quad 0`,
      ].join("\n"),
      ...BODY,
      tables: {
        idt: {
          nmi: { entry: "entry_nmi", ist: 1 },
          bp: ist ? { entry: "entry_other", ist: 3 } : "entry_other",
          mc: { entry: "entry_other", ist: 2 },
          pf: "entry_code",
          "32": "entry_other",
        },
      },
      stacks: { ...STACKS, extra: { size: 256, ist: 3 } },
      events: rules,
    };
  });

describe("random designs", () => {
  const tally: Record<string, number> = {};

  it("both searches agree on each", async () => {
    await fc.assert(
      fc.asyncProperty(design, async (setup) => {
        const scenario = small(setup);
        const obvious = brute(scenario, 2500);
        const key = obvious.verdict === "violated" ? `violated after ${obvious.events}` : obvious.verdict;
        tally[key] = (tally[key] ?? 0) + 1;
        if (obvious.verdict !== "too large") await compare(scenario, obvious);
      }),
      { seed: 20111208, numRuns: Number(process.env.TRAPCHECK_RUNS ?? 60) },
    );
  }, 120_000);

  it("they hold, and are violated after different numbers of events", () => {
    expect(Object.keys(tally)).toEqual(
      expect.arrayContaining(["holds", "violated after 1", "violated after 2", "violated after 3"]),
    );
    expect(tally["too large"] ?? 0).toBeLessThan(20);
  });
});
