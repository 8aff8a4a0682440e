// How the assembler writes a memory operand: ModRM, SIB and displacement.

import type { AsmOperand, Mode } from "./insn.js";

export type AsmMemory = Extract<AsmOperand, { readonly kind: "mem" }>;

/** ModRM without its reg field, an optional SIB byte, and the displacement (0, 1, 2 or 4 bytes). */
export interface EncodedMemory {
  readonly modrm: number;
  readonly sib: number | undefined;
  readonly disp: bigint | undefined;
  readonly dispSize: 0 | 1 | 2 | 4;
  /** REX.X and REX.B */
  readonly rex: number;
}

/** Numbers that a field of `bits` bits can hold, read as signed or as unsigned. */
export function fitsEither(value: bigint, bits: number): boolean {
  return value >= -(1n << BigInt(bits - 1)) && value < 1n << BigInt(bits);
}

export function fitsSigned(value: bigint, bits: number): boolean {
  return BigInt.asIntN(bits, value) === value;
}

/** Address size of an operand: that of its registers, else the mode's (or the other one, with an addr16 or addr32 prefix). */
export function addressSize(memory: AsmMemory, mode: Mode, forced: 2 | 4 | undefined): 2 | 4 | 8 {
  return memory.addrSize ?? forced ?? (mode === 64 ? 8 : 4);
}

const PAIRS_16 = ["3,6", "3,7", "5,6", "5,7", "6", "7", "5", "3"];

function encode16(memory: AsmMemory): EncodedMemory | { readonly error: string } {
  const { base, index, disp } = memory;
  if (disp !== undefined && !fitsEither(disp, 16)) return { error: `displacement ${disp} does not fit in 16 bits` };
  const value = disp === undefined ? undefined : BigInt.asIntN(16, disp);
  if (base === undefined && index === undefined) return { modrm: 6, sib: undefined, disp: value, dispSize: 2, rex: 0 };
  const registers = [base, index].filter((number) => number !== undefined);
  const rm = PAIRS_16.indexOf(registers.sort((a, b) => a - b).join(","));
  if (rm < 0 || memory.scale !== 1) return { error: "16-bit addresses are made of %bx or %bp and %si or %di" };
  const dispSize = value === undefined ? 2 : value === 0n && rm !== 6 ? 0 : fitsSigned(value, 8) ? 1 : 2;
  return { modrm: (dispSize << 6) | rm, sib: undefined, disp: value, dispSize, rex: 0 };
}

/** Writes a memory operand with the shortest displacement, or says why it cannot be written. */
export function encodeMemory(
  memory: AsmMemory,
  mode: Mode,
  addrSize: 2 | 4 | 8,
): EncodedMemory | { readonly error: string } {
  const { base, index, disp } = memory;
  if (addrSize === (mode === 64 ? 2 : 8)) return { error: `${mode}-bit mode has no ${8 * addrSize}-bit addresses` };
  if (mode === 32 && ((base ?? 0) > 7 || (index ?? 0) > 7)) return { error: "registers 8 to 15 need 64-bit mode" };
  if (addrSize === 2) return encode16(memory);
  if (
    disp !== undefined &&
    !(addrSize === 8 ? fitsEither(disp, 64) && fitsSigned(BigInt.asIntN(64, disp), 32) : fitsEither(disp, 32))
  )
    return { error: `displacement ${disp} does not fit in 32 bits` };
  const value = disp === undefined ? undefined : BigInt.asIntN(32, disp);
  const whole = { disp: value, dispSize: 4 } as const;

  if (memory.ripRelative) return { modrm: 5, sib: undefined, ...whole, rex: 0 };
  if (index === 4) return { error: "the stack pointer cannot be an index" };
  const rex = ((index ?? 0) & 8 ? 2 : 0) | ((base ?? 0) & 8 ? 1 : 0);
  const scaled = (Math.log2(memory.scale) << 6) | (((index ?? 4) & 7) << 3);
  if (base === undefined) {
    // in 64-bit mode the short form without SIB means RIP-relative
    if (index === undefined && mode === 32) return { modrm: 5, sib: undefined, ...whole, rex };
    return { modrm: 4, sib: scaled | 5, ...whole, rex };
  }
  const needsDisp = (base & 7) === 5;
  const dispSize = value === undefined ? 4 : value === 0n && !needsDisp ? 0 : fitsSigned(value, 8) ? 1 : 4;
  const mod = dispSize === 0 ? 0 : dispSize === 1 ? 1 : 2;
  const sib = index !== undefined || (base & 7) === 4 ? scaled | (base & 7) : undefined;
  return { modrm: (mod << 6) | (sib === undefined ? base & 7 : 4), sib, disp: value, dispSize, rex };
}
