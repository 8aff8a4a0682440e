// The text of instructions, from the table that the machine runs by.

import { decode } from "../isa/decode.js";
import { format, type Syntax } from "../isa/format.js";
import type { Mode } from "../isa/insn.js";
import type { DecodeAt } from "./listing.js";

/** Longest instruction (bytes). */
const LONGEST = 15;

/** Decodes and formats in one syntax; branch targets are absolute. */
export function decoder(mode: Mode, syntax: Syntax): DecodeAt {
  return (bytes, offset, address, symbol) => {
    const result = decode(bytes.subarray(offset, offset + LONGEST), mode);
    if (!result.ok) return undefined;
    return { length: result.insn.length, text: format(result.insn, address, syntax, symbol) };
  };
}
