// What the file claims and takes for granted: the body, events, properties, and what they rest on.

import { InputError } from "../diagnostic.js";
import { Prop, type Reg } from "../engine/abi.js";
import type { Image } from "../image/image.js";
import type { Context } from "./context.js";
import { eventRules, type NamedRule } from "./events.js";
import type { Layout } from "./layout.js";
import { frameRegisters, generalRegisters, PT_REGS, suggestion } from "./names.js";
import { OPT_IN, PROPERTIES, propertyByName } from "./properties.js";
import type { ScenarioSource } from "./read.js";
import type { EventFile } from "./schema.js";
import type { Gate } from "./tables.js";
import { THREAT_NAMES, threatByName } from "./threats.js";
import type { Body, Range, Stack } from "./types.js";

const DEFAULT_EVENTS: Readonly<Record<string, EventFile>> = { nmi: "anywhere" };

/** Where the body starts and ends, and the register frame that it is given. */
export function handlerBody(context: Context): Body | undefined {
  const file = context.source.value.body;
  if (file === undefined) return undefined;
  const start = context.address(file.start, ["body", "start"]);
  const end = context.address(file.end, ["body", "end"]);
  if (end <= start)
    throw context.error(
      ["body", "end"],
      `expected an address above body.start (0x${start.toString(16)}), found 0x${end.toString(16)}`,
    );
  if (file.regs === undefined) return { start, end };
  const { mode } = context;
  const general = generalRegisters(mode);
  const pointerName = typeof file.regs === "string" ? file.regs : file.regs.pointer;
  const pointer = general.get(pointerName);
  if (pointer === undefined) {
    throw context.error(
      typeof file.regs === "string" ? ["body", "regs"] : ["body", "regs", "pointer"],
      `no register ${pointerName} in ${mode}-bit mode`,
    );
  }
  const names = typeof file.regs === "string" ? PT_REGS[mode] : file.regs.layout;
  const known = frameRegisters(mode);
  const layout: (readonly [Reg, number])[] = [];
  names.forEach((name, index) => {
    const path = ["body", "regs", "layout", index];
    if (!known.has(name))
      throw context.error(
        path,
        `expected the name of a register, or -, found "${name}"${suggestion(name, known.keys())}`,
      );
    const reg = known.get(name);
    if (reg === undefined) return;
    if (layout.some(([other]) => other === reg)) throw context.error(path, `register ${name} stands twice`);
    layout.push([reg, index * (mode / 8)]);
  });
  return { start, end, regs: { pointer, layout } };
}

/** The rules of the file's events, or of the built-in threat in their place. */
export function scenarioEvents(
  context: Context,
  threatName: string | undefined,
  body: Body | undefined,
  gates: readonly Gate[],
): NamedRule[] {
  const { source } = context;
  const vectors = new Set(gates.map(({ vector }) => vector));
  if (threatName === undefined) {
    const events = source.value.events ?? DEFAULT_EVENTS;
    return eventRules(context, events, body, vectors, ["events"], undefined);
  }
  const threat = threatByName(threatName);
  if (threat === undefined) {
    throw new InputError(
      `no threat "${threatName}"${suggestion(threatName, THREAT_NAMES) || `; expected one of ${THREAT_NAMES.join(", ")}`}`,
    );
  }
  return eventRules(context, threat.events, body, vectors, ["tables", "idt"], threatName);
}

/** What a property cannot do without, in words; undefined: nothing is missing. */
function missingFor(prop: Prop, mode: 32 | 64, body: Body | undefined): string | undefined {
  if ((prop === Prop.NMI_SERVED || prop === Prop.NMI_REENTRY) && body === undefined) return "needs `body`";
  if (prop === Prop.HANDLER_REGS && body?.regs === undefined) return "needs `body` with `regs`";
  if (prop === Prop.GS_BASE && mode === 32) return "belongs to 64-bit mode";
  return undefined;
}

/** The properties to check, in the order of their numbers; `stale-read` always. InputError: one that lacks what it needs. */
export function chosenProperties(context: Context, body: Body | undefined): Set<Prop> {
  const { value } = context.source;
  const labels = (value.unreached ?? []).length > 0;
  const chosen = new Set<Prop>();
  if (value.properties === undefined) {
    for (const { prop } of PROPERTIES) {
      if (!OPT_IN.has(prop) && prop !== Prop.UNREACHED && missingFor(prop, context.mode, body) === undefined)
        chosen.add(prop);
    }
  } else {
    value.properties.forEach((name, index) => {
      const text = propertyByName(name);
      if (text === undefined) return;
      const lack =
        text.prop === Prop.UNREACHED && !labels
          ? "needs labels under `unreached`"
          : missingFor(text.prop, context.mode, body);
      if (lack !== undefined) throw context.error(["properties", index], `${name} ${lack}`);
      chosen.add(text.prop);
    });
  }
  chosen.add(Prop.STALE_READ);
  if (labels) chosen.add(Prop.UNREACHED);
  return new Set([...chosen].sort((a, b) => a - b));
}

