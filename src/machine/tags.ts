// What the scenario says of each code address: where events may strike, what is text, where the handler's body is.

import { Op, Tag } from "../engine/abi.js";
import { decode } from "../isa/decode.js";
import type { Image, Range, Scenario } from "../scenario/types.js";

/** Tag bits and coverage numbers of a scenario's addresses. */
export class AddressMap {
  /** bits of the event rules without ranges */
  readonly anywhere: number;
  /** addresses of the entry code's instructions, ascending; number n of the coverage map is boundaries[n - 1] */
  readonly boundaries: readonly bigint[];
  readonly #numbers: ReadonlyMap<bigint, number>;
  readonly #scenario: Scenario;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.anywhere = scenario.events.reduce((bits, rule, n) => (rule.ranges === undefined ? bits | (1 << n) : bits), 0);
    this.boundaries = instructionStarts(scenario.image, scenario.entry, scenario.mode);
    this.#numbers = new Map(this.boundaries.map((address, n) => [address, n + 1]));
  }

  cover(address: bigint): number {
    return this.#numbers.get(address) ?? 0;
  }

  tags(address: bigint): number {
    const { events, text, body, resumeRets, fixups, unreached } = this.#scenario;
    let tags = this.anywhere;
    events.forEach((rule, n) => {
      if (rule.ranges?.some((range) => inside(range, address))) tags |= 1 << n;
    });
    if (text.some((range) => inside(range, address))) tags |= Tag.TEXT;
    if (body) {
      if (address === body.start) tags |= Tag.BODY_START;
      if (address === body.end) tags |= Tag.BODY_END;
      if (address >= body.start && address < body.end) tags |= Tag.BODY;
    }
    if (resumeRets.includes(address)) tags |= Tag.RESUME_RET;
    if (fixups.includes(address)) tags |= Tag.FIXUP;
    if (unreached.includes(address)) tags |= Tag.FORBIDDEN;
    return tags;
  }
}

function inside(range: Range, address: bigint): boolean {
  return address >= range.low && address < range.high;
}

/** Operations after which execution does not go on at the next address. */
const ENDS = new Set([
  Op.JMP,
  Op.JMPF,
  Op.RET,
  Op.RETF,
  Op.IRET,
  Op.SYSRET,
  Op.SYSEXIT,
  Op.UD,
  Op.HLT,
  Op.ERETS,
  Op.ERETU,
]);

/** Instruction starts of the ranges, by linear sweep. Padding after the end of a path is left out. */
export function instructionStarts(image: Image, ranges: readonly Range[], mode: 32 | 64): bigint[] {
  const symbols = new Set(image.symbols.values());
  return ranges.flatMap((range) =>
    image.sections.flatMap(({ address, bytes }) => {
      const low = address > range.low ? address : range.low;
      const end = address + BigInt(bytes.length);
      const high = end < range.high ? end : range.high;
      return low < high ? sweep(bytes, { low, high }, address, symbols, mode) : [];
    }),
  );
}

/** `bytes` start at `base`. */
function sweep(
  bytes: Uint8Array,
  { low, high }: Range,
  base: bigint,
  symbols: ReadonlySet<bigint>,
  mode: 32 | 64,
): bigint[] {
  const starts: bigint[] = [];
  let ended = false;
  for (let address = low; address < high; ) {
    const at = Number(address - base);
    const result = decode(bytes.subarray(at, at + 15), mode);
    if (symbols.has(address)) ended = false;
    if (!result.ok) {
      address += 1n;
      continue;
    }
    const { insn } = result;
    const padding = ended && (insn.op === Op.NOP || insn.op === Op.INT3 || insn.op === Op.XCHG);
    if (!padding) {
      starts.push(address);
      ended = ENDS.has(insn.op);
    }
    address += BigInt(insn.length);
  }
  return starts;
}
