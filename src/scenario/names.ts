// Names that scenario files use for registers, vectors and events.

import { Ev, Reg } from "../engine/abi.js";

const GENERAL_64 = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const GENERAL_32 = "eax ecx edx ebx esp ebp esi edi".split(" ");

/** General registers by name, in the width of the mode. */
export function generalRegisters(mode: 32 | 64): ReadonlyMap<string, Reg> {
  return new Map((mode === 64 ? GENERAL_64 : GENERAL_32).map((name, number) => [name, number as Reg]));
}

/** What `registers` of a program may set beside the general registers. */
export const OTHER_REGISTERS: ReadonlyMap<string, Reg> = new Map([
  ["rflags", Reg.RFLAGS],
  ["fs_base", Reg.FS_BASE],
  ["gs_base", Reg.GS_BASE],
  ["kernel_gs_base", Reg.KERNEL_GS_BASE],
  ["cr2", Reg.CR2],
  ["cr8", Reg.CR8],
  ["dr0", Reg.DR0],
  ["dr1", Reg.DR1],
  ["dr2", Reg.DR2],
  ["dr3", Reg.DR3],
  ["dr6", Reg.DR6],
  ["dr7", Reg.DR7],
]);

export const REGISTER_NAMES: readonly string[] = [...GENERAL_64, ...GENERAL_32, ...OTHER_REGISTERS.keys(), "eflags"];
export const GENERAL_NAMES: readonly string[] = [...GENERAL_64, ...GENERAL_32];

/** Slots of a register frame by name; undefined: a slot that is not compared. */
export function frameRegisters(mode: 32 | 64): ReadonlyMap<string, Reg | undefined> {
  const slots = new Map<string, Reg | undefined>(generalRegisters(mode));
  for (const [name, reg] of [
    ["rip", Reg.RIP],
    ["eip", Reg.RIP],
    ["rflags", Reg.RFLAGS],
    ["eflags", Reg.RFLAGS],
    ["cs", Reg.CS_SEL],
    ["ss", Reg.SS_SEL],
    ["ds", Reg.DS_SEL],
    ["es", Reg.ES_SEL],
    ["fs", Reg.FS_SEL],
    ["gs", Reg.GS_SEL],
  ] as const) {
    slots.set(name, reg);
  }
  slots.set("-", undefined);
  return slots;
}

/**
 * The frame that Linux calls pt_regs, ascending. In the 32-bit frame ESP and SS stand only where the event came from user code, so
 * they are not compared.
 */
export const PT_REGS: Readonly<Record<32 | 64, readonly string[]>> = {
  64: "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi - rip cs rflags rsp ss".split(" "),
  32: "ebx ecx edx esi edi ebp eax - - - - - eip cs eflags".split(" "),
};

/** Exception names of the manual, lower case, without `#`. */
export const VECTORS: ReadonlyMap<string, number> = new Map([
  ["de", 0],
  ["db", 1],
  ["nmi", 2],
  ["bp", 3],
  ["of", 4],
  ["br", 5],
  ["ud", 6],
  ["nm", 7],
  ["df", 8],
  ["ts", 10],
  ["np", 11],
  ["ss", 12],
  ["gp", 13],
  ["pf", 14],
  ["mf", 16],
  ["ac", 17],
  ["mc", 18],
  ["xm", 19],
  ["cp", 21],
  ["vc", 29],
]);

export interface EventWord {
  readonly kind: Ev;
  /** the vector through which it is delivered; undefined: none (SMI) or the rule's own (INTR) */
  readonly vector?: number;
}

export const EVENTS: ReadonlyMap<string, EventWord> = new Map([
  ["nmi", { kind: Ev.NMI, vector: 2 }],
  ["mce", { kind: Ev.MCE, vector: 18 }],
  ["smi", { kind: Ev.SMI }],
  ["intr", { kind: Ev.INTR }],
  ["bp", { kind: Ev.BP, vector: 3 }],
  ["db", { kind: Ev.DB, vector: 1 }],
  ["pf", { kind: Ev.PF, vector: 14 }],
]);

export function vectorName(vector: number): string {
  for (const [name, number] of VECTORS) if (number === vector) return name;
  return `0x${vector.toString(16)}`;
}

/** The word of `known` closest to `word`, if one is close (edit distance at most a third of the length, and at least 1). */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** `; did you mean "x"?` or nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  const close = nearest(word, known);
  return close === undefined ? "" : `; did you mean "${close}"?`;
}

/** Insertions, deletions, replacements and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : replace;
      next.push(Math.min(replace, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
