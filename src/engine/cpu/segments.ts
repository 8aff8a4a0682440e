// Descriptors: reading them from the tables, the checks of segment loads (SDM vol. 3, chapters 3 and 5), LAR and its kin.

import { Attr, Op, Reg, Seg, State } from "../abi";
import { readSystem, writeSystem } from "./access";
import { opSize, readOperand, writeOperand } from "./operands";
import {
  canonical,
  cpl,
  FLAG_ZF,
  flags,
  GP,
  long64,
  longMode,
  M,
  NP,
  raise,
  reg,
  SS,
  segReg,
  setCold,
  setFlags,
  setState,
  state,
} from "./state";

/** The descriptor that was read last. */
export class Descriptor {
  /** linear address of its 8 bytes */
  static at: u64 = 0;
  static base: u64 = 0;
  static limit: u64 = 0;
  /** Attr bits; 0 when the selector is null or outside its table */
  static attr: u64 = 0;
  static raw: u64 = 0;

  static dpl(): i32 {
    return <i32>((Descriptor.attr & Attr.DPL_MASK) >> Attr.DPL_SHIFT);
  }
  static isCode(): bool {
    return (Descriptor.attr & (Attr.S | Attr.CODE)) == (Attr.S | Attr.CODE);
  }
  static isData(): bool {
    return (Descriptor.attr & (Attr.S | Attr.CODE)) == Attr.S;
  }
  static conforming(): bool {
    return (Descriptor.attr & Attr.DC) != 0;
  }
  static present(): bool {
    return (Descriptor.attr & Attr.P) != 0;
  }
}

/** Reads the descriptor of a selector. False: null, or outside its table (no fault raised), or a fault while reading. */
export function readDescriptor(selector: u64): bool {
  const local = (selector & 4) != 0;
  const base = local ? reg(Reg.LDTR_BASE) : reg(Reg.GDTR_BASE);
  const limit = local ? (reg(Reg.LDTR_ATTR) & Attr.NULL ? 0 : reg(Reg.LDTR_LIMIT)) : reg(Reg.GDTR_LIMIT);
  const offset = selector & 0xfff8;
  if ((selector & 0xfffc) == 0 || offset + 7 > limit) return false;
  const raw = readSystem(base + offset, 8);
  if (M.fault >= 0) return false;
  Descriptor.at = base + offset;
  unpack(raw);
  return true;
}

/** Reads a descriptor that must be there; #GP with that error code when its table ends before it. */
export function needDescriptor(selector: u64, code: u64): bool {
  if (readDescriptor(selector)) return true;
  raise(GP, code);
  return false;
}

function unpack(raw: u64): void {
  Descriptor.raw = raw;
  Descriptor.base = ((raw >> 16) & 0xffffff) | (((raw >> 56) & 0xff) << 24);
  let limit = (raw & 0xffff) | (((raw >> 48) & 0xf) << 16);
  Descriptor.attr = ((raw >> 40) & 0xff) | (((raw >> 52) & 0xf) << 8);
  if (Descriptor.attr & Attr.G) limit = (limit << 12) | 0xfff;
  Descriptor.limit = limit;
}

/** Sets the accessed bit in memory and in the cached attributes. */
export function markAccessed(): void {
  if ((Descriptor.attr & Attr.ACCESSED) != 0 || (Descriptor.attr & Attr.S) == 0) return;
  writeSystem(Descriptor.at + 5, 1, ((Descriptor.raw >> 40) & 0xff) | 1);
  Descriptor.attr |= Attr.ACCESSED;
}

/** Writes a segment register: selector and cache. */
export function setSegment(seg: i32, selector: u64, base: u64, limit: u64, attr: u64): void {
  const s = segReg(seg);
  setCold(s, selector);
  setCold(s + 1, base);
  setCold(s + 2, limit);
  setCold(s + 3, attr);
}

/** Loads a segment register from the descriptor read last. */
export function setSegmentFromDescriptor(seg: i32, selector: u64): void {
  setSegment(seg, selector, Descriptor.base, Descriptor.limit, Descriptor.attr);
}

/** A null selector: the base of FS and GS goes to zero as on Intel (6.12), unless the vendor keeps it. */
export function setNull(seg: i32, selector: u64): void {
  const keepBase = M.amd && seg >= Seg.FS && seg <= Seg.GS;
  setSegment(seg, selector, keepBase ? reg(segReg(seg) + 1) : 0, 0, Attr.NULL | ((<u64>cpl()) << Attr.DPL_SHIFT));
}

/** MOV to, POP of and LxS of DS, ES, FS, GS and SS. */
export function loadSegment(seg: i32, selector: u64): void {
  selector &= 0xffff;
  const code = selector & 0xfffc;
  if (code == 0) {
    if (seg == Seg.SS && !(long64() && cpl() != 3 && <i32>(selector & 3) == cpl())) {
      raise(GP, 0);
      return;
    }
    setNull(seg, selector);
    return;
  }
  if (!needDescriptor(selector, code)) return;
  const rpl = <i32>(selector & 3);
  if (seg == Seg.SS) {
    if (rpl != cpl() || !Descriptor.isData() || (Descriptor.attr & Attr.RW) == 0 || Descriptor.dpl() != cpl())
      raise(GP, code);
    else if (!Descriptor.present()) raise(SS, code);
  } else {
    const readable = Descriptor.isData() || (Descriptor.isCode() && (Descriptor.attr & Attr.RW) != 0);
    const privileged = Descriptor.isData() || !Descriptor.conforming();
    if (!readable || (privileged && (rpl > Descriptor.dpl() || cpl() > Descriptor.dpl()))) raise(GP, code);
    else if (!Descriptor.present()) raise(NP, code);
  }
  if (M.fault >= 0) return;
  markAccessed();
  if (M.fault < 0) setSegmentFromDescriptor(seg, selector);
}

