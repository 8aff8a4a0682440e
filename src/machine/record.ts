// From a decoded instruction to the engine's record of it.

import { Base, Kind, Op, Rec, RecFlag, Seg } from "../engine/abi.js";
import type { Insn, Operand } from "../isa/insn.js";

/** What the scenario knows of an address. */
export interface Place {
  readonly address: bigint;
  readonly mode: 32 | 64;
  /** Tag bits */
  readonly tags: number;
  /** place in the coverage map, or 0 */
  readonly cover: number;
}

const SCALE: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };

/** Writes the record of an instruction. `view` covers at least Rec.SIZEOF bytes. */
export function writeRecord(view: DataView, insn: Insn, place: Place): void {
  clear(view);
  view.setUint16(Rec.OP, insn.op, true);
  view.setUint8(Rec.LENGTH, insn.length);
  view.setUint8(Rec.OPSIZE, insn.opSize);
  view.setUint8(Rec.ADDRSIZE, insn.addrSize);
  const crosses = Number(place.address & 0xfffn) + insn.length > 4096;
  view.setUint8(
    Rec.FLAGS,
    (insn.lock ? RecFlag.LOCK : 0) |
      (insn.rep ? RecFlag.REP : 0) |
      (insn.repne ? RecFlag.REPNE : 0) |
      (insn.o16 ? RecFlag.O16 : 0) |
      (crosses ? RecFlag.CROSSES : 0),
  );
  view.setUint8(Rec.COND, insn.cond ?? 0);
  view.setUint8(Rec.SEG, insn.segment);
  insn.operands.forEach((operand, n) => {
    writeOperand(view, operand, n);
  });
  insn.bytes.forEach((byte, i) => {
    view.setUint8(Rec.BYTES + i, byte);
  });
  writePlace(view, place);
}

/** Writes the record of bytes that are no instruction of the table: `op` is Op.UD (defined to raise #UD) or Op.UNSUPPORTED. */
export function writeOpaque(view: DataView, op: Op.UD | Op.UNSUPPORTED, bytes: Uint8Array, place: Place): void {
  clear(view);
  if (Number(place.address & 0xfffn) + bytes.length > 4096) view.setUint8(Rec.FLAGS, RecFlag.CROSSES);
  view.setUint16(Rec.OP, op, true);
  view.setUint8(Rec.LENGTH, Math.max(1, bytes.length));
  view.setUint8(Rec.OPSIZE, 4);
  view.setUint8(Rec.ADDRSIZE, 8);
  view.setUint8(Rec.SEG, Seg.DS);
  bytes.forEach((byte, i) => {
    view.setUint8(Rec.BYTES + i, byte);
  });
  writePlace(view, place);
}

/** Writes a record whose fetch runs into a page that cannot be read: the engine meets the fault there, every time anew. */
export function writeTruncated(view: DataView, bytes: Uint8Array, place: Place): void {
  writeOpaque(view, Op.UNSUPPORTED, bytes, place);
  view.setUint8(Rec.LENGTH, 15);
  view.setUint8(Rec.FLAGS, RecFlag.CROSSES | RecFlag.TRUNCATED);
}

/** Writes a record of more than 15 bytes, of which the first 15 are given. */
export function writeTooLong(view: DataView, bytes: Uint8Array, place: Place): void {
  writeOpaque(view, Op.UD, bytes, place);
  view.setUint8(Rec.FLAGS, view.getUint8(Rec.FLAGS) | RecFlag.TOO_LONG);
}

function clear(view: DataView): void {
  for (let at = 0; at < Rec.SIZEOF; at++) view.setUint8(at, 0);
  view.setUint8(Rec.BASE, Base.NONE);
  view.setUint8(Rec.INDEX, Base.NONE);
}

function writePlace(view: DataView, place: Place): void {
  view.setBigUint64(Rec.RIP, place.address, true);
  view.setUint8(Rec.MODE, place.mode);
  view.setUint32(Rec.TAGS, place.tags, true);
  view.setUint32(Rec.COVER, place.cover, true);
}

function writeOperand(view: DataView, operand: Operand, n: number): void {
  const set = (kind: Kind, register: number, size: number) => {
    view.setUint8(Rec.KIND0 + n, kind);
    view.setUint8(Rec.REG0 + n, register);
    view.setUint8(Rec.SIZE0 + n, size);
  };
  switch (operand.kind) {
    case "gpr":
      set(operand.high ? Kind.HIGH : Kind.GPR, operand.high ? operand.number & 3 : operand.number, operand.size);
      break;
    case "sreg":
      set(Kind.SREG, operand.number, 2);
      break;
    case "creg":
      set(Kind.CREG, operand.number, 8);
      break;
    case "dreg":
      set(Kind.DREG, operand.number, 8);
      break;
    case "mem":
      set(Kind.MEM, 0, operand.size);
      view.setUint8(Rec.BASE, operand.ripRelative ? Base.RIP : (operand.base ?? Base.NONE));
      view.setUint8(Rec.INDEX, operand.index ?? Base.NONE);
      view.setUint8(Rec.SCALE, SCALE[operand.scale] ?? 0);
      view.setBigInt64(Rec.DISP, BigInt.asIntN(64, operand.disp), true);
      break;
    case "imm": {
      const second = n > 0 && view.getUint8(Rec.KIND0 + n - 1) === Kind.IMM;
      set(second ? Kind.IMM2 : Kind.IMM, 0, operand.size);
      view.setBigInt64(second ? Rec.IMM2 : Rec.IMM, BigInt.asIntN(64, operand.value), true);
      break;
    }
    case "rel":
      set(Kind.REL, 0, operand.size);
      view.setBigInt64(Rec.IMM, operand.value, true);
      break;
    case "far":
      set(Kind.FAR, 0, 0);
      view.setBigInt64(Rec.IMM, BigInt.asIntN(64, operand.offset), true);
      view.setBigInt64(Rec.IMM2, BigInt(operand.selector), true);
      break;
  }
}
