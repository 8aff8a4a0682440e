// Every property can fail, and holds when the scenario is repaired: one small pair of scenarios for each way to fail, with
// the shortest schedule and the sentence that says what happened.

import { describe, expect, it } from "vitest";
import { type Small, small } from "../../test/support/small.js";
import { Prop } from "../engine/abi.js";
import { propertyText } from "../scenario/properties.js";
import { check } from "./check.js";
import { formatSchedule } from "./schedule.js";
import { trace } from "./trace.js";

const BODY = { body: { start: "handler", end: "handler_end" } };
const HANDLER = "\nhandler: nop\nhandler_end: ret\n";
const CALL = `entry_nmi: call handler\n iretq\n entry_bp: iretq\n${HANDLER}`;
const WITH_BP = {
  tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, bp: "entry_bp" } },
  events: { nmi: "anywhere", bp: { in: "body" } },
};
const ALWAYS = ["resume", "progress", "nmi-unmasked", "stack-bounds", "no-shutdown", "text-only", "gs-base"];
const SYSCALL = {
  program: "again: syscall\njmp again",
  registers: { rcx: "again+2", r11: 0x202 },
  tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 } }, syscall: "sys" },
};
/** A return to kernel code without IRET: RIP and RFLAGS go below the target's RSP. */
const RET = `entry_nmi: push %rax
  push %rbx
  mov 40(%rsp), %rax
  mov 16(%rsp), %rbx
  mov %rbx, -8(%rax)
  mov 32(%rsp), %rbx
  mov %rbx, -16(%rax)
  pop %rbx
  pop %rax
  mov 24(%rsp), %rsp
  lea -16(%rsp), %rsp
  popfq
the_ret: ret`;
const PF_IN_NMI = (save: string, restore: string): Small => ({
  kernel: `entry_nmi: push %rbx
    ${save}
    call handler
    ${restore}
    pop %rbx
    iretq
  entry_pf: push %rax
    mov %cr2, %rax
    pop %rax
    add $8, %rsp
    iretq
  ${HANDLER}`,
  ...BODY,
  tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, pf: "entry_pf" } },
  events: {
    nmi: { limit: 1 },
    touch: { event: "pf", in: "program", address: 0x1000, limit: 1 },
    pf: { in: "body", limit: 1 },
  },
  properties: [...ALWAYS, "cr2"],
});
const FRAME = (rax: string): Small => ({
  kernel: `entry_nmi: push %rdi\n push ${rax}\n mov %rsp, %rdi\n call handler\n lea 8(%rsp), %rsp\n pop %rdi\n iretq\n${HANDLER}`,
  body: {
    start: "handler",
    end: "handler_end",
    regs: { pointer: "rdi", layout: ["rax", "rdi", "rip", "cs", "rflags", "rsp", "ss"] },
  },
  properties: [...ALWAYS, "handler-regs"],
});

interface Case {
  readonly bad: Small;
  readonly good: Small;
  readonly property: Prop;
  readonly schedule: string;
  readonly message: string | RegExp;
  readonly diagnosis?: RegExp;
}

