// Every field that can be wrong: the message and the place that it points to. In the texts `«` marks that place.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatDiagnostic, InputError } from "../diagnostic.js";
import { listScenarios } from "./list.js";
import { loadScenario } from "./load.js";

const ENTRY = `
.globl nmi_entry
nmi_entry:
  call handler
  iretq
pf_entry:
  add $8, %rsp
  iretq
handler:
body_start:
  nop
body_end:
the_ret:
  ret
syscall_entry:
  sysretq
.data
counter: .quad 0
`;

const BASE = `title: base
code: entry.S
define: { OPTION: 1 }
mode: 64
cpu: intel
programs:
  user:
    code: |
      spin: nop
        jmp spin
    registers: { rax: 1 }
  kernel: { cpl: 0, stack: kernel, code: "nop" }
program: user
tables:
  idt: { nmi: { entry: nmi_entry, ist: 1 }, pf: pf_entry }
  syscall: syscall_entry
  fmask: 0x700
  gs: { user: 0 }
stacks:
  nmi: { size: 4096, ist: 1 }
  kernel: { size: 4096, rsp0: true }
memory:
  area: { size: 64 }
discarded: [[counter, 8]]
events:
  nmi: anywhere
  pf: { in: body }
body: { start: body_start, end: body_end, regs: rdi }
properties: [resume]
fixups: [pf_entry]
resume-ret: [the_ret]
unreached: [pf_entry]
double-fault: fatal
syscall-clobbers: [rax]
assumptions: [one]
expect: holds
threats: { user: { nmi: holds } }
`;

const folder = mkdtempSync(join(tmpdir(), "trapcheck-errors-"));
const put = (path: string, content: string | Uint8Array) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
};
beforeAll(() => {
  put("entry.S", ENTRY);
  put("zero.bin", new Uint8Array(16));
  const bzImage = new Uint8Array(0x300);
  bzImage.set([0x48, 0x64, 0x72, 0x53], 0x202);
  put("bzImage", bzImage);
});
afterAll(() => rmSync(folder, { recursive: true }));

function failure(action: () => unknown): InputError {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("no error");
}

