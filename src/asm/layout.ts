// Layout: gives every fragment its address. Jumps begin short and only grow; alignments, `.skip` and `.org` follow. The
// passes go the way of GNU as, because where an alignment swallows a growing jump the order decides which bytes come out.

import { InputError } from "../diagnostic.js";
import { type Distance, type Expr, evaluate, isNumber, laidOutDistance } from "./expression.js";
import { type Fragment, MAX_SECTION, type SectionBuilder, tooLarge } from "./section.js";
import { errorAt, type Statement } from "./source.js";

const MAX_PASSES = 1000;

/** Fills in `address` and `size` of all fragments of a section. */
export function layOut(section: SectionBuilder): void {
  let address = 0;
  let region = 0;
  for (const fragment of section.fragments) {
    fragment.address = address;
    fragment.region = region;
    fragment.size = firstSize(fragment);
    address += fragment.size;
    if (fragment.kind === "align" || fragment.kind === "org") region++;
  }
  for (let pass = 0; pass < MAX_PASSES; pass++) if (!relaxOnce(section)) return;
  const cause = section.fragments.find((fragment) => fragment.kind === "space" || fragment.kind === "org");
  const text = `the addresses in section \`${section.name}\` never settle: a size depends on itself`;
  throw cause !== undefined && "statement" in cause ? errorAt(cause.statement, text) : new InputError(text);
}

function firstSize(fragment: Fragment): number {
  switch (fragment.kind) {
    case "bytes":
      return fragment.bytes.length;
    case "fixed":
      return fragment.count * fragment.pattern.length;
    case "align":
      return alignment(fragment);
    case "jump":
      fragment.long = !staysHere(fragment);
      return fragment.long ? fragment.near.bytes.length : fragment.short.bytes.length;
    default:
      return 0;
  }
}

function alignment(fragment: Extract<Fragment, { kind: "align" }>): number {
  const pad = (fragment.align - (fragment.address % fragment.align)) % fragment.align;
  return pad > fragment.max ? 0 : pad;
}

/** Whether a jump's target is known to be in its own section: a weak symbol may turn out to be another one. */
function staysHere(fragment: Extract<Fragment, { kind: "jump" }>): boolean {
  const value = evaluate(fragment.target, laidOutDistance);
  const [base, ...more] = value?.plus ?? [];
  return (
    value !== undefined &&
    more.length === 0 &&
    value.minus.length === 0 &&
    base?.place?.fragment.section === fragment.section &&
    base.symbol?.binding !== "weak"
  );
}

/** One pass; true when something changed. */
function relaxOnce(section: SectionBuilder): boolean {
  let stretch = 0;
  let changed = false;
  for (const fragment of section.fragments) {
    fragment.address += stretch;
    const size = newSize(fragment, stretch);
    if (size === fragment.size) continue;
    stretch += size - fragment.size;
    fragment.size = size;
    changed = true;
    if (fragment.address + size > MAX_SECTION && "statement" in fragment)
      throw tooLarge(section.name, fragment.statement);
  }
  return changed;
}

function newSize(fragment: Fragment, stretch: number): number {
  switch (fragment.kind) {
    case "align":
      return alignment(fragment);
    case "jump":
      fragment.long ||= !reaches(fragment, stretch);
      return fragment.long ? fragment.near.bytes.length : fragment.short.bytes.length;
    case "space": {
      const count = knownNumber(fragment.count, "the size", fragment.statement);
      if (count < 0n) return 0;
      if (count > BigInt(MAX_SECTION)) throw tooLarge(fragment.section.name, fragment.statement);
      return Number(count) * fragment.pattern.length;
    }
    case "org":
      return Math.max(0, originOf(fragment) - fragment.address);
    default:
      return fragment.size;
  }
}

function reaches(fragment: Extract<Fragment, { kind: "jump" }>, stretch: number): boolean {
  const value = evaluate(fragment.target, laidOutDistance);
  const place = value?.plus[0]?.place;
  if (value === undefined || place === undefined) return false;
  let target = place.fragment.address + place.offset + Number(value.number);
  if (stretch !== 0 && place.fragment.index > fragment.index) {
    // what lies ahead has not moved in this pass yet: it will move as we did, unless an alignment in between takes it up
    if (stretch < 0 || place.fragment.region === fragment.region) target += stretch;
    else if (target < fragment.address) return true;
  }
  const distance = target - (fragment.address + fragment.short.bytes.length);
  return distance >= -128 && distance <= 127;
}

/** Where an `.org` wants to be, as an offset in its section. */
export function originOf(fragment: Extract<Fragment, { kind: "org" }>): number {
  const value = evaluate(fragment.target, laidOutDistance);
  const place = value?.plus[0]?.place;
  if (value !== undefined && isNumber(value)) return bounded(value.number, fragment);
  if (value?.plus.length === 1 && value.minus.length === 0 && place?.fragment.section === fragment.section) {
    return bounded(value.number + BigInt(place.fragment.address + place.offset), fragment);
  }
  throw errorAt(fragment.statement, "`.org` must name a place in its own section");
}

function bounded(offset: bigint, fragment: Extract<Fragment, { kind: "org" }>): number {
  if (offset < 0n) throw errorAt(fragment.statement, "`.org` lies before the start of its section");
  if (offset > BigInt(MAX_SECTION)) throw tooLarge(fragment.section.name, fragment.statement);
  return Number(offset);
}

/** A value that must be a number once layout is known. */
export function knownNumber(
  expression: Expr,
  what: string,
  statement: Statement,
  distance: Distance = laidOutDistance,
): bigint {
  const value = evaluate(expression, distance);
  if (value !== undefined && isNumber(value)) return BigInt.asIntN(64, value.number);
  throw errorAt(statement, `${what} is not a number: ${why(expression)}`);
}

/** Why an expression's value cannot be used where it stands, naming the symbols. */
export function why(expression: Expr): string {
  let reason = "";
  const value = evaluate(expression, laidOutDistance, (text) => {
    reason ||= text;
  });
  if (value === undefined) return reason;
  const bases = [...value.plus, ...value.minus];
  const missing = bases.find((base) => base.symbol !== undefined && base.place === undefined)?.symbol?.name;
  if (missing !== undefined) return `symbol \`${missing}\` is not defined here`;
  const names = bases.map(
    (base) => base.symbol?.name ?? `a place in ${base.place?.fragment.section.name ?? "no section"}`,
  );
  return `it depends on where \`${names.join("` and `")}\` will be placed`;
}
