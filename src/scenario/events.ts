// Event rules: which event may strike where.

import { Ev } from "../engine/abi.js";
import { type Context, joinRanges } from "./context.js";
import { EVENTS, suggestion, vectorName } from "./names.js";
import type { Path } from "./read.js";
import type { EventFile } from "./schema.js";
import type { Body, EventRule, Range } from "./types.js";

const MAX_RULES = 16;
/** Counters in the machine state (Reg.BUDGET). */
const MAX_LIMITED = 8;
const AREAS = ["body", "user", "kernel", "entry", "program"] as const;

/** Where a page fault that is put on an instruction claims to have happened, unless the rule says: a hole in the layout. */
const FAULT_ADDRESS = { 64: 0xffff_c900_0000_0000n, 32: 0xf800_0000n } as const;

/** Readable text of where a rule strikes, for assumptions. */
export interface NamedRule {
  readonly rule: EventRule;
  readonly where: string;
}

/**
 * The rules of the file or of a threat; those with a limit come first, because their counters go by number.
 * `path` is where the rules stand (for a threat: what to point at). `vectors`: the gates that there are.
 */
export function eventRules(
  context: Context,
  events: Readonly<Record<string, EventFile>>,
  body: Body | undefined,
  vectors: ReadonlySet<number>,
  path: Path,
  threat: string | undefined,
): NamedRule[] {
  const entries = Object.entries(events);
  const rules = entries.map(([name, event], index) => {
    const at = threat === undefined ? [...path, name] : path;
    if (index >= MAX_RULES)
      throw context.error(at, `more than ${MAX_RULES} event rules; expected at most ${MAX_RULES}`);
    return eventRule(context, name, event, body, vectors, at, threat);
  });
  const limited = rules.filter(({ rule }) => rule.limit !== undefined);
  if (limited.length > MAX_LIMITED) {
    throw context.error(
      [...path, limited[MAX_LIMITED]?.rule.name ?? ""],
      `more than ${MAX_LIMITED} rules with a limit; expected at most ${MAX_LIMITED}`,
    );
  }
  return [...limited, ...rules.filter(({ rule }) => rule.limit === undefined)];
}

function eventRule(
  context: Context,
  name: string,
  event: EventFile,
  body: Body | undefined,
  vectors: ReadonlySet<number>,
  path: Path,
  threat: string | undefined,
): NamedRule {
  const file = event === "anywhere" ? {} : event;
  const word = file.event ?? name;
  const known = EVENTS.get(word);
  if (known === undefined) {
    throw context.error(
      path,
      `no event "${word}"${suggestion(word, EVENTS.keys()) || `; expected one of ${[...EVENTS.keys()].join(", ")}, or \`event:\` with one of them`}`,
    );
  }
  const { kind } = known;
  const only = (key: keyof typeof file & string, owner: Ev, word: string) => {
    if (file[key] !== undefined && kind !== owner)
      throw context.error([...path, key], `belongs to ${word} events only`);
  };
  only("vector", Ev.INTR, "intr");
  only("address", Ev.PF, "pf");
  only("error", Ev.PF, "pf");
  only("while-mcip", Ev.MCE, "mce");
  if (kind === Ev.INTR && file.vector === undefined)
    throw context.error(path, 'missing key "vector": intr needs the number of its gate');
  const vector = kind === Ev.INTR ? Number(file.vector) : known.vector;
  if (vector !== undefined && !vectors.has(vector)) {
    const who = threat === undefined ? word : `threat ${threat}: ${word}`;
    throw context.error(path, `${who} needs a gate for ${vectorName(vector)} in tables.idt`);
  }
  const inside = file.in;
  const rule: EventRule = {
    name,
    kind,
    ...(inside === undefined || inside === "anywhere"
      ? {}
      : { ranges: ranges(context, inside, body, threat === undefined ? [...path, "in"] : path) }),
    ...(file.limit === undefined ? {} : { limit: Number(file.limit) }),
    ...(kind === Ev.INTR ? { vector: Number(file.vector) } : {}),
    ...(kind === Ev.PF
      ? {
          address:
            file.address === undefined
              ? FAULT_ADDRESS[context.mode]
              : context.address(file.address, [...path, "address"]),
          errorCode: Number(file.error ?? 0n),
        }
      : {}),
    ...(file["while-mcip"] === true ? { whileMcip: true } : {}),
  };
  return { rule, where: inside === undefined ? "anywhere" : areaText(inside) };
}

type Inside = NonNullable<Exclude<EventFile, "anywhere">["in"]>;

function ranges(context: Context, inside: Inside, body: Body | undefined, path: Path): Range[] {
  if (typeof inside === "string") return [...areaRanges(context, inside, body, path)];
  if (isPair(inside)) return [range(context, inside, path)];
  return joinRanges(
    inside.flatMap((item, index) => {
      const at = [...path, index];
      if (Array.isArray(item)) return [range(context, item as [bigint | string, bigint | string], at)];
      if (typeof item === "string") return areaRanges(context, item, body, at);
      throw context.error(at, `expected ${AREAS.join(", ")} or a pair [low, high), found ${item}`);
    }),
  );
}

/** Two addresses are a range, unless one of them is the word for an area. */
function isPair(inside: readonly unknown[]): inside is readonly [bigint | string, bigint | string] {
  return inside.length === 2 && inside.every((item) => !Array.isArray(item) && !isArea(item));
}

function isArea(item: unknown): item is (typeof AREAS)[number] {
  return (AREAS as readonly unknown[]).includes(item);
}

function range(context: Context, [low, high]: readonly [bigint | string, bigint | string], path: Path): Range {
  const result = { low: context.address(low, [...path, 0]), high: context.address(high, [...path, 1]) };
  if (result.low >= result.high) {
    throw context.error(
      path,
      `expected low below high, found 0x${result.low.toString(16)} and 0x${result.high.toString(16)}`,
    );
  }
  return result;
}

function areaRanges(context: Context, word: string, body: Body | undefined, path: Path): readonly Range[] {
  if (!isArea(word))
    throw context.error(
      path,
      `expected ${AREAS.join(", ")}, or a pair [low, high), found "${word}"${suggestion(word, AREAS)}`,
    );
  if (word !== "body") return context.areas[word];
  if (body === undefined) throw context.error(path, "refers to the handler's body, but the scenario has no `body`");
  return [{ low: body.start, high: body.end }];
}

function areaText(inside: Inside): string {
  const part = (item: unknown): string => {
    if (Array.isArray(item)) return `${item.map(part).join(" to ")}`;
    if (item === "body") return "the handler's body";
    if (item === "user") return "user code";
    if (item === "kernel") return "kernel text";
    if (item === "entry") return "the entry code";
    if (item === "program") return "the interrupted program";
    return typeof item === "bigint" ? `0x${item.toString(16)}` : String(item);
  };
  if (typeof inside === "string" || isPair(inside)) return part(inside);
  return inside.map(part).join(" and ");
}
