// Facts 4.22 to 4.25: faults while an event is delivered.

import { describe, expect, it } from "vitest";
import { Prop, Status } from "../../engine/abi.js";
import { type Setup, type World, world } from "./harness.js";

/** Programs that raise a first event of each class. */
const FIRST = {
  "#DE": [0, "xor %ecx, %ecx\ndiv %ecx"],
  "#NP": [11, "mov $0x60, %eax\nmov %eax, %ds"],
  "#SS": [12, "mov $0x58, %eax\nmov %eax, %ss"],
  "#GP": [13, "mov $0xfff8, %eax\nmov %eax, %ds"],
  "#PF": [14, "xor %eax, %eax\nmov (%rax), %rax"],
  "#UD": [6, "ud2"],
  INT3: [3, "int3"],
  "INT n": [0x20, "int $0x20"],
  INT1: [1, ".byte 0xf1"],
} as const;
type First = keyof typeof FIRST;

/** Ways to make the delivery of a vector raise a second event. */
const SECOND = {
  "#NP": (w: World, vector: number) => w.gate(vector, { present: false }),
  "#GP": (w: World, vector: number) => w.gate(vector, { selector: 0x18 }),
  "#TS": (w: World, vector: number) => w.gate(vector, { ist: 7 }),
  "#SS": (w: World, vector: number) => w.gate(vector, { ist: 6 }),
  "#PF": (w: World, vector: number) => w.gate(vector, { ist: 5 }),
} as const;
type Second = keyof typeof SECOND;
const VECTOR: Record<Second, number> = { "#TS": 10, "#NP": 11, "#SS": 12, "#GP": 13, "#PF": 14 };

function prepared(program: string, setup: Setup = {}): World {
  const w = world({ program, idt: { df: { ist: 3 } }, ...setup });
  w.descriptor(0x58, 0x13, 0xc);
  w.descriptor(0x60, 0x13, 0xc);
  w.write(w.symbol("cpu_tss") + 28n + 6n * 8n, 0x8000_0000_0000n);
  w.write(w.symbol("cpu_tss") + 28n + 5n * 8n, w.symbol("ist1_stack"));
  w.set("tr_limit", 28n + 7n * 8n - 1n); // IST 7 lies beyond it
  return w;
}

const BENIGN: readonly First[] = ["#UD", "INT3", "INT n", "INT1"];
const CONTRIBUTORY: readonly First[] = ["#DE", "#NP", "#SS", "#GP"];
const SECONDS = Object.keys(SECOND) as Second[];
const pairs = (firsts: readonly First[], seconds: readonly Second[]) =>
  firsts.flatMap((first) => seconds.map((second) => [first, second] as const)).filter(([a, b]) => a !== b);

describe("4.22 to 4.25 double and triple faults", () => {
  it.each(pairs(BENIGN, SECONDS))("4.22 benign %s then %s: serial", (first, second) => {
    const [vector, code] = FIRST[first];
    const w = prepared(`here: ${code}`);
    SECOND[second](w, vector);
    expect(w.untilDelivery()).toBe(VECTOR[second]);
    expect(w.frame({ error: true }).rip).toBe(w.symbol("here"));
  });

  it.each([
    ["nmi", 2],
    ["intr", 0x20],
    ["mce", 18],
    ["db", 1],
  ] as const)("4.22 4.24 %s is a benign first event: its delivery's fault is an ordinary one, and it is gone", (event, vector) => {
    for (const second of SECONDS) {
      const w = prepared("again: nop\njmp again");
      SECOND[second](w, vector);
      w.inject(event);
      if (w.delivered < 0) w.step();
      expect(w.delivered).toBe(VECTOR[second]);
      w.run("again");
      expect(w.trail(2)).toEqual(["again", "again+1"]);
    }
  });

  it.each(
    pairs(CONTRIBUTORY, ["#NP", "#GP", "#TS", "#SS"]),
  )("4.22 contributory %s then contributory %s: #DF", (first, second) => {
    const [vector, code] = FIRST[first];
    const w = prepared(code);
    SECOND[second](w, vector);
    expect(w.untilDelivery()).toBe(8);
    expect(w.rsp).toBe(w.symbol("ist3_stack_top") - 48n);
  });

  it.each(
    CONTRIBUTORY,
  )("4.22 contributory %s then #PF: serial, the first event is lost and re-raised on return", (first) => {
    const [vector, code] = FIRST[first];
    const w = prepared(code);
    SECOND["#PF"](w, vector);
    expect(w.untilDelivery()).toBe(14);
    expect(w.reg("cr2")).toBe(w.symbol("ist1_stack") - 8n);
    w.write(w.symbol("cpu_tss") + 28n + 5n * 8n, w.symbol("ist1_stack_top"));
    expect(w.untilDelivery()).toBe(vector);
  });

  it.each(SECONDS)("4.22 #PF then %s: #DF", (second) => {
    const w = prepared(FIRST["#PF"][1]);
    SECOND[second](w, 14);
    expect(w.untilDelivery()).toBe(8);
  });

  it("4.22 the second event of a benign first one is a first one in its turn", () => {
    const w = prepared("ud2");
    SECOND["#NP"](w, 6);
    SECOND["#GP"](w, 11);
    expect(w.untilDelivery()).toBe(8);
    const v = prepared("ud2");
    SECOND["#NP"](v, 6);
    SECOND["#PF"](v, 11);
    expect(v.untilDelivery()).toBe(14);
  });

  it("4.25 #DF pushes the error code 0", () => {
    const w = prepared(FIRST["#GP"][1]);
    SECOND["#NP"](w, 13);
    w.untilDelivery();
    expect(w.frame({ error: true })).toMatchObject({ error: 0n, cs: 0x10n, ss: 0x18n });
  });

  it("12.2 a #PF that becomes #DF writes CR2", () => {
    const w = prepared("mov $0x1234, %eax\nmov (%rax), %rax");
    SECOND["#NP"](w, 14);
    expect(w.untilDelivery()).toBe(8);
    expect(w.reg("cr2")).toBe(0x1234n);
  });

  it.each(SECONDS)("4.23 %s while #DF is delivered shuts the CPU down", (second) => {
    const w = prepared(FIRST["#GP"][1]);
    SECOND["#NP"](w, 13);
    SECOND[second](w, 8);
    w.step(2);
    expect(w.shutdown).toBe(true);
    expect(w.step()).toBe(Status.STOPPED);
  });

  it("4.23 no-shutdown names it, and the double fault before it unless it is handled", () => {
    const properties = [Prop.NO_SHUTDOWN];
    const handled = prepared(FIRST["#GP"][1], { properties });
    SECOND["#NP"](handled, 13);
    SECOND["#NP"](handled, 8);
    handled.step();
    expect(handled.step()).toBe(Status.VIOLATION);
    expect(handled.machine.engine.property()).toBe(Prop.NO_SHUTDOWN);
    const fatal = prepared(FIRST["#GP"][1], { properties, scenario: { "double-fault": "fatal" } });
    SECOND["#NP"](fatal, 13);
    fatal.step();
    expect(fatal.step()).toBe(Status.VIOLATION);
  });

  it("12.6 an exception on a stack that user code points to a user page: #PF, and on that stack again #DF", () => {
    const w = prepared("again: nop", { memory: { pages: { size: 4096, user: true } } });
    w.set("rsp", w.symbol("pages") + 4096n);
    w.inject("db");
    expect(w.delivered).toBe(8);
    expect(w.rsp).toBe(w.symbol("ist3_stack_top") - 48n);
    expect(w.reg("cr2")).toBe(w.symbol("pages") + 4088n);
  });
});
