// Every way to write an instruction in GNU syntax, read from the table.

import { Op } from "../engine/abi.js";
import { CONDITIONS, type Row } from "./row.js";
import { ROWS } from "./table.js";

export interface Spelling {
  readonly row: Row;
  /** operand size that the name fixes */
  readonly opSize?: number;
  /** address size that the name fixes (jecxz) */
  readonly addrSize?: number;
  readonly cond?: number;
}

export const SUFFIXES: readonly (readonly [suffix: string, size: number])[] = [
  ["b", 1],
  ["w", 2],
  ["l", 4],
  ["q", 8],
];

/** Second names of conditions, by number. */
const CONDITION_ALIASES: readonly (readonly [name: string, cond: number])[] = [
  ["c", 2],
  ["nae", 2],
  ["nb", 3],
  ["nc", 3],
  ["z", 4],
  ["nz", 5],
  ["na", 6],
  ["nbe", 7],
  ["pe", 10],
  ["po", 11],
  ["nge", 12],
  ["nl", 13],
  ["ng", 14],
  ["nle", 15],
];

function spellingsOf(row: Row): [string, Spelling][] {
  const found: [string, Spelling][] = [];
  const plain = (name: string, more: Omit<Spelling, "row"> = {}) => {
    found.push([name, { row, ...more }]);
    if (row.sized) for (const [suffix, opSize] of SUFFIXES) found.push([name + suffix, { row, opSize, ...more }]);
  };
  if (row.plus === "c") {
    const names = [...CONDITIONS.map((name, cond) => [name, cond] as const), ...CONDITION_ALIASES];
    for (const [name, cond] of names) {
      const full = (row.names[0] ?? "").replace("cc", name);
      // a branch or SETcc has one size only
      if (row.op === Op.CMOVCC) plain(full, { cond });
      else found.push([full, { row, cond }]);
    }
  } else if (row.flags.has("byaddr")) {
    row.attNames.forEach((name, i) => {
      found.push([name, { row, addrSize: 2 << i }]);
    });
  } else if (row.attNames.length > 1) {
    row.attNames.forEach((name, i) => {
      found.push([name, { row, opSize: 2 << i }]);
    });
  } else plain(row.attNames[0] ?? "");
  for (const { name, size } of row.asNames) {
    if (size === undefined) plain(name);
    else found.push([name, { row, opSize: size }]);
  }
  return found;
}

function buildSpellings(): ReadonlyMap<string, readonly Spelling[]> {
  const map = new Map<string, Spelling[]>();
  for (const row of ROWS) {
    if (row.op === Op.UNSUPPORTED) continue;
    for (const [name, spelling] of spellingsOf(row)) {
      const list = map.get(name);
      if (list === undefined) map.set(name, [spelling]);
      else list.push(spelling);
    }
  }
  return map;
}

const SPELLINGS = buildSpellings();

/** What a mnemonic of GNU syntax may mean, in table order. */
export function spellings(mnemonic: string): readonly Spelling[] {
  return SPELLINGS.get(mnemonic) ?? [];
}
