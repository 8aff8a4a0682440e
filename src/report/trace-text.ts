// A run step by step: one line per instruction; events, deliveries, resumes and damage stand out between them.

import type { MemoryWrite, Trace, TraceContext, TraceStep } from "../check/types.js";
import { propertyText } from "../scenario/properties.js";
import type { Palette } from "./colour.js";
import { hex, plural, wrap } from "./format.js";
import { replayCommand, type Subject } from "./verdict-text.js";

export interface TraceTextOptions {
  /** as `formatSchedule` writes it */
  readonly schedule: string;
  readonly colours: Palette;
}

const WIDTH = 118;
const NUMBER = 5;
/** Where the lines below an instruction begin. */
const BELOW = " ".repeat(NUMBER + 5);
const LABEL = { least: 16, most: 30 };
/** Registers whose changes are no news. */
const EVERY_STEP: readonly string[] = ["rip", "eip", "rflags", "eflags"];
/** Instructions of which everyone knows what they do to the stack pointer. */
const STACK_INSTRUCTION = /^(push|pop|call|ret)/;
const TEXT = { least: 24, most: 40 };

/** The whole trace, ending with a newline. */
export function traceText(trace: Trace, { schedule, colours }: TraceTextOptions): string {
  const printer = new TracePrinter(trace, colours);
  const head = schedule === "" ? "the run without events" : `the run with ${colours.event(schedule)}`;
  return `${[`${colours.strong(trace.design)}: ${head}`, "", ...printer.steps(), "", ...printer.ending()].join("\n")}\n`;
}

/** How one run ended, without its steps, and the command that shows them. */
export function outcomeText(trace: Trace, options: TraceTextOptions & { readonly subject: Subject }): string {
  const { schedule, colours, subject } = options;
  const lines = new TracePrinter(trace, colours).ending();
  return `${[...lines, "", `  ${colours.quiet("steps")}  ${replayCommand(subject, schedule)}`].join("\n")}\n`;
}

class TracePrinter {
  readonly #trace: Trace;
  readonly #colours: Palette;
  readonly #labelWidth: number;
  readonly #textWidth: number;
  /** names of places seen in writes, to say where a frame lies */
  readonly #places = new Map<bigint, string>();