const CASES: Readonly<Record<string, Case>> = {
  "resume: a register": {
    bad: { kernel: "entry_nmi: xor %eax, %eax\n iretq" },
    good: { kernel: "entry_nmi: push %rax\n xor %eax, %eax\n pop %rax\n iretq" },
    property: Prop.RESUME,
    schedule: "nmi@0",
    message: "user code, which NMI interrupted at again, is resumed with RAX = 0x0 instead of 0x101010101010101",
  },
  "resume: RFLAGS": {
    bad: { kernel: "entry_nmi: xorq $1, 16(%rsp)\n iretq" },
    good: { kernel: "entry_nmi: xorq $0, 16(%rsp)\n iretq" },
    property: Prop.RESUME,
    schedule: "nmi@0",
    message: "user code, which NMI interrupted at again, is resumed with RFLAGS = 0x203 instead of 0x202",
    diagnosis:
      /RFLAGS \(bytes 0x[0-9a-f]+ to 0x[0-9a-f]+\) by `xorq \$0x1,0x10\(%rsp\)` at entry_nmi, 2 instructions before/,
  },
  "resume: user code where it was not": {
    bad: { kernel: "entry_nmi: addq $1, (%rsp)\n iretq" },
    good: { kernel: "entry_nmi: addq $0, (%rsp)\n iretq" },
    property: Prop.RESUME,
    schedule: "nmi@0",
    message:
      /^entry_nmi\+\w+ gives control to user code at again\+0x1, but user code, which NMI interrupted at again, is what is owed$/,
  },
  "resume: kernel code where it was not": {
    bad: { kernel: "entry_nmi: addq $1, (%rsp)\n iretq", cpl: 0 },
    good: { kernel: "entry_nmi: addq $0, (%rsp)\n iretq", cpl: 0 },
    property: Prop.RESUME,
    schedule: "nmi@0",
    message: /pops the frame at nmi stack -0x28 that was pushed for a context, and control goes to again\+0x1/,
  },
  "resume: a frame overwritten by a nested delivery": {
    bad: { kernel: CALL, ...WITH_BP, ...BODY, properties: ALWAYS },
    good: { kernel: CALL, ...WITH_BP, ...BODY, properties: ALWAYS, events: { nmi: "anywhere" } },
    property: Prop.RESUME,
    schedule: "nmi@0,nmi@+1,bp@+1",
    message: /is resumed|gives control|pops the frame/,
    diagnosis:
      /the frame of context 1 \(user code, interrupted by NMI at again\) was overwritten: .*RIP.* by the delivery of NMI/,
  },
  "progress: an endless loop": {
    bad: { kernel: "entry_nmi: nop\nspin: jmp spin" },
    good: { kernel: "entry_nmi: nop\nspin: iretq" },
    property: Prop.PROGRESS,
    schedule: "nmi@0",
    message:
      "the run never ends: 1 instruction from spin leads back to the same state, and user code (interrupted by NMI at again) is never resumed",
  },
  "progress: HLT with something owed": {
    bad: { kernel: "entry_nmi: hlt\n iretq" },
    good: { kernel: "entry_nmi: nop\n iretq" },
    property: Prop.PROGRESS,
    schedule: "nmi@0",
    message:
      /^the machine halts at entry_nmi\+0x1 with user code \(interrupted by NMI at again\) still owed its resumption/,
  },
  "nmi-served": {
    bad: { kernel: `entry_nmi: iretq\n${HANDLER}`, ...BODY },
    good: { kernel: CALL, ...BODY },
    property: Prop.NMI_SERVED,
    schedule: "nmi@0",
    message: "an NMI arrived, but everything is resumed at again and the handler's body has not run since",
  },
  "nmi-reentry": {
    bad: { kernel: CALL, ...WITH_BP, ...BODY },
    good: { kernel: CALL, ...WITH_BP, ...BODY, events: { nmi: { limit: 1 }, bp: { in: "body" } } },
    property: Prop.NMI_REENTRY,
    schedule: "nmi@0,bp@+2,nmi@+2",
    message: "the NMI handler's body is entered at handler while an earlier run of it has not finished",
    diagnosis: /context 1 .* was overwritten/,
  },
  "handler-regs: at the start": {
    bad: FRAME("$0"),
    good: FRAME("%rax"),
    property: Prop.HANDLER_REGS,
    schedule: "nmi@0",
    message:
      /the register frame of the NMI handler no longer describes user code .*: its RAX at nmi stack -0x38 is wrong \(at handler\)/,
  },
  "handler-regs: later": {
    bad: { ...FRAME("%rax"), kernel: `${FRAME("%rax").kernel}`.replace("handler: nop", "handler: movq $7, (%rdi)") },
    good: {
      ...FRAME("%rax"),
      kernel: `${FRAME("%rax").kernel}`.replace("handler: nop", "handler: movq $7, -24(%rdi)"),
    },
    property: Prop.HANDLER_REGS,
    schedule: "nmi@0",
    message: /its RAX at nmi stack -0x38 is wrong \(at handler_end\)/,
  },
  "nmi-unmasked": {
    bad: { kernel: RET, cpl: 0, "resume-ret": ["the_ret"] },
    good: { kernel: "entry_nmi: iretq", cpl: 0 },
    property: Prop.NMI_UNMASKED,
    schedule: "nmi@0",
    message: "everything is resumed at again, but NMIs are still blocked",
  },
  "no-nesting": {
    bad: { kernel: CALL, ...WITH_BP, ...BODY, properties: [...ALWAYS, "no-nesting"] },
    good: { kernel: CALL, ...BODY, properties: [...ALWAYS, "no-nesting"] },
    property: Prop.NO_NESTING,
    schedule: "nmi@0,nmi@+1,bp@+1",
    message: "an NMI is delivered at handler while the frame of another is live",
  },
  "stack-bounds": {
    bad: { kernel: "entry_nmi: .rept 28\n push %rax\n .endr\n add $28*8, %rsp\n iretq" },
    good: { kernel: "entry_nmi: .rept 27\n push %rax\n .endr\n add $27*8, %rsp\n iretq" },
    property: Prop.STACK_BOUNDS,
    schedule: "nmi@0",
    message: /^8 bytes are pushed at 0x[0-9a-f]+ef8, outside every stack of the scenario \(at entry_nmi\+0x1b\)$/,
  },
  "no-shutdown: a double fault": {
    bad: { kernel: "entry_nmi: ud2\nafter: iretq" },
    good: {
      kernel: "entry_nmi: ud2\nafter: iretq\nentry_ud: addq $2, (%rsp)\n iretq",
      tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, ud: "entry_ud" } },
      fixups: ["after"],
      events: { nmi: { limit: 1 } },
    },
    property: Prop.NO_SHUTDOWN,
    schedule: "nmi@0",
    message: /^double fault at entry_nmi: #(NP|GP) while #(NP|GP) was being delivered$/,
  },
  "no-shutdown: a triple fault": {
    bad: { kernel: "entry_nmi: ud2\nafter: iretq", "double-fault": "handled" },
    good: { kernel: "entry_nmi: nop\nafter: iretq", "double-fault": "handled" },
    property: Prop.NO_SHUTDOWN,
    schedule: "nmi@0",
    message: "triple fault at entry_nmi: the CPU shuts down",
  },
  "progress: a shutdown, where no-shutdown is not asked for": {
    bad: { kernel: "entry_nmi: ud2\nafter: iretq", properties: ["resume", "progress"] },
    good: { kernel: "entry_nmi: nop\nafter: iretq", properties: ["resume", "progress"] },
    property: Prop.PROGRESS,
    schedule: "nmi@0",
    message:
      "the CPU has shut down at entry_nmi and does nothing more, with user code (interrupted by NMI at again) owed",
  },
  "resume: a shutdown, where neither is asked for": {
    bad: { kernel: "entry_nmi: ud2\nafter: iretq", properties: ["resume"] },
    good: { kernel: "entry_nmi: nop\nafter: iretq", properties: ["resume"] },
    property: Prop.RESUME,
    schedule: "nmi@0",
    message: /^the CPU has shut down at entry_nmi; user code.* is never resumed$/,
  },
  "no-shutdown: a machine check in a machine check": {
    bad: {
      kernel: "entry_mc: iretq",
      tables: { idt: { mc: "entry_mc" } },
      events: { mce: { "while-mcip": true } },
    },
    good: { kernel: "entry_mc: iretq", tables: { idt: { mc: "entry_mc" } }, events: { mce: "anywhere" } },
    property: Prop.NO_SHUTDOWN,
    schedule: "mce@0,mce@+0",
    message: "a machine check at entry_mc while MCG_STATUS.MCIP is set shuts the CPU down",
  },
  "text-only": {
    bad: {
      kernel: "entry_nmi: push %rax\n movabs $elsewhere, %rax\n jmp *%rax",
      memory: { elsewhere: { data: "pop %rax\n iretq" } },
      efer: 0x501,
    },
    good: {
      efer: 0x501,
      kernel: "entry_nmi: push %rax\n movabs $elsewhere, %rax\n jmp *%rax\nelsewhere: pop %rax\n iretq",
    },
    property: Prop.TEXT_ONLY,
    schedule: "nmi@0",
    message: /^CPL 0 executes at 0xffff8880000\w+, which is not the scenario's text$/,
  },
  "gs-base: an access": {
    bad: { kernel: "entry_nmi: testb $1, %gs:0\n iretq" },
    good: { kernel: "entry_nmi: swapgs\n testb $1, %gs:0\n swapgs\n iretq" },
    property: Prop.GS_BASE,
    schedule: "nmi@0",
    message:
      /^CPL 0 accesses memory through GS at entry_nmi while GS.base is 0x0, not the kernel's 0xffff888000000000$/,
  },
  "gs-base: a resume": {
    bad: { kernel: "entry_nmi: swapgs\n iretq" },
    good: { kernel: "entry_nmi: swapgs\n swapgs\n iretq" },
    property: Prop.GS_BASE,
    schedule: "nmi@0",
    message:
      /^user code \(interrupted by NMI at again\) is resumed with GS.base 0xffff888000000000, which is not its own$/,
  },
  "user-stack: a push": {
    bad: {
      kernel: "sys: push %rcx\n pop %rcx\n sysretq\nentry_nmi: iretq",
      ...SYSCALL,
      properties: [...ALWAYS, "user-stack"],
    },
    good: { kernel: "sys: sysretq\nentry_nmi: iretq", ...SYSCALL, properties: [...ALWAYS, "user-stack"] },
    property: Prop.USER_STACK,
    schedule: "",
    message: /^CPL 0 pushes to user stack -0x48 \(0x7fffffffefb8\), a stack that user code chose \(at sys\)$/,
  },
  "user-stack: a delivery without IST": {
    bad: {
      kernel: "sys: sysretq\nentry_nmi: iretq",
      ...SYSCALL,
      tables: { idt: { nmi: "entry_nmi" }, syscall: "sys" },
      properties: [...ALWAYS, "user-stack"],
    },
    good: { kernel: "sys: sysretq\nentry_nmi: iretq", ...SYSCALL, properties: [...ALWAYS, "user-stack"] },
    property: Prop.USER_STACK,
    schedule: "nmi@1",
    message: /^CPL 0 pushes to user stack -0x/,
  },
  "stale-read": {
    bad: { kernel: "entry_nmi: testb $1, -16(%rsp)\n iretq" },
    good: {
      kernel: "entry_nmi: testb $1, -16(%rsp)\n iretq",
      stacks: { kernel: { size: 256, rsp0: true }, nmi: { size: 256, ist: 1, persistent: [[-56, -48]] } },
    },
    property: Prop.STALE_READ,
    schedule: "nmi@0",
    message: "entry_nmi reads 1 undefined byte: what an activity that is over has left behind",
  },
  cr2: {
    bad: PF_IN_NMI("", ""),
    good: PF_IN_NMI("mov %cr2, %rbx", "mov %rbx, %cr2"),
    property: Prop.CR2,
    schedule: "touch@0,nmi@+0,pf@+3",
    message:
      /^the page-fault handler reads CR2 = 0xffffc90000000000 at entry_pf\+0x1, but its own fault was at 0x1000$/,
  },
  "flags-entry: DF": {
    bad: { kernel: CALL, ...BODY, program: "std\nagain: jmp again", properties: [...ALWAYS, "flags-entry"] },
    good: {
      kernel: CALL.replace("call", "cld\n call"),
      ...BODY,
      program: "std\nagain: jmp again",
      properties: [...ALWAYS, "flags-entry"],
    },
    property: Prop.FLAGS_ENTRY,
    schedule: "nmi@1",
    message: "the handler's body runs at handler with DF set",
  },
  "flags-entry: AC": {
    bad: { kernel: CALL, ...BODY, registers: { rflags: 0x40202 }, properties: [...ALWAYS, "flags-entry"] },
    good: {
      kernel: CALL.replace("call", "clac\n call"),
      ...BODY,
      registers: { rflags: 0x40202 },
      properties: [...ALWAYS, "flags-entry"],
    },
    property: Prop.FLAGS_ENTRY,
    schedule: "nmi@0",
    message: "the handler's body runs at handler with AC set",
  },
  unreached: {
    bad: { kernel: "entry_nmi: testb $3, 8(%rsp)\n jz bad\n iretq\nbad: iretq", cpl: 0, unreached: ["bad"] },
    good: { kernel: "entry_nmi: testb $3, 8(%rsp)\n jz bad\n iretq\nbad: iretq", cpl: 3, unreached: ["bad"] },
    property: Prop.UNREACHED,
    schedule: "nmi@0",
    message: "bad must not be reached",
  },
};

