// What the model lacks ends in `unsupported`, with the address and what it was, never in a guess.

import { describe, expect, it } from "vitest";
import { type Small, small } from "../../test/support/small.js";
import { check } from "./check.js";

const PROTECTED = {
  mode: 32,
  cpl: 0 as const,
  stacks: { kernel: { size: 256, rsp0: true } },
  tables: { idt: { nmi: "entry_nmi" } },
};

const CASES: Readonly<Record<string, readonly [Small, string | RegExp]>> = {
  "an instruction that it does not have": [
    { kernel: "entry_nmi: nop\n .byte 0xdb, 0xe3\n iretq" },
    /^the model lacks the instruction at entry_nmi\+0x1 \(0xffffffff81000001\): .*db e3/,
  ],
  "an MSR": [
    { kernel: "entry_nmi: mov $0x123, %ecx\n rdmsr\n iretq" },
    "the model lacks MSR 0x123, which entry_nmi+0x5 accesses",
  ],
  "physical memory that the scenario does not have": [
    { kernel: "entry_nmi: mov $0x7ffff000, %eax\n mov %rax, %cr3\n iretq" },
    /^an access at entry_nmi\+0x8 reaches physical address 0x7ffff[0-9a-f]+, where the scenario has no memory$/,
  ],
  "real mode": [
    { ...PROTECTED, kernel: "entry_nmi: mov %cr0, %eax\n and $0x7ffffffe, %eax\n mov %eax, %cr0\n iretl" },
    /^the code at entry_nmi\+0x8 enters a mode that the model lacks/,
  ],
  "virtual-8086 mode": [
    { ...PROTECTED, kernel: "entry_nmi: orl $0x20000, 8(%esp)\n iretl" },
    /^the code at entry_nmi\+0x8 enters a mode that the model lacks/,
  ],
  "a task switch": [
    { ...PROTECTED, kernel: "entry_nmi: pushfl\n orl $0x4000, (%esp)\n popfl\n iretl" },
    /^a task switch or call gate at entry_nmi\+0x9 is not in the model$/,
  ],
  "more contexts than the list holds": [
    {
      kernel: "entry_bp: int3\n iretq",
      tables: { idt: { bp: "entry_bp" } },
      stacks: { kernel: { size: 4096, rsp0: true } },
      events: { bp: { limit: 1 } },
    },
    "more than 0x40 contexts are owed at once at entry_bp",
  ],
};

describe("what the model lacks", () => {
  it.each(Object.entries(CASES))("%s", async (_, [setup, reason]) => {
    const verdict = await check(small(setup), { workers: 1 });
    expect(verdict.verdict).toBe("unsupported");
    expect(verdict.reason).toMatch(reason);
    expect(verdict.violation).toBeUndefined();
    expect(verdict.properties.every((one) => one.verdict === "unknown")).toBe(true);
  });

  it("a violation with as few events counts more", async () => {
    const kernel =
      "entry_nmi: testb $1, flag\n jnz 1f\n .byte 0xdb, 0xe3\n1: xor %eax, %eax\n iretq\n.data\nflag: .byte 0";
    const either = await check(small({ kernel, program: "again: nop\njmp again" }), { workers: 1 });
    expect(either.verdict).toBe("unsupported");
    const both = small({
      kernel: "entry_nmi: test %eax, %eax\n jnz 1f\n .byte 0xdb, 0xe3\n1: xor %eax, %eax\n iretq",
      program: "again: xor $1, %eax\njmp again",
      registers: { rax: 0 },
    });
    expect((await check(both, { workers: 1 })).verdict).toBe("violated");
  });
});
