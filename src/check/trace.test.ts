// What a trace says of each step: what was pushed, whose frame was overwritten, who was resumed, how the run ends.

import { describe, expect, it } from "vitest";
import { small } from "../../test/support/small.js";
import { Prop } from "../engine/abi.js";
import { parseSchedule } from "./schedule.js";
import { trace } from "./trace.js";

const BODY = { body: { start: "handler", end: "handler_end" } };
const NAIVE = {
  kernel: "entry_nmi: call handler\n iretq\nentry_bp: iretq\nhandler: nop\nhandler_end: ret",
  ...BODY,
  tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, bp: "entry_bp" } },
  events: { nmi: "anywhere", bp: { in: "body" } },
};
const play = (text: string, setup: Parameters<typeof small>[0] = NAIVE) => trace(small(setup), parseSchedule(text));

describe("steps", () => {
  const run = play("nmi@1");

  it("an event, its delivery, instructions, and the return", () => {
    expect(run.steps.slice(0, 7).map(({ kind, label, text }) => `${kind} ${label}: ${text}`)).toEqual([
      "instruction again: nop",
      "event again+0x1: nmi",
      "delivery again+0x1: delivery of NMI",
      expect.stringMatching(/^instruction entry_nmi: call +[0-9a-f]+ <handler>$/),
      "instruction handler: nop",
      "instruction handler_end: ret",
      "instruction entry_nmi+0x5: iretq",
    ]);
    expect(run.steps.map(({ index }) => index)).toEqual(run.steps.map((_, n) => n));
  });

  it("pending and blocked NMIs, CPL and RSP are those before the step", () => {
    expect(run.steps.slice(0, 7).map(({ cpl, nmiPending, nmiBlocked }) => [cpl, nmiPending, nmiBlocked])).toEqual([
      [3, false, false],
      [3, false, false],
      [3, true, false],
      [0, false, true],
      [0, false, true],
      [0, false, true],
      [0, false, true],
    ]);
    expect(run.steps[3]?.rsp).toBe(run.steps[2]?.delivered?.frame);
  });

  it("what delivery pushed, where, and as which words of whose frame", () => {
    const { delivered, writes, contexts } = run.steps[2] ?? {};
    expect(delivered).toMatchObject({ vector: 2, name: "NMI" });
    expect(writes?.map(({ place, owner }) => [place, owner?.context, owner?.slot])).toEqual([
      ["nmi stack -0x28", 1, "RIP"],
      ["nmi stack -0x20", 1, "CS"],
      ["nmi stack -0x18", 1, "RFLAGS"],
      ["nmi stack -0x10", 1, "RSP"],
      ["nmi stack -0x8", 1, "SS"],
    ]);
    expect(writes?.[0]?.after).toBe(run.steps[0]?.rip === undefined ? undefined : run.steps[0].rip + 1n);
    expect(contexts).toMatchObject([{ number: 1, name: "user code", by: "NMI", label: "again+0x1", overwritten: [] }]);
    expect(contexts?.[0]?.frame).toEqual({ low: delivered?.frame, high: (delivered?.frame ?? 0n) + 40n });
  });

  it("the return address of a call belongs to no frame, and IRETQ resumes context 1", () => {
    expect(run.steps[3]?.writes).toMatchObject([{ place: "nmi stack -0x30" }]);
    expect(run.steps[3]?.writes[0]?.owner).toBeUndefined();
    expect(run.steps.map(({ resumed }) => resumed).slice(0, 7)).toEqual([...Array(6).fill(undefined), 1]);
    expect(run.steps[6]?.contexts).toEqual([]);
    expect(run.end).toBe("repeats");
  });

  it("registers that changed, with both values", () => {
    const { steps } = play("nmi@0", {
      kernel: "entry_nmi: push %rax\n mov $5, %eax\n mov %rax, %cr2\n pop %rax\n iretq",
    });
    expect(steps.find(({ text }) => /\$0x5/.test(text))?.registers).toContainEqual({
      name: "RAX",
      before: 0x101010101010101n,
      after: 5n,
    });
    expect(steps.find(({ text }) => /cr2/.test(text))?.registers).toContainEqual({
      name: "CR2",
      before: 0n,
      after: 5n,
    });
  });
});

