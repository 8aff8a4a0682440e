// A decoded instruction, as the decoder makes it, the formatter prints it and the machine loads it into the engine.

import type { Op, Seg } from "../engine/abi.js";

/** Code mode: the CS.L / CS.D pair that the model has. 64 is 64-bit mode, 32 is compatibility or protected mode. */
export type Mode = 32 | 64;

export interface MemoryOperand {
  readonly kind: "mem";
  /** bytes accessed; 0 where nothing is (LEA, INVLPG, NOP) */
  readonly size: number;
  /** segment override as written, undefined for the default */
  readonly segment?: Seg;
  /** 0..15 */
  readonly base?: number;
  readonly index?: number;
  readonly scale: 1 | 2 | 4 | 8;
  readonly disp: bigint;
  readonly ripRelative: boolean;
}

/** Operands in the manual's (Intel) order. Sizes in bytes. */
export type Operand =
  | {
      readonly kind: "gpr";
      readonly size: 1 | 2 | 4 | 8;
      readonly number: number /** AH..BH */;
      readonly high?: boolean;
    }
  | { readonly kind: "sreg"; readonly number: Seg }
  | { readonly kind: "creg"; readonly number: number }
  | { readonly kind: "dreg"; readonly number: number }
  | MemoryOperand
  | { readonly kind: "imm"; readonly size: number; readonly value: bigint }
  /** displacement from the next instruction */
  | { readonly kind: "rel"; readonly size: number; readonly value: bigint }
  | { readonly kind: "far"; readonly selector: number; readonly offset: bigint };

export interface Insn {
  readonly op: Op;
  /** Intel mnemonic without size suffix, lower case, with its condition: `mov`, `jne`, `cmovb`, `iretq` */
  readonly mnemonic: string;
  readonly length: number;
  readonly bytes: Uint8Array;
  /** operand size in bytes: 1, 2, 4, 8, 16 */
  readonly opSize: number;
  /** address size in bytes: 2, 4, 8 */
  readonly addrSize: number;
  /** 0..15 for Jcc, SETcc, CMOVcc */
  readonly cond?: number;
  readonly lock: boolean;
  readonly rep: boolean;
  readonly repne: boolean;
  /** a 66 prefix stood in front (not one that is part of the opcode) */
  readonly o16: boolean;
  /** effective segment of the memory operand, or of a string instruction's source */
  readonly segment: Seg;
  readonly operands: readonly Operand[];
}

/** An operand as the assembler hands it to `encode`: numbers may still be unknown (`undefined`: the widest form is taken). */
export type AsmOperand =
  | Exclude<Operand, MemoryOperand | { readonly kind: "imm" | "rel" | "far" }>
  | {
      readonly kind: "mem";
      readonly segment?: Seg;
      readonly base?: number;
      readonly index?: number;
      readonly scale: 1 | 2 | 4 | 8;
      readonly disp: bigint | undefined;
      /** the operand has no base and no index and is relative to the next instruction; `disp` is that displacement */
      readonly ripRelative: boolean;
      /** size of the base and index registers in bytes; undefined without either */
      readonly addrSize?: 2 | 4 | 8;
    }
  | { readonly kind: "imm"; readonly value: bigint | undefined }
  /** direct branch target: displacement from the next instruction. `near` forbids the one-byte form. */
  | { readonly kind: "rel"; readonly value: bigint | undefined; readonly form: "short" | "near" }
  | { readonly kind: "far"; readonly selector: bigint | undefined; readonly offset: bigint | undefined };

export interface EncodeRequest {
  readonly mode: Mode;
  /** as GNU syntax writes it, lower case, with or without size suffix: `movq`, `mov`, `lretq`, `movzbl`, `cltq`, `jne` */
  readonly mnemonic: string;
  /** Intel order (destination first) */
  readonly operands: readonly AsmOperand[];
  /** a `*` stood before the operand (indirect jump or call) */
  readonly indirect: boolean;
  /** `lock`, `rep`, `repe`, `repz`, `repne`, `repnz`, `data16`, `addr32`, `cs`.. `gs`, `rex64`, in the order written */
  readonly prefixes: readonly string[];
}

/** Where an operand's number stands in the bytes, so that the assembler can put it there later. Offsets in bytes. */
export interface EncodedField {
  /** index into the request's operands */
  readonly operand: number;
  readonly part: "imm" | "disp" | "rel" | "selector" | "offset";
  readonly offset: number;
  readonly size: 1 | 2 | 4 | 8;
  /** the CPU sign-extends the field */
  readonly signed: boolean;
}

export interface Encoded {
  readonly bytes: Uint8Array;
  readonly fields: readonly EncodedField[];
}