/** RET and RET imm16, with or without a REP prefix in front. */
export function resumeRets(context: Context, image: Image): bigint[] {
  const byteAt = (address: bigint) => {
    const section = image.sections.find(
      ({ address: low, bytes }) => low <= address && address < low + BigInt(bytes.length),
    );
    return section?.bytes[Number(address - section.address)];
  };
  return context.addresses(context.source.value["resume-ret"], ["resume-ret"]).map((address, index) => {
    const first = byteAt(address);
    const opcode = first === 0xf3 || first === 0xf2 ? byteAt(address + 1n) : first;
    if (opcode !== 0xc3 && opcode !== 0xc2) {
      throw context.error(
        ["resume-ret", index],
        `expected the address of a near RET, found ${opcode === undefined ? "no code" : "another instruction"} at 0x${address.toString(16)}`,
      );
    }
    return address;
  });
}

/** The general registers that a system call may change. */
export function clobbers(context: Context): Set<Reg> {
  const general = generalRegisters(context.mode);
  const names =
    context.source.value["syscall-clobbers"] ?? (context.mode === 64 ? ["rax", "rcx", "r11"] : ["eax", "ecx", "edx"]);
  return new Set(
    names.map((name, index) => {
      const reg = general.get(name);
      if (reg === undefined)
        throw context.error(["syscall-clobbers", index], `no register ${name} in ${context.mode}-bit mode`);
      return reg;
    }),
  );
}

/** Bytes inside stacks that outlive an activity. The file counts them from the high end. */
export function persistentRanges(source: ScenarioSource, stacks: readonly Stack[]): Range[] {
  return stacks.flatMap((stack) => {
    const file = stack.user === true ? undefined : source.value.stacks?.[stack.name];
    return (file?.persistent ?? []).map(([low, high], index) => {
      const path = ["stacks", stack.name, "persistent", index];
      if (low >= high) throw source.error(path, `expected low below high, found ${low} and ${high}`);
      const size = stack.high - stack.low;
      if (low < -size) throw source.error(path, `${low} lies outside the stack of ${size} bytes`);
      return { low: stack.high + low, high: stack.high + high };
    });
  });
}

/** Words whose writes are dropped. InputError: outside mapped memory. */
export function discardedRanges(context: Context, layout: Layout): Range[] {
  return (context.source.value.discarded ?? []).map(([address, size], index) => {
    const low = context.address(address, ["discarded", index, 0]);
    const high = low + size;
    if (!layout.mappings.some((mapping) => mapping.low <= low && high <= mapping.high)) {
      throw context.error(
        ["discarded", index],
        `0x${low.toString(16)} and the ${size} bytes from there are not in the scenario's memory`,
      );
    }
    return { low, high };
  });
}

/** What the file's own choices take for granted, in words. */
export function derivedAssumptions(source: ScenarioSource, rules: readonly NamedRule[]): string[] {
  const { value } = source;
  const events = rules.flatMap(({ rule, where }) => {
    const times = rule.limit === undefined ? "" : ` at most ${rule.limit === 1 ? "once" : `${rule.limit} times`}`;
    if (where === "anywhere" && times === "") return [];
    return [`${rule.name} strikes${times} ${where === "anywhere" ? where : `only in ${where}`}`];
  });
  const discarded = (value.discarded ?? []).map(([address, size]) => {
    const place = typeof address === "bigint" ? `0x${address.toString(16)}` : address;
    return `writes to ${place} (${size} bytes) are dropped, and reads give zero`;
  });
  const persistent = Object.entries(value.stacks ?? {}).flatMap(([name, stack]) =>
    (stack.persistent ?? []).map(
      ([low, high]) => `stack ${name} keeps its bytes from ${low} to ${high} between activities`,
    ),
  );
  const handled = value["double-fault"] === "handled" ? ["the handler of #DF survives it"] : [];
  return [...events, ...discarded, ...persistent, ...handled].map((text) => text.replace(/\s+/g, " "));
}
