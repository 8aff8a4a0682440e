// The scenario file: the one definition from which its TypeScript types, its checks and docs/scenario.schema.json come.
// Numbers are bigints, because the reader keeps addresses exact.

import * as v from "valibot";
import { EVENTS, GENERAL_NAMES, REGISTER_NAMES, suggestion, VECTORS } from "./names.js";
import { PROPERTY_NAMES } from "./properties.js";
import { THREAT_NAMES } from "./threats.js";

/** Names of stacks, regions, programs, rules: usable as (part of) a symbol. */
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;

const text = (what: string) => v.string(`expected ${what}`);
const filled = (what: string) => v.pipe(text(what), v.nonEmpty(`expected ${what}`));
const bool = () => v.boolean("expected true or false");
const oneOf = <const T extends readonly string[]>(words: T) => v.picklist(words, `expected ${enumerate(words)}`);

function integer(what: string, low: bigint, high: bigint) {
  const message = `expected ${what}`;
  return v.pipe(v.bigint(message), v.minValue(low, message), v.maxValue(high, message));
}

const ADDRESS = "expected an address: a label, a number, or a sum like label+8";

/** Number or expression over symbols. */
const address = () =>
  v.union(
    [
      v.pipe(v.bigint(ADDRESS), v.minValue(0n, ADDRESS), v.maxValue(0xffff_ffff_ffff_ffffn, ADDRESS)),
      v.pipe(v.string(ADDRESS), v.nonEmpty(ADDRESS)),
    ],
    ADDRESS,
  );
const list = <S extends v.GenericSchema>(item: S, what: string) => v.array(item, `expected a list of ${what}`);
const pair = <A extends v.GenericSchema, B extends v.GenericSchema>(first: A, second: B, what: string) =>
  guarded(v.strictTuple([first, second], `expected ${what}`), (input) => !Array.isArray(input) || input.length === 2);

/** The schema with a test in front of it; what fails has the schema's own message. */
function guarded<S extends v.GenericSchema & { readonly message: unknown }>(
  schema: S,
  test: (value: unknown) => boolean,
): S {
  const run: S["~run"] = (dataset, config) => {
    if (test(dataset.value)) return schema["~run"](dataset, config);
    v._addIssue(schema as never, "type", dataset, config as never);
    return dataset as never;
  };
  return { ...schema, "~run": run };
}

/** Valibot takes a list for a record whose keys are numbers; in a scenario file it is none. */
const record = <K extends v.GenericSchema<string, string>, S extends v.GenericSchema>(
  key: K,
  value: S,
  message: string,
) => guarded(v.record(key, value, message), (input) => !Array.isArray(input));

const named = <S extends v.GenericSchema>(value: S, what: string) =>
  record(
    v.pipe(v.string(), v.regex(NAME, "expected a name of letters, digits, _, . and -")),
    value,
    `expected a map from ${what}`,
  );

/** A map with these keys and no others. */
function map<const E extends v.ObjectEntries>(entries: E, what: string) {
  return v.strictObject(entries, (issue) => {
    if (issue.expected === "Object") return `expected ${what}`;
    const key = JSON.parse(issue.expected === "never" ? issue.received : (issue.expected ?? '""')) as string;
    if (issue.expected !== "never") return `missing key "${key}"`;
    const keys = Object.keys(entries);
    return `unknown key "${key}"${suggestion(key, keys) || `; expected ${enumerate(keys)}`}`;
  });
}

