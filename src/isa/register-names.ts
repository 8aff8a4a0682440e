// Names of registers.

const LOW = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];

export const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"];

/** `al`, `ah`, `sil`, `r9d`, `rax`: a general register of `size` bytes. */
export function gprName(number: number, size: number, high = false): string {
  if (number >= 8) return `r${number}${size === 8 ? "" : size === 4 ? "d" : size === 2 ? "w" : "b"}`;
  const word = LOW[number] ?? "";
  if (high) return `${word.charAt(0)}h`;
  if (size === 1) return number < 4 ? `${word.charAt(0)}l` : `${word}l`;
  return size === 2 ? word : size === 4 ? `e${word}` : `r${word}`;
}
