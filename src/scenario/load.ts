// From a scenario file to everything the checker needs.

import { basename, dirname, resolve } from "node:path";
import { InputError } from "../diagnostic.js";
import { Prop, type Reg } from "../engine/abi.js";
import type { Image } from "../image/image.js";
import { link, resolveSymbols } from "../image/link.js";
import { Context, joinRanges } from "./context.js";
import { eventRules, type NamedRule } from "./events.js";
import { expectations, expected } from "./expect.js";
import { type Layout, type LayoutRequest, layOut, PAGE, type Part } from "./layout.js";
import { loadParts } from "./modules.js";
import { frameRegisters, generalRegisters, PT_REGS, suggestion, VECTORS } from "./names.js";
import { buildPaging, type PhysicalMemory } from "./paging.js";
import { OPT_IN, PROPERTIES, propertyByName } from "./properties.js";
import { readScenario, type ScenarioSource, scenarioPath } from "./read.js";
import type { EventFile, ProgramFile } from "./schema.js";
import { controlRegisters, noExecute, startRegisters } from "./start.js";
import { descriptors, type Gate, gdtBytes, idtBytes, tssBytes } from "./tables.js";
import { THREAT_NAMES, threatByName } from "./threats.js";
import type { Body, Range, Scenario, Stack } from "./types.js";

export interface LoadOptions {
  /** the interrupted program; default: the file's `program`, or its first */
  readonly program?: string;
  /** a built-in threat in place of the file's events */
  readonly threat?: string;
}

const DEFAULT_EVENTS: Readonly<Record<string, EventFile>> = { nmi: "anywhere" };
const DEFAULT_STACK = 4096n;
/** #BP and #OF are for INT3 and INTO at CPL 3 (fact 4.2). */
const USER_VECTORS: ReadonlySet<number> = new Set([3, 4]);

/**
 * Loads a scenario. `path`: a scenario file, or a folder with scenario.yaml. InputError, with file, line and column, for
 * everything that is wrong in the file, the code, or what they say about each other.
 */