/** Loads the text; the error must stand at the mark and say the message. */
function check(marked: string, message: string, options = {}): void {
  const at = marked.indexOf("«");
  const before = marked.slice(0, Math.max(0, at)).split("\n");
  put("scenario.yaml", marked.replace("«", ""));
  const error = failure(() => loadScenario(folder, options));
  const text = formatDiagnostic(error);
  expect(text).toContain(message);
  const place = at < 0 ? "" : `:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
  expect(text.split(": error:")[0]).toBe(join(folder, `scenario.yaml${place}`));
}

it("the base is right", () => {
  put("scenario.yaml", BASE);
  expect(loadScenario(folder).title).toBe("base");
  expect(loadScenario(folder, { program: "kernel" }).cpl).toBe(0);
});

/** what of the base, by what, the message */
const CASES: readonly (readonly [string, string, string])[] = [
  // the file's form
  ["title: base", "«titel: base", 'unknown key "titel"; did you mean "title"?'],
  ["title: base", "title: «3", "title: expected one line of text, found 3"],
  ["title: base", 'title: «""', "title: expected one line of text"],
  ["title: base", "title: base\n«title: again", 'duplicate key "title"'],
  ["title: base", "title: &x base\nfrom: «*x", "YAML aliases are not supported"],
  ["title: base", "«title: base\n? [1]\n: 2", "a key must be a single word or number"],
  ["title: base", "title: «!odd base", "YAML: Unresolved tag"],
  ["title: base\ncode", "title: [a\n«code", "YAML:"],
  ["title: base", "from: «[]", "from: expected text, found a list"],
  ["title: base", "title:«", "title: expected a value, found none"],
  ["title: base", "extends: «nowhere.yaml", "nowhere.yaml does not exist"],
  ["title: base", "extends: «/dev/zero", "/dev/zero is a device"],
  ["code: entry.S", "code: «/dev/zero", "code: /dev/zero is a device"],
  ["title: base", "extends: «scenario.yaml", "extends itself"],
  ["title: base", "extends: «7", "extends: expected the path of a scenario file"],
  ["title: base\ncode: entry.S\n", "«title: base\n", 'missing key "code"'],
  ["code: entry.S", "code: «5", "code: expected the path of an assembly file"],
  ["code: entry.S", "code: «[]", "code: expected at least one path, found a list"],
  ["code: entry.S", "code: «missing.S", "code: cannot read"],
  ["code: entry.S", "code: [entry.S, «zero.bin]", "neither assembly text nor ELF"],
  ["code: entry.S", "code: «bzImage", "compressed kernel (bzImage); expected the vmlinux"],
  ["define: { OPTION: 1 }", "define: { OPTION: «one }", 'define.OPTION: expected a number, found "one"'],
  ["define: { OPTION: 1 }", "define: { «1x: 1 }", "define: expected a name of letters"],
  ["define: { OPTION: 1 }", "define: «[]", "define: expected a map from symbol to number"],
  ["define: { OPTION: 1 }", "stubs: «7", "stubs: expected assembly text"],
  ["mode: 64", "mode: «16", "mode: expected 32 or 64, found 16"],
  ["mode: 64", "mode: «48", "mode: expected 32 or 64, found 48"],
  ["cpu: intel", "cpu: «via", 'cpu: expected intel or amd, found "via"'],
  // programs
  ["programs:", "programs: {}\n«old:", 'unknown key "old"'],
  ["    registers: { rax: 1 }", "    registers: { rax: «-1 }", "programs.user.registers.rax: expected an address"],
  ["    registers: { rax: 1 }", "    registers: { «rux: 1 }", 'unknown key "rux"; did you mean'],
  ["    registers: { rax: 1 }", "    registers: { rax: «nolabel }", 'no label "nolabel" in the code'],
  ["    registers: { rax: 1 }", "    registers: { eax: «1 }", "no register eax in 64-bit mode"],
  ["    registers: { rax: 1 }", "    registers: { rflags: 2, eflags: «2 }", "is the same register as rflags"],
  ["    registers: { rax: 1 }", "    registers: { rflags: «0x20002 }", "expected bit 1 set"],
  ["    registers: { rax: 1 }", "    start: «nmi_entry", "is not in the program's code"],
  ["    registers: { rax: 1 }", "    start: «spinn", 'no label "spinn" in the code; did you mean "spin"?'],
  ["    registers: { rax: 1 }", "    start: «spin spin", "expected an address: a label, a number, or a sum"],
  ["    registers: { rax: 1 }", "    start: «spin-0x500000", "is not an address of 64 bits"],
  ["    registers: { rax: 1 }", "    cpl: «1", "programs.user.cpl: expected 0 or 3, found 1"],
  ["    registers: { rax: 1 }", "    stack: «nmi", "expected its size in bytes"],
  ["    registers: { rax: 1 }", "    stack: «0", "expected a size in bytes"],
  ["    registers: { rax: 1 }", "    stack: «100", "expected a multiple of 16, found 100"],
  ['code: "nop" }', 'code: «"" }', "expected assembly text"],
  ['  kernel: { cpl: 0, stack: kernel, code: "nop" }', "  «kernel: { cpl: 0 }", 'programs.kernel: missing key "code"'],
  ['  kernel: { cpl: 0, stack: kernel, code: "nop" }', "  kernel: «5", "expected a program: a map with `code`"],
  ["program: user", "program: «usr", 'no program "usr"; did you mean "user"?'],
  ["program: user", "program: «[]", "expected the name of a program"],
  // tables
  [
    "nmi: { entry: nmi_entry, ist: 1 }",
    "nmi: { entry: «nmi_entri, ist: 1 }",
    'no label "nmi_entri" in the code; did you mean "nmi_entry"?',
  ],
  ["nmi: { entry: nmi_entry, ist: 1 }", "nmi: «missing", 'no label "missing"'],
  ["nmi: { entry: nmi_entry, ist: 1 }", "«nmi: { ist: 1 }", 'tables.idt.nmi: missing key "entry"'],
  [
    "nmi: { entry: nmi_entry, ist: 1 }",
    "nmi: { entry: nmi_entry, ist: «8 }",
    "expected an IST number, 1 to 7, found 8",
  ],
  ["nmi: { entry: nmi_entry, ist: 1 }", "nmi: { entry: nmi_entry, ist: «2 }", "no stack has `ist: 2`"],
  [
    "nmi: { entry: nmi_entry, ist: 1 }",
    "nmi: { entry: nmi_entry, type: «task }",
    'expected interrupt or trap, found "task"',
  ],
  ["nmi: { entry: nmi_entry, ist: 1 }", "nmi: { entry: nmi_entry, dpl: «4 }", "expected a privilege level, 0 to 3"],
  ["nmi: { entry: nmi_entry, ist: 1 }", "nmi: { entry: nmi_entry, «lst: 1 }", 'unknown key "lst"; did you mean "ist"?'],
  ["nmi: { entry: nmi_entry, ist: 1 }", "nmi: «5", "expected a gate: a label, or a map with `entry`"],
  ["nmi: { entry: nmi_entry, ist: 1 }", "«nmy: nmi_entry", "expected a vector: de db nmi"],
  ["nmi: { entry: nmi_entry, ist: 1 }", "«256: nmi_entry", "expected a vector: de db nmi"],
  ["nmi: { entry: nmi_entry, ist: 1 }", "2: nmi_entry, «nmi: nmi_entry", "vector 2 stands twice"],
  ["syscall: syscall_entry", "syscall: «nothing", 'no label "nothing"'],
  ["fmask: 0x700", "fmask: «x", "tables.fmask: expected a mask"],
  ["fmask: 0x700", "sysenter: «syscall_entry", 'missing key "sysenter-stack"'],
  ["fmask: 0x700", "sysenter: «nothing\n  sysenter-stack: kernel", 'no label "nothing"'],
  ["fmask: 0x700", "sysenter: syscall_entry\n  sysenter-stack: «other", 'no stack "other" under stacks'],
  ["fmask: 0x700", "sysenter-stack: «kernel", "expected `sysenter` beside it"],
  ["gs: { user: 0 }", "gs: { user: «nothing }", 'no label "nothing"'],
  ["gs: { user: 0 }", "gs: { kernel: «nothing }", 'no label "nothing"'],
  ["gs: { user: 0 }", "gs: «0", "expected a map with `kernel` and `user`"],
  ["  gs: { user: 0 }", "  «gdt: {}", 'unknown key "gdt"; did you mean "idt"?'],
  // stacks
  ["nmi: { size: 4096, ist: 1 }", "«nmi: { ist: 1 }", 'stacks.nmi: missing key "size"'],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: «4100, ist: 1 }", "expected a multiple of 16, found 4100"],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: «0x10000000, ist: 1 }", "expected a size in bytes (1 to 1 MiB)"],
  [
    "nmi: { size: 4096, ist: 1 }",
    "nmi: { size: 4096, ist: 1, address: «0x800000000000 }",
    "outside the canonical addresses",
  ],
  [
    "nmi: { size: 4096, ist: 1 }",
    "nmi: { size: 4096, ist: 1, address: «0xfffffe0000012008 }",
    "expected a multiple of 16",
  ],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: 4096, ist: 1, address: «counter }", "overlaps .data"],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: 4096, ist: 1, address: «nothing }", 'no label "nothing"'],
  [
    "  nmi: { size: 4096, ist: 1 }",
    "  nmi: { size: 4096, ist: 1, address: 0xfffffe0000010800 }\n  b: { size: 4096, address: «0xfffffe0000011000 }",
    "stack b overlaps stack nmi",
  ],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: 4096, ist: 1, persistent: [[-8, «8]] }", "expected an offset, found 8"],
  [
    "nmi: { size: 4096, ist: 1 }",
    "nmi: { size: 4096, ist: 1, persistent: [«[-8, -16]] }",
    "expected low below high, found -8 and -16",
  ],
  [
    "nmi: { size: 4096, ist: 1 }",
    "nmi: { size: 4096, ist: 1, persistent: [«[-5000, -16]] }",
    "-5000 lies outside the stack of 4096 bytes",
  ],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: 4096, ist: 1, persistent: «5 }", "expected a list of pairs"],
  ["nmi: { size: 4096, ist: 1 }", "nmi: { size: 4096, ist: 1, persistent: [«[-8]] }", "expected a pair [low, high)"],
  ["kernel: { size: 4096, rsp0: true }", "kernel: { size: 4096, rsp0: true, ist: «1 }", "stack nmi has ist 1 already"],
  [
    "kernel: { size: 4096, rsp0: true }",
    "kernel: { size: 4096, rsp0: true }\n  two: { size: 16, rsp0: «true }",
    "stack kernel has rsp0 already",
  ],
  ["kernel: { size: 4096, rsp0: true }", "kernel: { size: 4096, rsp0: «yes }", 'expected true or false, found "yes"'],
  [
    "kernel: { size: 4096, rsp0: true }",
    "kernel: { size: 4096 }\n  «user: { size: 4096 }",
    "is the name of the stack of program user",
  ],
  ["  kernel: { size: 4096, rsp0: true }", "  «bad name: { size: 4096 }", "stacks: expected a name of letters"],
  // memory
  ["area: { size: 64 }", "area: «{ writable: true }", 'memory.area: missing key "size"'],
  ["area: { size: 64 }", "area: { size: «x }", "expected a size in bytes"],
  [
    "area: { size: 64 }",
    'area: { size: 8, data: «".quad 1, 2" }',
    "16 bytes of data do not fit into a region of 8 bytes",
  ],
  [
    "area: { size: 64 }",
    'area: { data: «"foo: nop; .data; .quad 1" }',
    "expected bytes in exactly one section, found 2",
  ],
  ["area: { size: 64 }", "area: { size: 64, address: «counter }", "overlaps .data"],
  ["area: { size: 64 }", "area: { size: 64, address: «0xffff7fffffffffff }", "outside the canonical addresses"],
  ["area: { size: 64 }", "area: { size: 64, user: «1 }", "expected true or false, found 1"],
  ["area: { size: 64 }", "area: { size: 64, writable: «1 }", "expected true or false, found 1"],
  ["area: { size: 64 }", "area: { size: 64, executable: «1 }", "expected true or false, found 1"],
  ["area: { size: 64 }", "area: { size: 64, «exec: true }", 'unknown key "exec"'],
  [
    "  nmi: { size: 4096, ist: 1 }\n  kernel: { size: 4096, rsp0: true }\nmemory:",
    "  nmi: «{ size: 4096, ist: 1 }\n  kernel: { size: 4096, rsp0: true }\nmemory:\n  nmi_stack: { size: 8 }",
    "symbol nmi_stack would be defined twice",
  ],
  ["cpu: intel", "cr0: «0", "expected PE (bit 0) and PG (bit 31)"],
  ["cpu: intel", "cr0: «x", "cr0: expected a number"],
  ["cpu: intel", "cr4: «0x10", "expected PAE (bit 5) to be set"],
  ["cpu: intel", "cr4: «0x1020", "expected LA57 (bit 12) to be clear"],
  ["cpu: intel", "efer: «1", "expected LME (bit 8) and LMA (bit 10)"],
  ["discarded: [[counter, 8]]", "discarded: [[«count, 8]]", 'no label "count" in the code'],
  ["discarded: [[counter, 8]]", "discarded: [«[0x1000, 8]]", "not in the scenario's memory"],
  ["discarded: [[counter, 8]]", "discarded: [[counter, «0]]", "expected a size from 1 to 4096, found 0"],
  ["discarded: [[counter, 8]]", "discarded: [«counter]", "expected a pair [address, size]"],
  ["discarded: [[counter, 8]]", "discarded: «counter", "expected a list of pairs [address, size]"],
  // events
  ["nmi: anywhere", "nmi: «nowhere", "expected anywhere, or a map with `in`"],
  ["nmi: anywhere", "nmo: «anywhere", 'no event "nmo"; did you mean "nmi"?'],
  ["nmi: anywhere", "x: { event: «nmo }", "expected nmi, mce, smi, intr, bp, db or pf"],
  ["nmi: anywhere", "nmi: { in: «boddy }", 'found "boddy"; did you mean "body"?'],
  ["nmi: anywhere", "nmi: { in: [[«nothing, pf_entry]] }", 'no label "nothing"'],
  ["nmi: anywhere", "nmi: { in: [pf_entry, «nothing] }", 'no label "nothing"'],
  ["nmi: anywhere", "nmi: { in: «[pf_entry, nmi_entry] }", "expected low below high"],
  ["nmi: anywhere", "nmi: { in: [body, «pf_entry] }", "expected body, user, kernel, entry, program, or a pair"],
  ["nmi: anywhere", "nmi: { in: [body, «7] }", "or a pair [low, high), found 7"],
  ["nmi: anywhere", "nmi: { in: «7 }", "expected body, user, kernel, entry, program"],
  ["nmi: anywhere", "nmi: { limit: «0 }", "expected a number of times, 1 to 255, found 0"],
  ["nmi: anywhere", "nmi: { limit: «256 }", "expected a number of times, 1 to 255, found 256"],
  ["nmi: anywhere", "nmi: { vector: «2 }", "belongs to intr events only"],
  ["nmi: anywhere", "nmi: { address: «2 }", "belongs to pf events only"],
  ["nmi: anywhere", "nmi: { error: «2 }", "belongs to pf events only"],
  ["nmi: anywhere", "nmi: { while-mcip: «true }", "belongs to mce events only"],
  ["nmi: anywhere", "nmi: { «inn: body }", 'unknown key "inn"; did you mean "in"?'],
  ["nmi: anywhere", "bp: «anywhere", "bp needs a gate for bp in tables.idt"],
  ["nmi: anywhere", "intr: «{ in: user }", 'missing key "vector"'],
  ["nmi: anywhere", "intr: { vector: «300 }", "expected a vector, 0 to 255"],
  ["nmi: anywhere", "intr: «{ vector: 0x20 }", "intr needs a gate for 0x20"],
  ["pf: { in: body }", "pf: { address: «nothing }", 'no label "nothing"'],
  ["pf: { in: body }", "pf: { error: «0x10000 }", "expected an error code"],
  [
    "  nmi: anywhere",
    [...Array(15).keys()].map((n) => `  n${n}: { event: nmi }`).join("\n") +
      "\n  a: {event: nmi}\n  last: «{ event: nmi }",
    "more than 16 event rules",
  ],
  [
    "  nmi: anywhere",
    [...Array(8).keys()].map((n) => `  n${n}: { event: nmi, limit: 1 }`).join("\n") +
      "\n  last: «{ event: nmi, limit: 1 }",
    "more than 8 rules with a limit",
  ],
  // body, properties and the rest
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: body_end, regs: «rip }",
    "expected a register that points to a pt_regs",
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: body_end, regs: «edi }",
    "no register edi in 64-bit mode",
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: body_end, regs: { pointer: «edi, layout: [] } }",
    "no register edi in 64-bit mode",
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: body_end, regs: { pointer: rdi, layout: [rax, «rxx] } }",
    'found "rxx"; did you mean "rax"?',
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: body_end, regs: { pointer: rdi, layout: [rax, «rax] } }",
    "register rax stands twice",
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: body_start, end: «body_start }",
    "expected an address above body.start",
  ],
  [
    "body: { start: body_start, end: body_end, regs: rdi }",
    "body: { start: «body_begin, end: body_end }",
    'no label "body_begin"',
  ],
  ["body: { start: body_start, end: body_end, regs: rdi }", "«body: { start: body_start }", 'body: missing key "end"'],
  ["properties: [resume]", "properties: [«resum]", 'expected the name of a property; did you mean "resume"?'],
  ["properties: [resume]", "properties: «resume", "expected a list of properties"],
  ["fixups: [pf_entry]", "fixups: [«nothing]", 'no label "nothing"'],
  ["fixups: [pf_entry]", "fixups: «pf_entry", "expected a list of labels"],
  ["resume-ret: [the_ret]", "resume-ret: [«nothing]", 'no label "nothing"'],
  ["resume-ret: [the_ret]", "resume-ret: [«pf_entry]", "expected the address of a near RET, found another instruction"],
  ["resume-ret: [the_ret]", "resume-ret: [«16]", "found no code at 0x10"],
  ["unreached: [pf_entry]", "unreached: [«nothing]", 'no label "nothing"'],
  ["double-fault: fatal", "double-fault: «maybe", "expected fatal or handled"],
  ["syscall-clobbers: [rax]", "syscall-clobbers: [«rzx]", "expected rax, rcx"],
  ["syscall-clobbers: [rax]", "syscall-clobbers: [«eax]", "no register eax in 64-bit mode"],
  ["assumptions: [one]", "assumptions: [«1]", "expected a sentence"],
  ["expect: holds", "expect: «fails", "expected holds, or a map with `verdict`"],
  ["expect: holds", "expect: { verdict: «fails }", "expected holds or violated"],
  ["expect: holds", "expect: { verdict: violated, property: «resum }", 'did you mean "resume"?'],
  ["expect: holds", "expect: { verdict: violated, events: «-1 }", "expected a number of events"],
  ["expect: holds", "expect: { verdict: holds, property: «resume }", "belongs to `verdict: violated` only"],
  ["threats: { user: { nmi: holds } }", "threats: { «usr: { nmi: holds } }", 'no program "usr"; did you mean "user"?'],
  [
    "threats: { user: { nmi: holds } }",
    "threats: { user: { «nmy: holds } }",
    "expected a threat: nmi, bp, pf, mc, mc-anywhere",
  ],
  ["threats: { user: { nmi: holds } }", "threats: { user: { nmi: «fails } }", "expected holds, the name of a property"],
  [
    "threats: { user: { nmi: holds } }",
    "threats: { user: { nmi: { property: resume, events: «x } } }",
    "expected a number of events",
  ],
];

describe("scenario files that are wrong", () => {
  it.each(CASES)("%s -> %s: %s", (from, to, message) => {
    if (!BASE.includes(from)) throw new Error(`not in the base: ${from}`);
    if (!to.includes("«") || message === "") throw new Error("a case needs a mark and a message");
    check(BASE.replace(from, to), message);
  });

  it.each([
    ["", "the file is empty"],
    ["# nothing\n", "the file is empty"],
    ["«- a\n", "expected a map of scenario keys"],
    ["a: 1\n«---\nb: 2\n", "expected one YAML document; here a second one begins"],
    ["a:\n«\tb: 1\n", "Tabs are not allowed"],
  ])("%j: %s", (text, message) => {
    check(text.includes("«") ? text : `«${text}`, message);
  });

  it("a user program needs rsp0 for gates without ist", () => {
    check(BASE.replace(", rsp0: true", "").replace("pf: pf_entry", "pf: «pf_entry"), "needs a stack with `rsp0: true`");
  });

  it("properties that need something which is not there", () => {
    const bare = BASE.replace(/^body.*\n/m, "").replace("pf: { in: body }", "pf: anywhere");
    check(bare.replace("[resume]", "[resume, «nmi-served]"), "nmi-served needs `body`");
    check(bare.replace("[resume]", "[«nmi-reentry]"), "nmi-reentry needs `body`");
    check(bare.replace("[resume]", "[«handler-regs]"), "handler-regs needs `body` with `regs`");
    check(bare.replace("[resume]", "[«unreached]").replace(/^unreached.*\n/m, ""), "needs labels under `unreached`");
    check(BASE.replace(/^body.*\n/m, "").replace("{ in: body }", "{ in: «body }"), "has no `body`");
  });

  it("programs and threats that are asked for", () => {
    check(BASE.replace("programs:", "«programs:"), 'no program "usr"; did you mean "user"?', { program: "usr" });
    check(BASE.replace("idt: {", "idt: «{"), "threat bp: bp needs a gate for bp", { threat: "bp" });
    const bodiless = BASE.replace(/^body.*\n/m, "").replace("pf: { in: body }", "pf: anywhere");
    check(bodiless.replace("idt: {", "idt: «{"), "has no `body`", { threat: "pf" });
    put("scenario.yaml", BASE);
    expect(failure(() => loadScenario(folder, { threat: "nmy" })).message).toContain('did you mean "nmi"?');
  });

  it("assembly errors stand in the scenario file", () => {
    check(BASE.replace("        jmp spin", "        «frob spin"), "frob");
  });

  it("symbols that nothing defines", () => {
    check(
      BASE.replace("jmp spin", "jmp «nowhere"),
      "undefined symbol nowhere; `stubs` of the scenario can define them",
    );
  });
});

describe("32-bit mode", () => {
  const narrow = BASE.replace("mode: 64", "mode: 32")
    .replace("code: entry.S", "code: entry32.S")
    .replace("registers: { rax: 1 }", "registers: { eax: 1 }")
    .replace("regs: rdi", "regs: edi")
    .replace("{ entry: nmi_entry, ist: 1 }", "nmi_entry")
    .replace(", ist: 1 }", " }")
    .replace(/ {2}syscall:.*\n {2}fmask:.*\n {2}gs:.*\n/, "  trailing\n")
    .replace("  trailing\n", "")
    .replace("clobbers: [rax]", "clobbers: [eax]");
  beforeAll(() =>
    put(
      "entry32.S",
      ENTRY.replaceAll("%rsp", "%esp").replace("iretq", "iret").replace("iretq", "iret").replace("sysretq", "ret"),
    ),
  );

  it("loads", () => {
    put("scenario.yaml", narrow);
    expect(loadScenario(folder).mode).toBe(32);
  });

  it.each([
    ["idt: {", "syscall: «syscall_entry\n  idt: {", "belongs to 64-bit mode"],
    ["idt: {", "fmask: «1\n  idt: {", "belongs to 64-bit mode"],
    ["idt: {", "gs: { user: «1 }\n  idt: {", "belongs to 64-bit mode"],
    ["pf: pf_entry", "pf: { entry: pf_entry, ist: «1 }", "no ISTs in 32-bit mode"],
    ["rsp0: true", "ist: «1", "no ISTs in 32-bit mode"],
    ["cpu: intel", "cr4: «0x20", "expected PAE (bit 5) to be clear"],
    ["cpu: intel", "efer: «0x500", "expected LME (bit 8) and LMA (bit 10) to be clear"],
    ["registers: { eax: 1 }", "registers: { gs_base: «1 }", "no register gs_base in 32-bit mode"],
    ["registers: { eax: 1 }", "registers: { eax: «0x100000000 }", "is not an address of 32 bits"],
    ["properties: [resume]", "properties: [«gs-base]", "gs-base belongs to 64-bit mode"],
    ["size: 64", "size: 64, address: «0xffffffff", "outside the 32-bit addresses"],
  ])("%s -> %s: %s", (from, to, message) => {
    if (!narrow.includes(from)) throw new Error(`not in the base: ${from}`);
    check(narrow.replace(from, to), message);
  });
});

describe("files and folders", () => {
  const message = (action: () => unknown) => formatDiagnostic(failure(action));

  it("says what is missing", () => {
    mkdirSync(join(folder, "empty"), { recursive: true });
    expect(message(() => loadScenario(join(folder, "none")))).toContain(
      "none does not exist; expected a scenario file",
    );
    expect(message(() => loadScenario(join(folder, "empty")))).toContain("no scenario.yaml in folder");
    expect(message(() => listScenarios(join(folder, "empty")))).toContain("no scenario (*.yaml) in folder");
    expect(message(() => listScenarios(join(folder, "none")))).toContain("is not a folder");
  });

  it("errors in an extended file point to it", () => {
    put(
      "deep/base.yaml",
      BASE.replace("code: entry.S", "code: ../entry.S").replace("fixups: [pf_entry]", "fixups: [nothing]"),
    );
    put("deep/scenario.yaml", "extends: base.yaml\ntitle: over\nprogram: usr\n");
    expect(message(() => loadScenario(join(folder, "deep")))).toMatch(
      /deep\/scenario.yaml:3:10: error: program: no program "usr"/,
    );
    put("deep/scenario.yaml", "extends: base.yaml\nstacks: { nmi: { size: 100 } }\n");
    expect(message(() => loadScenario(join(folder, "deep")))).toMatch(
      /deep\/scenario.yaml:2:24: error: stacks.nmi.size/,
    );
    put("deep/scenario.yaml", "extends: base.yaml\n");
    expect(message(() => loadScenario(join(folder, "deep")))).toMatch(
      /deep\/base.yaml:\d+:10: error: fixups: no label "nothing"/,
    );
    put("deep/scenario.yaml", "extends: base.yaml\nfixups: null\n");
    expect(loadScenario(join(folder, "deep")).fixups).toEqual([]);
    put("deep/scenario.yaml", "extends: base.yaml\nfrom: null\n");
    expect(message(() => loadScenario(join(folder, "deep")))).toContain(
      "null removes an inherited key, but there is none",
    );
    put("deep/base.yaml", "extends: scenario.yaml\n");
    expect(message(() => loadScenario(join(folder, "deep")))).toContain("extends itself");
  });
});
