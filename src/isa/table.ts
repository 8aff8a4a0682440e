// The instruction table: every encoding that trapcheck knows, in one list.

import { Op } from "../engine/abi.js";
import type { Mode } from "./insn.js";
import { parseRow, type Row } from "./row.js";
import { CONTROL } from "./table/control.js";
import { INTEGER } from "./table/integer.js";
import { SYSTEM } from "./table/system.js";

/** All rows; where two match the same bytes, the first one counts. PAUSE (in CONTROL) is a NOP with a prefix, hence the order. */
export const ROWS: readonly Row[] = [...CONTROL, ...SYSTEM, ...INTEGER].map(parseRow);

/** A line of documentation: one encoding. */
export interface SupportedRow {
  /** Intel mnemonic for 4-byte operands, `cc` for a condition */
  readonly mnemonic: string;
  /** all names, by operand size */
  readonly names: readonly string[];
  readonly opcode: string;
  readonly operands: readonly string[];
  readonly modes: readonly Mode[];
  readonly lock: boolean;
}

/** Every encoding the decoder knows, in table order. */
export function supported(): readonly SupportedRow[] {
  return ROWS.filter((row) => row.op !== Op.UNSUPPORTED && !row.flags.has("asm")).map((row) => ({
    mnemonic: row.names[1] ?? row.names[0] ?? "",
    names: row.names,
    opcode: row.opcodeText,
    operands: row.operands.map(({ text }) => text),
    modes: row.flags.has("i64") ? [32] : row.flags.has("o64") ? [64] : [32, 64],
    lock: row.flags.has("lock"),
  }));
}