describe("each property fails and holds", () => {
  it.each(Object.entries(CASES))("%s", async (_, { bad, good, property, schedule, message, diagnosis }) => {
    const scenario = small(bad);
    const verdict = await check(scenario, { workers: 1 });
    const { violation } = verdict;
    expect({ verdict: verdict.verdict, schedule: violation && formatSchedule(violation.schedule) }).toEqual({
      verdict: "violated",
      schedule,
    });
    expect(violation?.property, violation?.message).toBe(property);
    expect(violation?.message).toMatch(message);
    if (diagnosis) expect(violation?.diagnosis.join("\n")).toMatch(diagnosis);
    expect(verdict.properties.filter((one) => one.verdict === "violated").map(({ prop }) => prop)).toEqual([property]);
    expect(trace(scenario, violation?.schedule ?? []).violation).toEqual(violation);

    const repaired = small(good);
    expect(repaired.properties.has(property)).toBe(true);
    const other = await check(repaired, { workers: 1 });
    expect([other.verdict, other.violation?.message]).toEqual(["holds", undefined]);
  });

  it("the table knows every property", () => {
    const missing = Array.from({ length: Prop.COUNT }, (_, prop) => prop as Prop).filter(
      (prop) => !Object.values(CASES).some((one) => one.property === prop),
    );
    expect(missing.map((prop) => propertyText(prop).name)).toEqual([]);
  });
});

