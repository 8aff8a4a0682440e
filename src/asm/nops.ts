// Padding in code: the no-operations that GNU as 2.40 writes for its generic processors, found by assembling paddings of
// every length. The object's mode decides, not the code's.

import type { Mode } from "../isa/insn.js";

const LONG: readonly string[] = [
  "90",
  "6690",
  "0f1f00",
  "0f1f4000",
  "0f1f440000",
  "660f1f440000",
  "0f1f8000000000",
  "0f1f840000000000",
  "660f1f840000000000",
  "662e0f1f840000000000",
  "66662e0f1f840000000000",
];
/** Without the multi-byte NOP, which the oldest 32-bit processors lack: LEA of ESI to itself. */
const LEA: readonly string[] = ["90", "6690", "8d7600", "8d742600", "8d74260090", "8db600000000", "8db42600000000"];

/** With more than this many instructions a jump over them is shorter in time. */
const MOST: Readonly<Record<Mode, number>> = { 64: 7, 32: 2 };

/** `count` bytes of padding. */
export function padding(count: number, objectMode: Mode): Uint8Array {
  const patterns = (objectMode === 64 ? LONG : LEA).map((hex) =>
    Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)),
  );
  const longest = patterns.length;
  const out = new Uint8Array(count);
  let at = 0;
  if (Math.floor(count / longest) > MOST[objectMode]) {
    if (count - 2 < 128) {
      out.set([0xeb, count - 2]);
      at = 2;
    } else {
      out[0] = 0xe9;
      new DataView(out.buffer).setInt32(1, count - 5, true);
      at = 5;
    }
  }
  while (at < count) {
    const pattern = patterns[Math.min(longest, count - at) - 1];
    if (pattern === undefined) break;
    out.set(pattern, at);
    at += pattern.length;
  }
  return out;
}
