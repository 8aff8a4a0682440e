// A verdict for people: the answer first, then why, then how to see it, then the figures.

import type { Verdict, Violation } from "../check/types.js";
import type { Label } from "../image/labels.js";
import { propertyText } from "../scenario/properties.js";
import type { Palette } from "./colour.js";
import { count, duration, plural, probability, rate, shellWord, size, wrap } from "./format.js";

/** What the user named on the command line: enough to repeat the run. */
export interface Subject {
  readonly path: string;
  readonly program?: string;
  readonly threat?: string;
}

export interface VerdictTextOptions {
  readonly subject: Subject;
  /** as `formatSchedule` writes it; given when there is a violation */
  readonly schedule?: string;
  readonly colours: Palette;
  readonly label: Label;
}

/** Columns of a line of text. */
const WIDTH = 110;
const INDENT = "  ";
const TITLE = 12;
/** More labels than this are counted, not listed; the JSON document has all. */
const MISSED_SHOWN = 8;

/** The command that shows a schedule step by step. */
export function replayCommand(subject: Subject, schedule: string): string {
  const options = [
    ...(subject.program === undefined ? [] : ["--program", shellWord(subject.program)]),
    ...(subject.threat === undefined ? [] : ["--threat", shellWord(subject.threat)]),
  ];
  return ["npx trapcheck trace", shellWord(subject.path), ...options, `--schedule '${schedule}'`].join(" ");
}

/** The whole report, ending with a newline. */
export function verdictText(verdict: Verdict, options: VerdictTextOptions): string {
  const { colours } = options;
  const blocks = [
    [headline(verdict, colours)],
    [...paragraph(sentence(verdict))],
    verdict.violation ? violationLines(verdict.violation, options) : [],
    figures(verdict, options),
  ];
  return `${blocks
    .filter((block) => block.length > 0)
    .map((block) => block.join("\n"))
    .join("\n\n")}\n`;
}

function headline(verdict: Verdict, { good, bad, warn, strong }: Palette): string {
  switch (verdict.verdict) {
    case "holds":
      return strong(good("holds for any number of events"));
    case "violated":
      return strong(bad(verdict.violation ? `violated: ${propertyText(verdict.violation.property).name}` : "violated"));
    default:
      return strong(warn(verdict.verdict));
  }
}

function sentence(verdict: Verdict): string {
  const { design, violation, reason, levels } = verdict;
  if (violation) return `${design}: ${violation.message}`;
  if (verdict.verdict === "holds") {
    return `${design}: every event was tried at every boundary where it is allowed. After ${plural(levels, "event")} nothing new can happen.`;
  }
  return `${design}: ${reason ?? "the search did not end."}`;
}

/** The diagnosis, the schedule, and how to replay it. */
export function violationLines(violation: Violation, options: VerdictTextOptions): string[] {
  const { colours, subject, schedule = "" } = options;
  const effort = `${plural(violation.events, "event")}, ${plural(violation.instructions, "instruction")}`;
  const shown = schedule === "" ? `no event needed (${plural(violation.instructions, "instruction")})` : schedule;
  return [
    ...violation.diagnosis.flatMap((text) => item(text)),
    ...(violation.diagnosis.length > 0 ? [""] : []),
    row("schedule", schedule === "" ? shown : `${colours.event(schedule)}  ${colours.quiet(`(${effort})`)}`, colours),
    row("replay", replayCommand(subject, schedule), colours),
  ];
}

function figures(verdict: Verdict, { colours, label }: VerdictTextOptions): string[] {
  const searched = [
    `${plural(verdict.levels, "level")}, ${plural(verdict.chains, "chain")}, ${plural(verdict.states, "state")}`,
    `${plural(verdict.instructions, "instruction")}`,
  ].join(", ");
  const time = [
    `${duration(verdict.seconds)} (${count(rate(verdict.states, verdict.seconds))} states/s)`,
    plural(verdict.workers, "worker"),
    size(verdict.memory),
  ].join(", ");
  const { reached, total, missed } = verdict.coverage;
  const shown = missed.slice(0, MISSED_SHOWN).map(label).join(", ");
  const more = missed.length > MISSED_SHOWN ? ` and ${missed.length - MISSED_SHOWN} more` : "";
  return [
    ...rows("searched", searched, colours),
    ...rows("time", time, colours),
    ...rows("certainty", `a state was missed with probability ${probability(verdict.missProbability)}`, colours),
    ...rows("properties", propertiesText(verdict), colours),
    ...verdict.assumptions.flatMap((text, index) => rows(index === 0 ? "assuming" : "", text, colours)),
    ...rows(
      "coverage",
      `${reached} of ${total} boundaries of the entry code${missed.length > 0 ? `; not reached: ${shown}${more}` : ""}`,
      colours,
    ),
  ];
}

function propertiesText(verdict: Verdict): string {
  const groups = [
    ["violated", "violated"],
    ["holds", "hold"],
    ["unknown", "not decided"],
  ] as const;
  return groups
    .map(([outcome, word]) => {
      const names = verdict.properties
        .filter((one) => one.verdict === outcome)
        .map((one) => propertyText(one.prop).name);
      return names.length === 0 ? "" : `${word}: ${names.join(", ")}`;
    })
    .filter((text) => text !== "")
    .join("; ");
}

function paragraph(text: string): string[] {
  return wrap(text, WIDTH - INDENT.length).map((line) => INDENT + line);
}

function item(text: string): string[] {
  return wrap(text, WIDTH - INDENT.length - 2).map((line, index) => `${INDENT}${index === 0 ? "- " : "  "}${line}`);
}

function row(title: string, text: string, colours: Palette): string {
  return `${INDENT}${colours.quiet(title.padEnd(TITLE))}${text}`;
}

function rows(title: string, text: string, colours: Palette): string[] {
  return wrap(text, WIDTH - INDENT.length - TITLE).map((line, index) => row(index === 0 ? title : "", line, colours));
}
