// From a scenario file to everything the checker needs.

import { InputError } from "../diagnostic.js";
import { link, resolveSymbols } from "../image/link.js";
import {
  chosenProperties,
  clobbers,
  derivedAssumptions,
  discardedRanges,
  handlerBody,
  persistentRanges,
  resumeRets,
  scenarioEvents,
} from "./claims.js";
import { Context, joinRanges } from "./context.js";
import { expectations, expected } from "./expect.js";
import { checkStackUse, gsBases, idtGates, taskState } from "./gates.js";
import { type Layout, type LayoutRequest, layOut, type Part } from "./layout.js";
import { loadParts } from "./modules.js";
import { suggestion } from "./names.js";
import { buildPaging, chunks, type PhysicalMemory } from "./paging.js";
import { readScenario, type ScenarioSource, scenarioName, scenarioPath } from "./read.js";
import type { ProgramFile } from "./schema.js";
import { controlRegisters, noExecute, startRegisters } from "./start.js";
import { descriptors, gdtBytes, idtBytes } from "./tables.js";
import type { Range, Scenario, Stack } from "./types.js";

export interface LoadOptions {
  /** the interrupted program; default: the file's `program`, or its first */
  readonly program?: string;
  /** a built-in threat in place of the file's events */
  readonly threat?: string;
}

const DEFAULT_STACK = 4096n;

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
    ...(mode === 64 ? { kernelGs: gs.kernel } : {}),
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

function physicalMemory(source: ScenarioSource, mode: 32 | 64, layout: Layout, nx: boolean): PhysicalMemory {
  try {
    return buildPaging(mode, layout.mappings, nx);
  } catch (error) {
    if (error instanceof RangeError) throw new InputError(error.message, { file: source.file });
    throw error;
  }
}