  constructor(trace: Trace, colours: Palette) {
    this.#trace = trace;
    this.#colours = colours;
    const plain = trace.steps.filter((step) => step.kind === "instruction");
    this.#labelWidth = widthOf(
      plain.map((step) => step.label),
      LABEL,
    );
    this.#textWidth = widthOf(
      plain.map((step) => step.text),
      TEXT,
    );
  }

  steps(): string[] {
    let contexts: readonly TraceContext[] = [];
    return this.#trace.steps.flatMap((step) => {
      for (const write of step.writes) if (write.place !== "") this.#places.set(write.address, write.place);
      const lines = this.#step(step, contexts);
      contexts = step.contexts;
      return lines;
    });
  }

  ending(): string[] {
    const { good, bad, warn, strong } = this.#colours;
    const { end, violation, reason, steps } = this.#trace;
    const done = plural(steps.length, "step");
    if (end === "violation" || violation) {
      const last = steps.findLast((step) => step.violation)?.violation;
      const property = violation?.property ?? last?.property;
      const message = violation?.message ?? last?.message ?? "";
      return [
        strong(bad(property === undefined ? "violated" : `violated: ${propertyText(property).name}`)),
        ...paragraph(message),
        ...(violation?.diagnosis ?? []).flatMap((text) => item(text)),
      ];
    }
    switch (end) {
      case "stopped":
        return [good(`no violation: the run ends, with nothing owed, after ${done}`)];
      case "repeats":
        return [good(`no violation: after ${done} the run is in a state where it has been before`)];
      case "limit":
        return [warn(`the trace stops here, after ${done}${reason === undefined ? "" : `: ${reason}`}`)];
      default:
        return [strong(warn("unsupported")), ...paragraph(reason ?? "")];
    }
  }

  #step(step: TraceStep, before: readonly TraceContext[]): string[] {
    const created = step.contexts.filter((context) => !before.some(({ number }) => number === context.number));
    const damage = step.contexts.flatMap((context) =>
      context.overwritten.filter((word) => word.step === step.index).map((word) => ({ context, word })),
    );
    const damaged = new Set(damage.map(({ word }) => word.address));
    const writes = step.writes.filter((write) => !damaged.has(write.address));
    const single = step.kind === "instruction" && !step.delivered && writes.length <= 1;
    return [
      this.#headline(step, single ? writes : []),
      ...(single ? [] : writes.map((write) => this.#write(write))),
      ...damage.map(({ context, word }) => this.#damage(step, context, word)),
      ...created.map((context) => this.#created(step, context)),
      ...this.#resumed(step, before),
      ...(created.length > 0 || step.resumed !== undefined ? this.#owed(step.contexts) : []),
      ...this.#violated(step),
    ];
  }

  #headline(step: TraceStep, writes: readonly MemoryWrite[]): string {
    const { event, strong, quiet } = this.#colours;
    const number = quiet(String(step.index).padStart(NUMBER));
    const cpl = step.cpl === 3 ? "u" : "k";
    const mask = `${step.nmiBlocked ? "b" : " "}${step.nmiPending ? "p" : " "}`;
    const left = `${number} ${cpl}${mask} `;
    if (step.kind === "instruction") {
      const effects = [...writes.map((write) => effect(write)), ...this.#registers(step)];
      if (step.delivered) effects.push(event(`raises ${step.delivered.name}`));
      const shown = effects.length === 0 ? step.text : step.text.padEnd(this.#textWidth);
      return `${left}${step.label.padEnd(this.#labelWidth)} ${shown} ${effects.join(" ")}`.trimEnd();
    }
    const what = step.kind === "event" ? `event ${step.text}` : step.text;
    const effects = this.#registers(step).join(" ");
    return `${left}${strong(event(`>>> ${what} at ${step.label}`))} ${effects}`.trimEnd();
  }

  /** Registers that changed, without those that every such instruction changes. */
  #registers(step: TraceStep): string[] {
    if (step.delivered || step.kind !== "instruction") return [];
    const usual = STACK_INSTRUCTION.test(step.text) ? [...EVERY_STEP, "rsp", "esp"] : EVERY_STEP;
    const shown = step.registers.filter(({ name }) => !usual.includes(name.toLowerCase()));
    return shown.map(({ name, after }) => this.#colours.quiet(`${name.toLowerCase()}=${hex(after)}`));
  }

  #write(write: MemoryWrite): string {
    const { quiet } = this.#colours;
    const owner = write.owner ? ` ${write.owner.slot} of context ${write.owner.context}` : "";
    return `${BELOW}${place(write).padEnd(20)} ${quiet(`${hex(write.before)} ->`)} ${hex(write.after)}${owner}`;
  }

  #damage(step: TraceStep, context: TraceContext, word: TraceContext["overwritten"][number]): string {
    const write = step.writes.find(({ address }) => address === word.address);
    const change = write ? `: ${hex(write.before)} -> ${hex(write.after)}` : "";
    const where = write ? place(write) : this.#place(word.address);
    const text = `OVERWRITTEN ${word.slot} of context ${context.number} (${context.name}), ${where}${change}`;
    return `${BELOW}${this.#colours.strong(this.#colours.bad(text))}`;
  }

  #created(step: TraceStep, context: TraceContext): string {
    const by = step.delivered ? "" : ` by ${context.by}`;
    const head = `context ${context.number} begins: ${context.name}${by}, to resume at ${context.label}`;
    return `${BELOW}${this.#colours.event(`${head}, rsp ${hex(context.rsp)}, frame ${this.#frame(context)}`)}`;
  }

  #resumed(step: TraceStep, before: readonly TraceContext[]): string[] {
    if (step.resumed === undefined) return [];
    const name = before.find(({ number }) => number === step.resumed)?.name;
    const text = `context ${step.resumed}${name === undefined ? "" : ` (${name})`} resumes`;
    return [`${BELOW}${(step.violation ? this.#colours.bad : this.#colours.good)(text)}`];
  }

  #owed(contexts: readonly TraceContext[]): string[] {
    if (contexts.length === 0) return [];
    const owed = contexts.map((context) => {
      const damage =
        context.overwritten.length > 0 ? `, ${plural(context.overwritten.length, "word")} overwritten` : "";
      return `${context.number} ${context.name} (${context.by}, ${this.#frame(context)}${damage})`;
    });
    return wrap(`owed: ${owed.join("; ")}`, WIDTH - BELOW.length).map((line) => `${BELOW}${this.#colours.quiet(line)}`);
  }

  #violated(step: TraceStep): string[] {
    if (!step.violation) return [];
    const text = `VIOLATES ${propertyText(step.violation.property).name}: ${step.violation.message}`;
    const lines = wrap(text, WIDTH - BELOW.length);
    return lines.map((line) => `${BELOW}${this.#colours.strong(this.#colours.bad(line))}`);
  }

  #frame({ frame }: TraceContext): string {
    if (frame.low === frame.high) return "in registers";
    return `${this.#place(frame.low)}, ${frame.high - frame.low} bytes`;
  }

  #place(address: bigint): string {
    return this.#places.get(address) ?? hex(address);
  }
}

function widthOf(texts: readonly string[], { least, most }: { least: number; most: number }): number {
  return Math.min(most, Math.max(least, ...texts.map((text) => text.length)));
}

function place(write: MemoryWrite): string {
  return write.place === "" ? hex(write.address) : write.place;
}

/** A write on the line of its instruction. */
function effect(write: MemoryWrite): string {
  const owner = write.owner ? ` (${write.owner.slot} of ${write.owner.context})` : "";
  return `[${place(write)}]=${hex(write.after)}${owner}`;
}

function paragraph(text: string): string[] {
  return wrap(text, WIDTH - 2).map((line) => `  ${line}`);
}

function item(text: string): string[] {
  return wrap(text, WIDTH - 4).map((line, index) => `  ${index === 0 ? "- " : "  "}${line}`);
}
