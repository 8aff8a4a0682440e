// Names of registers, vectors and places, as reports use them.

import { Ctx, CtxBy, Reg, Seg } from "../engine/abi.js";
import { labeller } from "../image/labels.js";
import type { Scenario } from "../scenario/types.js";

const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: "#DE", 1: "#DB", 2: "NMI", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP", 12: "#SS",
  13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM", 20: "#VE", 21: "#CP",
}; // biome-ignore format: a table

export function vectorName(vector: number): string {
  return EXCEPTIONS[vector] ?? `interrupt 0x${vector.toString(16)}`;
}

/** What interrupted a context, from Ctx.BY. */
export function interruptedBy(by: number): string {
  if (by === CtxBy.SYSCALL) return "SYSCALL";
  if (by === CtxBy.SYSENTER) return "SYSENTER";
  return vectorName(by & CtxBy.VECTOR_MASK);
}

const GPR_NAMES = [
  "RAX",
  "RCX",
  "RDX",
  "RBX",
  "RSP",
  "RBP",
  "RSI",
  "RDI",
  "R8",
  "R9",
  "R10",
  "R11",
  "R12",
  "R13",
  "R14",
  "R15",
];

/** Register words that a trace shows when they change, with their names. */
export const SHOWN_REGISTERS: ReadonlyArray<readonly [Reg, string]> = [
  ...GPR_NAMES.map((name, n) => [n as Reg, name] as const),
  [Reg.RFLAGS, "RFLAGS"],
  [Reg.CS_SEL, "CS"],
  [Reg.SS_SEL, "SS"],
  [Reg.DS_SEL, "DS"],
  [Reg.ES_SEL, "ES"],
  [Reg.FS_SEL, "FS"],
  [Reg.GS_SEL, "GS"],
  [Reg.FS_BASE, "FS.base"],
  [Reg.GS_BASE, "GS.base"],
  [Reg.KERNEL_GS_BASE, "KERNEL_GS_BASE"],
  [Reg.CR0, "CR0"],
  [Reg.CR2, "CR2"],
  [Reg.CR3, "CR3"],
  [Reg.CR4, "CR4"],
  [Reg.DR6, "DR6"],
  [Reg.DR7, "DR7"],
  [Reg.MCG_STATUS, "MCG_STATUS"],
];

/** Names are those of 64-bit registers; in a 32-bit scenario the same registers are EAX, EIP, EFLAGS. */
export function inMode(name: string, mode: 32 | 64): string {
  return mode === 32 ? name.replace(/^R(?=[A-Z])/, "E") : name;
}

export function registerName(register: Reg): string {
  if (register === Reg.RIP) return "RIP";
  return SHOWN_REGISTERS.find(([one]) => one === register)?.[1] ?? Reg[register] ?? `register ${register}`;
}

/** Name of a word of a context's record. */
export function owedName(word: number): string {
  if (word >= Ctx.RAX && word <= Ctx.R15) return GPR_NAMES[word - Ctx.RAX] ?? "";
  return (Ctx[word] ?? `word ${word}`).replace("_BASE", ".base");
}

export function segmentName(seg: Seg): string {
  return Seg[seg] ?? "";
}

/** Slots of a frame, from its low end. */
export function frameSlots(bytes: number, wordSize: number): string[] {
  const words = bytes / wordSize;
  const slots = words >= 5 ? ["RIP", "CS", "RFLAGS", "RSP", "SS"] : ["RIP", "CS", "RFLAGS"];
  const names = slots.map((name) => inMode(name, wordSize === 4 ? 32 : 64));
  return words === slots.length + 1 ? ["error code", ...names] : names;
}

export type Place = (address: bigint) => string;

/** Names a data address: an offset from the high end of a stack, or a symbol. */
export function placer(scenario: Scenario): Place {
  const label = labeller(scenario.image);
  return (address) => {
    const stack = scenario.stacks.find(({ low, high }) => low <= address && address < high);
    if (stack) return `${stack.name} stack -0x${(stack.high - address).toString(16)}`;
    const name = label(address);
    return name.startsWith("0x") ? "" : name;
  };
}