describe("contexts", () => {
  it("are numbered over the whole run, never twice, and named by what was running", () => {
    const { steps } = play("nmi@0,bp@+2,nmi@+90", { ...NAIVE, events: { ...NAIVE.events, nmi: "anywhere" } });
    const seen = new Map(steps.flatMap(({ contexts }) => contexts.map((one) => [one.number, one] as const)));
    expect([...seen.values()].map(({ number, name, by }) => [number, name, by])).toEqual([
      [1, "user code", "NMI"],
      [2, "the NMI handler", "#BP"],
      [3, "user code", "NMI"],
    ]);
    expect(steps.flatMap(({ resumed }) => resumed ?? [])).toEqual([2, 1, 3]);
  });

  it("overwritten words: which, by which step, and what that was", () => {
    const run = play("nmi@0,nmi@+1,bp@+1", { ...NAIVE, properties: ["resume"] });
    expect(run.end).toBe("violation");
    const at = run.steps.findIndex(({ contexts }) => (contexts[0]?.overwritten.length ?? 0) > 0);
    expect(run.steps[at]).toMatchObject({ kind: "delivery", delivered: { name: "NMI" } });
    const [outer, inner] = run.steps[at]?.contexts ?? [];
    expect(inner).toMatchObject({ number: 3, name: "the NMI handler", by: "NMI", overwritten: [] });
    // RFLAGS, which the nested frame holds again with other bits, is among them as well
    expect(outer?.overwritten.map(({ slot, step, by }) => [slot, step, by])).toEqual(
      ["RIP", "CS", "RFLAGS", "RSP", "SS"].map((slot) => [slot, at, "the delivery of NMI"]),
    );
    expect(run.violation?.diagnosis[0]).toMatch(
      /context 1 .* was overwritten: RIP, CS, .*SS .* by the delivery of NMI, \d+ instructions? before/,
    );
  });

  it("a word that is put back is no longer overwritten", () => {
    const { steps } = play("nmi@0", { kernel: "entry_nmi: xorq $1, 16(%rsp)\n xorq $1, 16(%rsp)\n iretq" });
    expect(steps.map(({ contexts }) => contexts[0]?.overwritten.map(({ slot }) => slot)).slice(1, 4)).toEqual([
      [],
      ["RFLAGS"],
      [],
    ]);
  });

  it("an error code is part of the frame; SYSCALL has none", () => {
    const page = play("pf@0", {
      kernel: "entry_pf: add $8, %rsp\n iretq",
      tables: { idt: { pf: "entry_pf" } },
      events: { pf: { error: 4 } },
    });
    const { contexts, writes } = page.steps.find(({ delivered }) => delivered !== undefined) ?? {};
    expect(contexts?.[0]).toMatchObject({ by: "#PF" });
    expect((contexts?.[0]?.frame.high ?? 0n) - (contexts?.[0]?.frame.low ?? 0n)).toBe(48n);
    expect(writes?.[0]).toMatchObject({ owner: { slot: "error code" }, after: 4n });
    const call = play("nmi@1", {
      kernel: "sys: sysretq\nentry_nmi: iretq",
      program: "again: syscall\njmp again",
      registers: { rcx: "again+2", r11: 0x202 },
      tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 } }, syscall: "sys" },
    });
    const nested = call.steps.find(({ contexts }) => contexts.length === 2)?.contexts;
    expect(nested).toMatchObject([
      { by: "SYSCALL", name: "user code" },
      { by: "NMI", name: "the system call" },
    ]);
    expect(nested?.[0]?.frame.low).toBe(nested?.[0]?.frame.high);
  });
});

describe("how a run ends", () => {
  it.each([
    [
      "stopped",
      { kernel: "entry_nmi: iretq", cpl: 0 as const, program: "nop\nhlt\nhalt: hlt\njmp halt" },
      "",
      undefined,
    ],
    ["repeats", { kernel: "entry_nmi: iretq" }, "nmi@0", undefined],
    ["violation", { kernel: "entry_nmi: xor %eax, %eax\n iretq" }, "nmi@0", Prop.RESUME],
    ["violation", { kernel: "entry_nmi: jmp entry_nmi" }, "nmi@0", Prop.PROGRESS],
    ["unsupported", { kernel: "entry_nmi: .byte 0xdb, 0xe3" }, "nmi@0", undefined],
  ])("%s", (end, setup, schedule, property) => {
    const run = play(schedule, setup);
    expect([run.end, run.violation?.property]).toEqual([end, property]);
    expect(run.reason === undefined).toBe(end !== "unsupported");
    if (property === Prop.RESUME)
      expect(run.steps.at(-1)?.violation).toEqual({ property, message: run.violation?.message });
  });

  it("the instructions of a violation are those executed", () => {
    const run = play("nmi@3", { kernel: "entry_nmi: xor %eax, %eax\n iretq" });
    expect(run.violation).toMatchObject({ events: 1, instructions: 3 + 2 });
    expect(run.steps.filter(({ kind }) => kind === "instruction")).toHaveLength(5);
  });

  it("`hold` takes the other side of the choice behind STI (3.5), and is no event", () => {
    const setup = {
      kernel:
        "entry_nmi: testb $1, flag\n jnz bad\n iretq\nbad: iretq\nopen: sti\n movb $1, flag\n movb $0, flag\n iretq\n.data\nflag: .quad 0",
      tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, "33": "open" } },
      events: { intr: { vector: 33, limit: 1 }, nmi: { in: ["open+1", "open+2"], limit: 1 } },
      unreached: ["bad"],
    };
    expect(play("intr@0,nmi@+2", setup).end).toBe("repeats");
    expect(play("intr@0,nmi@+2,hold@+0", setup).violation).toMatchObject({ property: Prop.UNREACHED, events: 2 });
  });
});

it("a 32-bit scenario is told in words of 4 bytes, with the names of its registers", () => {
  const scenario = small({
    kernel: "entry_nmi: push %eax\n pop %eax\n iret",
    cpl: 0,
    program: "again: jmp again\n",
    mode: 32,
    tables: { idt: { nmi: "entry_nmi" } },
    stacks: { kernel: { size: 256, rsp0: true } },
  });
  const { steps } = trace(scenario, parseSchedule("nmi@0"));
  const delivery = steps.find((step) => step.delivered);
  expect(delivery?.writes.map(({ place, owner }) => `${place} ${owner?.slot}`)).toEqual([
    "kernel stack -0x4c EIP",
    "kernel stack -0x48 CS",
    "kernel stack -0x44 EFLAGS",
  ]);
  expect(steps.flatMap(({ registers }) => registers.map(({ name }) => name))).not.toContain("RSP");
});