export function loadScenario(path: string, options: LoadOptions = {}): Scenario {
  const file = scenarioPath(path);
  const source = readScenario(file);
  const { value } = source;
  const mode = Number(value.mode ?? 64n) as 32 | 64;
  const programName = chooseProgram(source, options.program);
  const program = value.programs[programName] as ProgramFile;
  const programPath = ["programs", programName];
  const cpl = Number(program.cpl ?? 3n) as 0 | 3;
  const parts = loadParts(source, mode, programName, program);
  const layout = layOut(
    {
      mode,
      parts,
      stacks: value.stacks ?? {},
      memory: value.memory ?? {},
      percpu: value.tables?.gs?.kernel === undefined,
      ...programStack(source, programName, program, cpl),
    },
    source,
  );
  const modules = parts.map((part) => part.module);
  const linking = { mode, symbols: layout.symbols };
  const image = link(modules, layout.placement, linking);
  const areas = codeAreas(parts, layout);
  const context = new Context(source, mode, resolveSymbols(modules, layout.placement, linking), areas);

  const stack = startStack(source, programName, program, cpl, layout);
  const gates = idtGates(context);
  checkStackUse(context, gates, cpl);
  const gs = gsBases(context);
  const segments = descriptors(mode, layout.tables.tss, gs.kernel);
  const idt = idtBytes(mode, gates);
  const gdt = gdtBytes(mode, segments);
  const control = controlRegisters(context, value);
  const memory = physicalMemory(source, mode, layout, noExecute(control));
  const contents = [
    ...image.sections.map(({ address, bytes }) => ({ address, bytes })),
    { address: layout.tables.idt, bytes: idt },
    { address: layout.tables.gdt, bytes: gdt },
    { address: layout.tables.tss, bytes: taskState(source, mode, layout.stacks) },
  ];

  const body = handlerBody(context);
  const rules = scenarioEvents(context, options.threat, body, gates);
  const properties = chosenProperties(context, body);
  const threats = expectations(source);
  const expect = expected(source, threats, programName, options);
  const programStart = context.areas.program[0]?.low ?? 0n;
  const start =
    program.start === undefined
      ? firstByte(parts, layout, programStart)
      : context.address(program.start, [...programPath, "start"]);
  if (program.start !== undefined && !context.areas.program.some(({ low, high }) => low <= start && start < high)) {
    throw source.error([...programPath, "start"], `0x${start.toString(16)} is not in the program's code`);
  }
  return {
    name: scenarioName(file),
    title: value.title ?? scenarioName(file),
    file,
    mode,
    cpu: value.cpu ?? "intel",
    memory: { size: memory.size, chunks: chunks(memory, contents) },
    registers: startRegisters(context, {
      program,
      programPath,
      cpl,
      start,
      stack,
      control,
      cr3: memory.cr3,
      tables: layout.tables,
      idtLimit: idt.length - 1,
      gdtLimit: gdt.length - 1,
      descriptors: segments,
      gs,
      stacks: layout.stacks,
      rules: rules.map(({ rule }) => rule),
    }),
    cpl,
    stacks: layout.stacks,
    persistent: persistentRanges(source, layout.stacks),
    discarded: discardedRanges(context, layout),
    text: areas.kernel,
    entry: areas.entry,
    events: rules.map(({ rule }) => rule),
    properties,
    ...(body === undefined ? {} : { body }),
    fixups: context.addresses(value.fixups, ["fixups"]),
    resumeRets: resumeRets(context, image),
    unreached: context.addresses(value.unreached, ["unreached"]),
    ...(mode === 64 ? { kernelGs: gs.kernel, userGs: userGs(context, program, cpl, programPath, gs.user) } : {}),
    survivesDoubleFault: value["double-fault"] === "handled",
    syscallClobbers: clobbers(context),
    image,
    assumptions: [...(value.assumptions ?? []), ...derivedAssumptions(source, rules)],
    ...(expect === undefined ? {} : { expect }),
    program: programName,
    programs: Object.keys(value.programs),
    threats,
    ...(value.from === undefined ? {} : { from: value.from }),
  };
}

/** The folder's name; for another file than scenario.yaml, with the file's name after it. */
export function scenarioName(file: string): string {
  const folder = basename(dirname(resolve(file)));
  const stem = basename(file).replace(/\.ya?ml$/, "");
  return stem === "scenario" ? folder : `${folder}/${stem}`;
}

function chooseProgram(source: ScenarioSource, wanted: string | undefined): string {
  const { value } = source;
  const names = Object.keys(value.programs);
  const name = wanted ?? value.program ?? (names[0] as string);
  if (names.includes(name)) return name;
  const text = `no program "${name}"${suggestion(name, names) || `; expected one of ${names.join(", ")}`}`;
  if (wanted === undefined) throw source.error(["program"], text);
  throw new InputError(text, source.locateKey(["programs"]));
}

/** A program has a stack of its own unless it names a declared one. */
function programStack(
  source: ScenarioSource,
  name: string,
  program: ProgramFile,
  cpl: 0 | 3,
): Pick<LayoutRequest, "programStack"> {
  const path = ["programs", name, "stack"];
  const size = program.stack ?? DEFAULT_STACK;
  const stackName = cpl === 3 ? "user" : name;
  if (typeof size === "string") {
    if (cpl === 3) throw source.error(path, "a user program has a stack of its own; expected its size in bytes");
    const names = Object.keys(source.value.stacks ?? {});
    if (!names.includes(size)) throw source.error(path, `no stack "${size}" under stacks${suggestion(size, names)}`);
    return {};
  }
  if (source.value.stacks?.[stackName] !== undefined) {
    throw new InputError(
      `stacks.${stackName}: that is the name of the stack of program ${name}; expected another name`,
      source.locateKey(["stacks", stackName]),
    );
  }
  return { programStack: { name: stackName, size, user: cpl === 3, path } };
}