it("compatibility mode: the upper half of RSP is undefined there, so that IRETQ may clear it", async () => {
  const enter =
    "again: movabs $user_stack_top-64, %rsp\n push $0x23\n push $narrow\n lretq\nnarrow: .byte 0xea\n .long again\n .word 0x33";
  const kernel = (change: string) => `entry_nmi: ${change}\n iretq`;
  const holds = await check(small({ kernel: kernel("nop"), program: enter }), { workers: 1 });
  expect(holds.verdict).toBe("holds");
  const violated = await check(small({ kernel: kernel("addq $8, 24(%rsp)"), program: enter }), { workers: 1 });
  expect(violated.violation?.property).toBe(Prop.RESUME);
});

it("a body that was called is over at its caller, whichever RET it takes and wherever its end label stands", async () => {
  const compiled = `entry_nmi: push %rax
      mov %cs, %eax
      call handler
      pop %rax
      iretq
    entry_bp: iretq
    handler: test %eax, %eax
      jz other
      ret
    other: ret
    handler_end: nop`;
  const events = { nmi: "anywhere", bp: { in: "body", limit: 1 } };
  const alone = await check(small({ kernel: compiled, ...BODY }), { workers: 1 });
  expect([alone.verdict, alone.violation?.message]).toEqual(["holds", undefined]);
  const nested = await check(small({ kernel: compiled, ...WITH_BP, ...BODY, events }), { workers: 1 });
  expect(nested.violation?.property).toBe(Prop.NMI_REENTRY);
});

it.each([
  ["REP goes on", "handler: rep stosb\nhandler_end: ret", "mov $3, %ecx\n lea buffer(%rip), %rdi"],
  ["it faults and is tried again", "handler: mov (%rdx), %al\nhandler_end: ret", "mov $0x1000, %edx"],
])("a body starts once, also when its first instruction is begun again: %s", async (_, handler, before) => {
  const scenario = small({
    kernel: `entry_nmi: push %rax
      push %rcx
      push %rdx
      push %rdi
      ${before}
      call handler
      pop %rdi
      pop %rdx
      pop %rcx
      pop %rax
      iretq
    entry_pf: lea buffer(%rip), %rdx
      add $8, %rsp
      iretq
    ${handler}
    .data
    buffer: .quad 0`,
    ...BODY,
    tables: { idt: { nmi: { entry: "entry_nmi", ist: 1 }, pf: "entry_pf" } },
    events: { nmi: { limit: 1 } }, // one only: the IRET of #PF would let another in

    properties: ["nmi-reentry", "nmi-served"],
  });
  expect((await check(scenario, { workers: 1 })).violation?.message).toBeUndefined();
});