function enumerate(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

const describe = <S extends v.GenericSchema>(schema: S, description: string) =>
  v.optional(v.pipe(schema, v.description(description)));

const SIZE = "a size in bytes (1 to 64 MiB)";
const size = () => integer(SIZE, 1n, 0x400_0000n);
/** An idle stack is forgotten word by word, which the undo log must hold. */
const STACK_SIZE = "a size in bytes (1 to 1 MiB)";
const stackSize = () => integer(STACK_SIZE, 1n, 0x10_0000n);
const number64 = (what: string) => integer(what, 0n, 0xffff_ffff_ffff_ffffn);

const program = map(
  {
    cpl: v.optional(
      v.pipe(
        integer("0 or 3", 0n, 3n),
        v.check((cpl) => cpl === 0n || cpl === 3n, "expected 0 or 3"),
      ),
    ),
    code: v.pipe(filled("assembly text"), v.description("Assembly. CPL 3: put on a user page; CPL 0: kernel text.")),
    start: describe(address(), "First instruction; default: the first byte of `code`."),
    stack: describe(
      v.union([stackSize(), filled("a name")], `expected ${STACK_SIZE} or the name of a declared stack`),
      "Size of the stack it runs on, or (CPL 0) the name of a declared stack.",
    ),
    registers: describe(
      map(
        Object.fromEntries(REGISTER_NAMES.map((name) => [name, v.optional(address())])),
        "a map from register to value",
      ),
      "Values at the start. General registers that are missing get fixed distinct values.",
    ),
  },
  "a program: a map with `code`",
);

const gate = v.union(
  [
    filled("a label"),
    map(
      {
        entry: filled("a label"),
        ist: v.optional(integer("an IST number, 1 to 7", 1n, 7n)),
        type: v.optional(oneOf(["interrupt", "trap"])),
        dpl: v.optional(integer("a privilege level, 0 to 3", 0n, 3n)),
      },
      "a gate: a label, or a map with `entry`",
    ),
  ],
  "expected a gate: a label, or a map with `entry`",
);

const VECTOR_KEY = `expected a vector: ${[...VECTORS.keys()].join(" ")}, or a number from 0 to 255`;
const vectorKey = v.pipe(
  v.string(),
  v.check((key) => VECTORS.has(key) || (/^\d+$/.test(key) && Number(key) < 256), VECTOR_KEY),
);

const tables = map(
  {
    idt: describe(record(vectorKey, gate, "expected a map from vector to gate"), "Gates by vector (name or number)."),
    syscall: describe(address(), "Entry of SYSCALL (LSTAR)."),
    fmask: describe(number64("a mask"), "RFLAGS bits that SYSCALL clears; default 0x47700."),
    sysenter: describe(address(), "Entry of SYSENTER; needs `sysenter-stack`."),
    "sysenter-stack": describe(filled("the name of a declared stack"), "Stack whose high end SYSENTER loads."),
    gs: describe(
      map({ kernel: v.optional(address()), user: v.optional(address()) }, "a map with `kernel` and `user`"),
      "GS bases; the kernel's defaults to the region `percpu`.",
    ),
  },
  "a map of tables",
);

const stack = map(
  {
    size: v.pipe(stackSize(), v.description("Bytes, a multiple of 16.")),
    address: describe(address(), "Low end; default: placed by the layout, with a guard page below."),
    ist: describe(integer("an IST number, 1 to 7", 1n, 7n), "The TSS's IST slot that points to its high end."),
    rsp0: describe(bool(), "The TSS's RSP0 (ESP0) points to its high end."),
    persistent: describe(
      list(
        pair(
          integer("an offset", -0x400_0000n, 0n),
          integer("an offset", -0x400_0000n, 0n),
          "a pair [low, high) of offsets from the stack's high end, at most 0",
        ),
        "pairs [low, high) of offsets from the stack's high end",
      ),
      "Bytes that outlive an activity: [low, high) offsets from the high end.",
    ),
  },
  "a stack: a map with `size`",
);

const region = map(
  {
    size: describe(size(), "Bytes; default: the length of `data`."),
    address: describe(address(), "Default: placed by the layout."),
    user: describe(bool(), "Accessible at CPL 3."),
    writable: describe(bool(), "Default true."),
    executable: describe(bool(), "Default false."),
    data: describe(filled("assembly text"), "Initial contents as assembly (.quad and so on); the rest is zero."),
  },
  "a region: a map with `size` or `data`",
);

const AREA = "expected body, user, kernel, entry, program, a pair [low, high) of addresses, or a list of those";
const area = v.union([filled("a word"), pair(address(), address(), "a pair of addresses")], AREA);
const EVENT_WORDS = [...EVENTS.keys()];
const event = v.union(
  [
    v.literal("anywhere", "expected anywhere"),
    map(
      {
        event: describe(oneOf(EVENT_WORDS), "The event; default: the rule's name."),
        in: describe(
          v.union([filled("a word"), v.array(v.union([area, address()], AREA), AREA)], AREA),
          "Where it may strike: body, user, kernel, entry, program, [low, high], or a list of those; default: anywhere.",
        ),
        limit: describe(integer("a number of times, 1 to 255", 1n, 255n), "How often at the most."),
        vector: describe(integer("a vector, 0 to 255", 0n, 255n), "intr: the vector."),
        address: describe(address(), "pf: the faulting address."),
        error: describe(integer("an error code, 0 to 0xffff", 0n, 0xffffn), "pf: the error code."),
        "while-mcip": describe(bool(), "mce: may also strike while MCG_STATUS.MCIP is set."),
      },
      "anywhere, or a map with `in`",
    ),
  ],
  "expected anywhere, or a map with `in`",
);

const PROPERTY = "expected the name of a property";
const propertyName = v.picklist(
  PROPERTY_NAMES,
  (issue) => `${PROPERTY}${suggestion(unquote(issue.received), PROPERTY_NAMES)}`,
);
const verdictWord = v.picklist(["holds", ...PROPERTY_NAMES], "expected holds or the name of a property");
const count = integer("a number of events", 0n, 1000n);

const body = map(
  {
    start: v.pipe(address(), v.description("First instruction of the NMI handler's body.")),
    end: v.pipe(address(), v.description("First boundary at which it has ended.")),
    regs: describe(
      v.union(
        [
          oneOf(GENERAL_NAMES),
          map(
            {
              pointer: oneOf(GENERAL_NAMES),
              layout: list(filled("the name of a register, or -"), "register names in ascending order"),
            },
            "a register, or a map with `pointer` and `layout`",
          ),
        ],
        "expected a register that points to a pt_regs, or a map with `pointer` and `layout`",
      ),
      "Register that points to the frame given to the body.",
    ),
  },
  "a map with `start` and `end`",
);

const labels = (description: string) => describe(list(address(), "labels"), description);

export const scenarioSchema = map(
  {
    title: describe(filled("one line of text"), "One line."),
    from: describe(filled("text"), "Where the idea comes from."),
    extends: describe(filled("the path of a scenario file"), "Start from that file; null removes a key."),
    code: v.pipe(
      v.union(
        [filled("a path"), v.pipe(list(filled("a path"), "paths"), v.nonEmpty("expected at least one path"))],
        "expected the path of an assembly file, ELF object or ELF executable, or a list of them",
      ),
      v.description("Assembly, ELF object or ELF executable; or a list of assembly and object files."),
    ),
    define: describe(named(number64("a number"), "symbol to number"), "Absolute symbols given to the assembler."),
    stubs: describe(filled("assembly text"), "Assembly put beside the code: what an object leaves undefined."),
    mode: describe(
      v.pipe(
        integer("32 or 64", 32n, 64n),
        v.check((mode) => mode === 32n || mode === 64n, "expected 32 or 64"),
      ),
      "Default 64.",
    ),
    cpu: describe(oneOf(["intel", "amd"]), "Default intel."),
    programs: v.pipe(
      named(program, "name to program"),
      v.minEntries(1, "expected at least one program"),
      v.description("Interrupted programs; the first is the default."),
    ),
    program: describe(filled("the name of a program"), "Which program runs."),
    tables: describe(tables, "IDT, SYSCALL, SYSENTER, GS bases."),
    stacks: describe(named(stack, "name to stack"), "Kernel stacks."),
    memory: describe(named(region, "name to region"), "Further regions; the name becomes a symbol."),
    cr0: describe(number64("a number"), "Default 0x80050033."),
    cr4: describe(number64("a number"), "Default: see the documentation."),
    efer: describe(number64("a number"), "Default 0xd01; 0 in 32-bit mode."),
    discarded: describe(
      list(
        pair(address(), integer("a size from 1 to 4096", 1n, 4096n), "a pair [address, size]"),
        "pairs [address, size]",
      ),
      "Memory whose writes are dropped and whose reads give zero.",
    ),
    events: describe(named(event, "rule name to rule"), "What may strike, and where; default: nmi anywhere."),
    body: describe(body, "The body of the NMI handler."),
    properties: describe(list(propertyName, "properties"), "What must hold."),
    fixups: labels("Where a context whose own instruction faulted may go on."),
    "resume-ret": labels("Near RETs that give control back to a context."),
    unreached: labels("Labels that must not be reached."),
    "double-fault": describe(oneOf(["fatal", "handled"]), "Default fatal."),
    "syscall-clobbers": describe(
      list(oneOf(GENERAL_NAMES), "registers"),
      "Registers that a system call may change; default rax, rcx, r11.",
    ),
    assumptions: describe(list(filled("a sentence"), "sentences"), "Printed with the verdict."),
    expect: describe(
      v.union(
        [
          v.literal("holds", "expected holds"),
          map(
            { verdict: oneOf(["holds", "violated"]), property: v.optional(propertyName), events: v.optional(count) },
            "holds, or a map with `verdict`",
          ),
        ],
        "expected holds, or a map with `verdict`",
      ),
      "Expected verdict, checked by tests.",
    ),
    threats: describe(
      named(
        record(
          v.picklist(
            THREAT_NAMES,
            (issue) =>
              `expected a threat: ${THREAT_NAMES.join(", ")}${suggestion(unquote(issue.received), THREAT_NAMES)}`,
          ),
          v.union(
            [verdictWord, map({ property: propertyName, events: v.optional(count) }, "a map with `property`")],
            "expected holds, the name of a property, or a map with `property` and `events`",
          ),
          "expected a map from threat to verdict",
        ),
        "program to verdicts",
      ),
      "Expected verdicts: program -> threat -> verdict.",
    ),
  },
  "a map",
);

function unquote(received: string): string {
  return received.replace(/^"|"$/g, "");
}

export type ScenarioFile = v.InferOutput<typeof scenarioSchema>;
export type EventFile = v.InferOutput<typeof event>;
export type ProgramFile = v.InferOutput<typeof program>;
export type StackFile = v.InferOutput<typeof stack>;
export type RegionFile = v.InferOutput<typeof region>;
export type GateFile = v.InferOutput<typeof gate>;