function startStack(source: ScenarioSource, name: string, program: ProgramFile, cpl: 0 | 3, layout: Layout): Stack {
  const wanted = typeof program.stack === "string" ? program.stack : cpl === 3 ? "user" : name;
  const stack = layout.stacks.find((entry) => entry.name === wanted);
  if (stack === undefined) throw source.error(["programs", name, "stack"], `no stack "${wanted}" under stacks`);
  return stack;
}

function codeAreas(parts: readonly Part[], layout: Layout): Context["areas"] {
  const ranges = (belongs: (part: Part) => boolean): Range[] =>
    parts.flatMap((part, index) =>
      part.module.sections.flatMap((section, number) => {
        const low = layout.placement[index]?.[number];
        if (low === undefined || section.bytes.length === 0 || !belongs(part)) return [];
        if (!section.executable || part.role === "region") return [];
        return [{ low, high: low + BigInt(section.bytes.length) }];
      }),
    );
  const executable = layout.mappings.filter((mapping) => mapping.executable && !mapping.user);
  return {
    user: joinRanges(ranges((part) => part.user)),
    kernel: joinRanges(executable.map(({ low, high }) => ({ low, high }))),
    entry: joinRanges(ranges((part) => part.role === "entry")),
    program: joinRanges(ranges((part) => part.role === "program")),
  };
}

/** The first byte of the program's `code` text is that of its first section with instructions. */
function firstByte(parts: readonly Part[], layout: Layout, otherwise: bigint): bigint {
  const index = parts.findIndex((part) => part.role === "program");
  const number =
    parts[index]?.module.sections.findIndex((section) => section.executable && section.bytes.length > 0) ?? -1;
  return layout.placement[index]?.[number] ?? otherwise;
}

function idtGates(context: Context): Gate[] {
  const { source, mode } = context;
  const stacks = Object.values(source.value.stacks ?? {});
  const gates = new Map<number, Gate>();
  for (const [key, file] of Object.entries(source.value.tables?.idt ?? {})) {
    const path = ["tables", "idt", key];
    const vector = VECTORS.get(key) ?? Number(key);
    if (gates.has(vector)) throw new InputError(`tables.idt: vector ${vector} stands twice`, source.locateKey(path));
    const gate = typeof file === "string" ? { entry: file } : file;
    const ist = Number(gate.ist ?? 0n);
    if (ist !== 0 && mode === 32) throw context.error([...path, "ist"], "there are no ISTs in 32-bit mode");
    if (ist !== 0 && !stacks.some((stack) => stack.ist === gate.ist)) {
      throw context.error([...path, "ist"], `no stack has \`ist: ${ist}\``);
    }
    gates.set(vector, {
      vector,
      offset: context.address(gate.entry, typeof file === "string" ? path : [...path, "entry"]),
      ist,
      type: gate.type ?? "interrupt",
      dpl: Number(gate.dpl ?? (USER_VECTORS.has(vector) ? 3n : 0n)),
    });
  }
  return [...gates.values()];
}

/** Events from user code need a stack: an IST or RSP0 (facts 4.6, 4.7). Also checks that no two stacks claim one TSS slot. */
function checkStackUse(context: Context, gates: readonly Gate[], cpl: 0 | 3): void {
  const { source, mode } = context;
  const owners = new Map<string, string>();
  for (const [name, stack] of Object.entries(source.value.stacks ?? {})) {
    const own = (slot: string, key: string) => {
      const other = owners.get(slot);
      if (other !== undefined) throw context.error(["stacks", name, key], `stack ${other} has ${slot} already`);
      owners.set(slot, name);
    };
    if (stack.ist !== undefined) {
      if (mode === 32) throw context.error(["stacks", name, "ist"], "there are no ISTs in 32-bit mode");
      own(`ist ${stack.ist}`, "ist");
    }
    if (stack.rsp0 === true) own("rsp0", "rsp0");
  }
  if (cpl === 3 && !owners.has("rsp0") && gates.some(({ ist }) => ist === 0)) {
    const gate = gates.find(({ ist }) => ist === 0);
    const key = Object.keys(source.value.tables?.idt ?? {}).find(
      (name) => (VECTORS.get(name) ?? Number(name)) === gate?.vector,
    );
    throw context.error(
      ["tables", "idt", key ?? ""],
      "a gate without `ist` needs a stack with `rsp0: true` when the program runs at CPL 3",
    );
  }
}