/** MOV SS and POP SS open a shadow, unless one is open already (3.1, 3.3). `before` is STATE at the start of the instruction. */
export function openStackShadow(before: u64): void {
  if ((before & State.SHADOW_SS) == 0) setState(State.SHADOW_SS);
}

/** On a return to an outer level DS, ES, FS and GS that the new level may not use become null (6.12). */
export function dropInaccessible(newCpl: i32): void {
  for (let seg: i32 = Seg.ES; seg <= Seg.GS; seg++) {
    if (seg == Seg.CS || seg == Seg.SS) continue;
    const attr = reg(segReg(seg) + 3);
    if (attr & Attr.NULL) continue;
    const dpl = <i32>((attr & Attr.DPL_MASK) >> Attr.DPL_SHIFT);
    const dataOrNonconforming = (attr & Attr.CODE) == 0 || (attr & Attr.DC) == 0;
    if (dataOrNonconforming && dpl < newCpl) setNull(seg, 0);
  }
}

/** LAR LSL VERR VERW: ZF says whether the descriptor may be seen. */
export function inspect(op: i32): void {
  const verify = op == Op.VERR || op == Op.VERW;
  const selector = readOperand(verify ? 0 : 1) & 0xffff;
  if (M.fault >= 0) return;
  const visible = readDescriptor(selector) && visibleTo(op, selector);
  if (M.fault >= 0) return;
  setFlags((flags() & ~FLAG_ZF) | (visible ? FLAG_ZF : 0));
  if (!visible || verify) return;
  if (op == Op.LSL) writeOperand(0, Descriptor.limit);
  else {
    // the manual leaves bits 19:16 undefined; CPUs give those of the limit
    const rights = (Descriptor.raw >> 32) & 0x00ffff00;
    writeOperand(0, opSize() == 2 ? rights & 0xffff : rights);
  }
}

function visibleTo(op: i32, selector: u64): bool {
  const rpl = <i32>(selector & 3);
  const type = <i32>(Descriptor.attr & Attr.TYPE_MASK);
  if ((Descriptor.attr & Attr.S) == 0) {
    if (op == Op.VERR || op == Op.VERW) return false;
    // system descriptors that LAR and LSL accept: LDT, available and busy TSS; LAR also call gates (and 32-bit task gates)
    const longKinds = type == 2 || type == 9 || type == 11;
    const allKinds = longKinds || type == 1 || type == 3;
    const gates = op == Op.LAR && (type == 12 || (!longMode() && (type == 4 || type == 5)));
    if (!(longMode() ? longKinds || gates : allKinds || gates)) return false;
  } else if (op == Op.VERR) {
    if (Descriptor.isCode() && (Descriptor.attr & Attr.RW) == 0) return false;
  } else if (op == Op.VERW) {
    if (!Descriptor.isData() || (Descriptor.attr & Attr.RW) == 0) return false;
  }
  if (Descriptor.isCode() && Descriptor.conforming()) return true;
  return cpl() <= Descriptor.dpl() && rpl <= Descriptor.dpl();
}

/** LLDT and LTR; system descriptors have 16 bytes in IA-32e mode. */
export function loadSystemSegment(op: i32): void {
  if (cpl() != 0) {
    raise(GP, 0);
    return;
  }
  const selector = readOperand(0) & 0xffff;
  if (M.fault >= 0) return;
  const code = selector & 0xfffc;
  const seg = op == Op.LTR ? Seg.TR : Seg.LDTR;
  if (code == 0 && op == Op.LLDT) {
    setSegment(seg, selector, 0, 0, Attr.NULL);
    return;
  }
  if (code == 0 || (selector & 4) != 0 || !readDescriptor(selector)) {
    raise(GP, code);
    return;
  }
  const type = <i32>(Descriptor.attr & (Attr.TYPE_MASK | Attr.S));
  const wanted = op == Op.LLDT ? type == 2 : type == 9 || (type == 1 && !longMode());
  if (!wanted) {
    raise(GP, code);
    return;
  }
  if (!Descriptor.present()) {
    raise(NP, code);
    return;
  }
  let base = Descriptor.base;
  const at = Descriptor.at;
  const raw = Descriptor.raw;
  if (longMode()) {
    if ((selector & 0xfff8) + 15 > reg(Reg.GDTR_LIMIT)) {
      raise(GP, code);
      return;
    }
    base |= readSystem(at + 8, 4) << 32;
    if (M.fault >= 0) return;
    if (!canonical(base)) {
      raise(GP, code);
      return;
    }
  }
  let attr = Descriptor.attr;
  if (op == Op.LTR) {
    writeSystem(at + 5, 1, ((raw >> 40) & 0xff) | 2);
    attr |= 2;
  }
  if (M.fault < 0) setSegment(seg, selector, base, Descriptor.limit, attr);
}
