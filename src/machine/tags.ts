// What the scenario says of each code address: where events may strike, what is text, where the handler's body is.

import { Op, Tag } from "../engine/abi.js";
import { firstAtOrAbove } from "../image/labels.js";
import { decode } from "../isa/decode.js";
import type { Image, Range, Scenario } from "../scenario/types.js";

/** Entry code of more bytes than this is a whole kernel: of that, only the functions that were entered count as covered. */
const LARGE = 1 << 18;

/** Tag bits and coverage numbers of a scenario's addresses. */
export class AddressMap {
  /** bits of the event rules without ranges */
  readonly anywhere: number;
  /** bytes of the coverage map: one for each byte of entry code, from 1 */
  readonly coverSize: number;
  readonly #scenario: Scenario;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.anywhere = scenario.events.reduce((bits, rule, n) => (rule.ranges === undefined ? bits | (1 << n) : bits), 0);
    this.coverSize = 1 + scenario.entry.reduce((sum, { low, high }) => sum + Number(high - low), 0);
  }

  /** Place of an address in the coverage map, 0 when it is not entry code. */
  cover(address: bigint): number {
    let before = 1;
    for (const { low, high } of this.#scenario.entry) {
      if (address >= low && address < high) return before + Number(address - low);
      before += Number(high - low);
    }
    return 0;
  }

  /** The boundaries of the entry code, ascending; of a large image those of the functions that were entered. */
  boundaries(covered: Uint8Array): bigint[] {
    const { image, entry, mode } = this.#scenario;
    const ranges = this.coverSize <= LARGE ? entry : entered(image, this.#addresses(covered), entry);
    return instructionStarts(image, ranges, mode);
  }

  /** Addresses whose byte of the coverage map is set. */
  #addresses(covered: Uint8Array): bigint[] {
    let before = 1;
    return this.#scenario.entry.flatMap(({ low, high }) => {
      const found: bigint[] = [];
      const size = Number(high - low);
      for (let n = 0; n < size; n++) if (covered[before + n]) found.push(low + BigInt(n));
      before += size;
      return found;
    });
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

/** From symbol to symbol, the parts of the entry code that hold one of these addresses. */
function entered(image: Image, addresses: readonly bigint[], entry: readonly Range[]): Range[] {
  const starts = [...new Set([...image.symbols.values(), ...entry.flatMap(({ low, high }) => [low, high])])].sort(
    (a, b) => (a < b ? -1 : 1),
  );
  const ranges = new Map<bigint, Range>();
  for (const address of addresses) {
    const next = firstAtOrAbove(starts, address + 1n, (start) => start);
    const low = starts[next - 1];
    const high = starts[next];
    if (low !== undefined && high !== undefined) ranges.set(low, { low, high });
  }
  return [...ranges.values()].sort((a, b) => (a.low < b.low ? -1 : 1));
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