function taskState(source: ScenarioSource, mode: 32 | 64, stacks: readonly Stack[]): Uint8Array {
  let rsp0 = 0n;
  const ist = new Map<number, bigint>();
  for (const stack of stacks) {
    const file = stack.user === true ? undefined : source.value.stacks?.[stack.name];
    if (file?.rsp0 === true) rsp0 = stack.high;
    if (file?.ist !== undefined) ist.set(Number(file.ist), stack.high);
  }
  return tssBytes(mode, rsp0, ist);
}

/** Kernel and user GS base. In 32-bit mode `kernel` is the base of the per-CPU segment. */
function gsBases(context: Context): { kernel: bigint; user: bigint } {
  const file = context.source.value.tables?.gs ?? {};
  return {
    kernel: context.address(file.kernel ?? "percpu", ["tables", "gs", "kernel"]),
    user: context.address(file.user ?? 0n, ["tables", "gs", "user"]),
  };
}

/** A user program may start with a GS base of its own. */
function userGs(
  context: Context,
  program: ProgramFile,
  cpl: 0 | 3,
  path: readonly string[],
  otherwise: bigint,
): bigint {
  const own = cpl === 3 ? program.registers?.gs_base : program.registers?.kernel_gs_base;
  const key = cpl === 3 ? "gs_base" : "kernel_gs_base";
  return own === undefined ? otherwise : context.address(own, [...path, "registers", key]);
}

function physicalMemory(source: ScenarioSource, mode: 32 | 64, layout: Layout, nx: boolean): PhysicalMemory {
  try {
    return buildPaging(mode, layout.mappings, nx);
  } catch (error) {
    if (error instanceof RangeError) throw new InputError(error.message, { file: source.file });
    throw error;
  }
}

/** Page tables and contents by physical address; bytes that are zero all over a page are left out. */
function chunks(
  memory: PhysicalMemory,
  contents: ReadonlyArray<{ address: bigint; bytes: Uint8Array }>,
): Scenario["memory"]["chunks"] {
  const result: { physical: number; bytes: Uint8Array }[] = [];
  for (const { address, bytes } of contents) {
    for (let at = 0; at < bytes.length; ) {
      const linear = address + BigInt(at);
      const inPage = Number(linear % PAGE);
      const piece = bytes.subarray(at, Math.min(bytes.length, at + Number(PAGE) - inPage));
      const physical = memory.pages.get(linear - BigInt(inPage));
      if (physical !== undefined && piece.some((byte) => byte !== 0))
        result.push({ physical: physical + inPage, bytes: piece });
      at += piece.length;
    }
  }
  for (const [physical, bytes] of memory.tables) result.push({ physical, bytes });
  return result;
}

function persistentRanges(source: ScenarioSource, stacks: readonly Stack[]): Range[] {
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

function discardedRanges(context: Context, layout: Layout): Range[] {
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

function handlerBody(context: Context): Body | undefined {
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

function scenarioEvents(
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

function chosenProperties(context: Context, body: Body | undefined): Set<Prop> {
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
function resumeRets(context: Context, image: Image): bigint[] {
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

function clobbers(context: Context): Set<Reg> {
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

/** What the file's own choices take for granted, in words. */
function derivedAssumptions(source: ScenarioSource, rules: readonly NamedRule[]): string[] {
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
