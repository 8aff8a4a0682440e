// System registers: control and debug registers, MSRs, descriptor-table registers, and the small instructions around them.

import { Ctx, CtxBy, Kind, Lack, Op, Prop, Reg, Seg, State, Used } from "../abi";
import { innermost, owed } from "../owed/contexts";
import { readMemory, writeMemory } from "./access";
import { Config } from "./config";
import { debugException, Source } from "./deliver";
import { Translations } from "./memory";
import { effective, kindOf, numberOf, opSize, readOperand, segment, writeGpr, writeOperand } from "./operands";
import {
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR4_FSGSBASE,
  CR4_KNOWN,
  CR4_PAE,
  CR4_PCIDE,
  CR4_TSD,
  CR4_UMIP,
  canonical,
  cpl,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  FLAG_AC,
  FLAG_IF,
  FLAG_IOPL,
  flags,
  GP,
  long64,
  longMode,
  M,
  raise,
  reg,
  segReg,
  setCold,
  setFlags,
  setReg,
  setState,
  UD,
  unsupported,
  violate,
} from "./state";

/** #GP(0) unless CPL is 0. */
export function privileged(): bool {
  if (cpl() == 0) return true;
  raise(GP, 0);
  return false;
}

/** CLI and STI at a CPL beyond IOPL are #GP(0). STI opens a shadow when IF was 0 (3.5). */
export function cliSti(op: i32): void {
  if (<u64>cpl() > (flags() & FLAG_IOPL) >> 12) {
    raise(GP, 0);
    return;
  }
  if (op == Op.CLI) setFlags(flags() & ~FLAG_IF);
  else {
    if ((flags() & FLAG_IF) == 0) setState(State.SHADOW_STI);
    setFlags(flags() | FLAG_IF);
  }
}

/** CLAC and STAC: #UD beyond CPL 0 or without SMAP. */
export function clacStac(op: i32): void {
  if (cpl() != 0) raise(UD, 0);
  else setFlags(op == Op.CLAC ? flags() & ~FLAG_AC : flags() | FLAG_AC);
}

export function hlt(): void {
  if (privileged()) setState(State.HALTED);
}

/** SWAPGS (11.10). */
export function swapgs(): void {
  if (!long64()) {
    raise(UD, 0);
    return;
  }
  if (!privileged()) return;
  const base = reg(Reg.GS_BASE);
  setCold(Reg.GS_BASE, reg(Reg.KERNEL_GS_BASE));
  setCold(Reg.KERNEL_GS_BASE, base);
}

// --- control registers -------------------------------------------------------------------------------------------

const CR0_KNOWN: u64 = 0xe005003f;

export function moveControl(): void {
  if (!privileged()) return;
  if (kindOf(0) == Kind.CREG) {
    writeControl(numberOf(0), readOperand(1));
    return;
  }
  const number = numberOf(1);
  if (number != 0 && number != 2 && number != 3 && number != 4 && number != 8) {
    raise(UD, 0);
    return;
  }
  if (number == 2) checkCr2();
  writeGpr(numberOf(0), opSize(), number == 8 ? reg(Reg.CR8) : number == 0 ? reg(Reg.CR0) : reg(Reg.CR2 + number - 2));
}

/** Property cr2: a page-fault handler reads the address of its own fault (12.2). */
function checkCr2(): void {
  const context = innermost();
  if (context == 0 || (owed(context, Ctx.BY) & CtxBy.VECTOR_MASK) != 14 || owed(context, Ctx.BY) >= <u64>CtxBy.SYSCALL)
    return;
  if (Config.checks(Prop.CR2) && reg(Reg.CR2) != owed(context, Ctx.CR2))
    violate(Prop.CR2, reg(Reg.CR2), owed(context, Ctx.CR2));
}

function writeControl(number: i32, value: u64): void {
  switch (number) {
    case 0:
      writeCr0(value);
      break;
    case 2:
      setCold(Reg.CR2, value);
      break;
    case 3:
      writeCr3(value);
      break;
    case 4:
      writeCr4(value);
      break;
    case 8:
      if (value > 15) raise(GP, 0);
      else setCold(Reg.CR8, value);
      break;
    default:
      raise(UD, 0);
      break;
  }
}

function writeCr0(value: u64): void {
  const invalid =
    value >> 32 != 0 ||
    ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) ||
    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0);
  if (invalid || ((value & CR0_PG) == 0 && longMode() && (long64() || (reg(Reg.CR4) & CR4_PCIDE) != 0))) {
    raise(GP, 0);
    return;
  }
  const pagingTurnsOn = (value & CR0_PG) != 0 && (reg(Reg.CR0) & CR0_PG) == 0;
  if ((value & CR0_PE) == 0 || (pagingTurnsOn && ((reg(Reg.CR4) & CR4_PAE) != 0 || (reg(Reg.EFER) & EFER_LME) != 0))) {
    unsupported(Lack.MODE, value);
    return;
  }
  if ((value & CR0_PG) == 0 && longMode()) {
    unsupported(Lack.MODE, value);
    return;
  }
  setCold(Reg.CR0, (value & CR0_KNOWN) | CR0_ET);
  Translations.generation++;
}

/** Bit 63 asks for no flush with PCIDs; the model's translations are never stale (12.9). */
function writeCr3(value: u64): void {
  if (reg(Reg.CR4) & CR4_PCIDE) value &= 0x7fffffffffffffff;
  if (longMode() && value >> 46 != 0) {
    raise(GP, 0);
    return;
  }
  setCold(Reg.CR3, value);
  Translations.generation++;
}

function writeCr4(value: u64): void {
  const changed = value ^ reg(Reg.CR4);
  if (
    (value & ~CR4_KNOWN) != 0 ||
    (longMode() && (value & CR4_PAE) == 0) ||
    ((value & CR4_PCIDE) != 0 && !longMode()) ||
    ((changed & value & CR4_PCIDE) != 0 && (reg(Reg.CR3) & 0xfff) != 0)
  ) {
    raise(GP, 0);
    return;
  }
  if (!longMode() && (value & CR4_PAE) != 0 && (reg(Reg.CR0) & CR0_PG) != 0) {
    unsupported(Lack.MODE, value);
    return;
  }
  setCold(Reg.CR4, value);
  Translations.generation++;
}

/** LMSW cannot clear PE. */
export function lmsw(): void {
  if (!privileged()) return;
  const value = readOperand(0);
  if (M.fault < 0) writeCr0((reg(Reg.CR0) & ~(<u64>0xe)) | (value & 0xf));
}

export function smsw(): void {
  if (!mayShow()) return;
  const value = reg(Reg.CR0);
  writeOperand(0, kindOf(0) == Kind.MEM ? value & 0xffff : value);
}

export function clts(): void {
  if (privileged()) setCold(Reg.CR0, reg(Reg.CR0) & ~CR0_TS);
}

// --- debug registers ---------------------------------------------------------------------------------------------

/** With DR7.GD set any access is a #DB fault (8.6). */
export function moveDebug(): void {
  const writes = kindOf(0) == Kind.DREG;
  let number = numberOf(writes ? 0 : 1);
  if (number == 4 || number == 5) {
    if (reg(Reg.CR4) & 8) {
      raise(UD, 0);
      return;
    }
    number += 2;
  }
  if (number > 7) {
    raise(UD, 0);
    return;
  }
  if (!privileged()) return;
  if (reg(Reg.DR7) & 0x2000) {
    M.generalDetect = true;
    return;
  }
  const word: i32 = number < 4 ? Reg.DR0 + number : number == 6 ? Reg.DR6 : Reg.DR7;
  if (!writes) {
    writeGpr(numberOf(0), opSize(), reg(word));
    return;
  }
  const value = readOperand(1);
  if (number >= 6 && value >> 32 != 0) {
    raise(GP, 0);
    return;
  }
  if (number == 6)
    setCold(word, (value & 0xe00f) | 0xffff0ff0); // no RTM, no bus-lock traps: bits 16 and 11 read as 1
  else if (number == 7) setCold(word, (value & 0xffff2bff) | 0x400);
  else setCold(word, value);
}

/** The fault that `moveDebug` asked for. */
export function generalDetect(rip: u64): void {
  debugException(0x2000, Source.FAULT, rip);
  M.generalDetect = false;
}

// --- MSRs --------------------------------------------------------------------------------------------------------

/** The register that holds an MSR, or -1. */
function msr(number: u32): i32 {
  switch (number) {
    case 0x1b:
      return Reg.APIC_BASE;
    case 0x48:
      return Reg.SPEC_CTRL;
    case 0x174:
      return Reg.SYSENTER_CS;
    case 0x175:
      return Reg.SYSENTER_ESP;
    case 0x176:
      return Reg.SYSENTER_EIP;
    case 0x17a:
      return Reg.MCG_STATUS;
    case 0x1d9:
      return Reg.DEBUGCTL;
    case 0x277:
      return Reg.PAT;
    case 0xc0000080:
      return Reg.EFER;
    case 0xc0000081:
      return Reg.STAR;
    case 0xc0000082:
      return Reg.LSTAR;
    case 0xc0000083:
      return Reg.CSTAR;
    case 0xc0000084:
      return Reg.FMASK;
    case 0xc0000100:
      return Reg.FS_BASE;
    case 0xc0000101:
      return Reg.GS_BASE;
    case 0xc0000102:
      return Reg.KERNEL_GS_BASE;
    case 0xc0000103:
      return Reg.TSC_AUX;
    default:
      return -1;
  }
}

export function rdmsr(): void {
  if (!privileged()) return;
  const number = <u32>reg(Reg.RCX);
  const at = msr(number);
  let value: u64 = 0;
  if (at >= 0) value = reg(at);
  else if (number == 0x10) M.used |= Used.TSC;
  else if (number != 0x179 && number != 0x49) {
    unsupported(Lack.MSR, <u64>number);
    return;
  }
  setReg(Reg.RAX, value & 0xffffffff);
  setReg(Reg.RDX, value >> 32);
}

export function wrmsr(): void {
  if (!privileged()) return;
  const number = <u32>reg(Reg.RCX);
  const value = (reg(Reg.RAX) & 0xffffffff) | (reg(Reg.RDX) << 32);
  if (number == 0x49) return; // PRED_CMD: a barrier
  const at = msr(number);
  if (at < 0) {
    unsupported(Lack.MSR, <u64>number);
    return;
  }
  const address =
    at == Reg.LSTAR ||
    at == Reg.CSTAR ||
    at == Reg.FS_BASE ||
    at == Reg.GS_BASE ||
    at == Reg.KERNEL_GS_BASE ||
    at == Reg.SYSENTER_ESP ||
    at == Reg.SYSENTER_EIP;
  if (address && !canonical(value)) raise(GP, 0);
  else if (at == Reg.MCG_STATUS && value != 0)
    raise(GP, 0); // 9.3
  else if (at == Reg.EFER) writeEfer(value);
  else if (at == Reg.FMASK || at == Reg.SYSENTER_CS) setCold(at, value & 0xffffffff);
  else setCold(at, value);
}

function writeEfer(value: u64): void {
  const known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
  const changesLme = ((value ^ reg(Reg.EFER)) & EFER_LME) != 0;
  if ((value & ~known) != 0 || (changesLme && (reg(Reg.CR0) & CR0_PG) != 0)) {
    raise(GP, 0);
    return;
  }
  setCold(Reg.EFER, (value & ~EFER_LMA) | (reg(Reg.EFER) & EFER_LMA));
  Translations.generation++;
}

/** RDFSBASE and its kin: #UD without CR4.FSGSBASE or outside 64-bit mode (11.12). */
export function fsGsBase(op: i32): void {
  if (!long64() || (reg(Reg.CR4) & CR4_FSGSBASE) == 0) {
    raise(UD, 0);
    return;
  }
  const base: i32 = op == Op.RDFSBASE || op == Op.WRFSBASE ? Reg.FS_BASE : Reg.GS_BASE;
  if (op == Op.RDFSBASE || op == Op.RDGSBASE) {
    writeOperand(0, reg(base));
    return;
  }
  const value = readOperand(0);
  if (canonical(value)) setCold(base, value);
  else raise(GP, 0);
}

// --- descriptor-table registers ----------------------------------------------------------------------------------

export function loadTable(op: i32): void {
  if (!privileged()) return;
  const at = effective();
  const limit = readMemory(segment(), at, 2);
  if (M.fault >= 0) return;
  const wide = long64();
  let base = readMemory(segment(), at + 2, wide ? 8 : 4);
  if (M.fault >= 0) return;
  if (!wide && opSize() == 2) base &= 0xffffff;
  if (wide && !canonical(base)) {
    raise(GP, 0);
    return;
  }
  const word: i32 = op == Op.LGDT ? Reg.GDTR_BASE : Reg.IDTR_BASE;
  setCold(word, base);
  setCold(word + 1, limit);
}

/** With CR4.UMIP the system registers are shown to CPL 0 only. */
function mayShow(): bool {
  return (reg(Reg.CR4) & CR4_UMIP) == 0 || privileged();
}

export function storeTable(op: i32): void {
  if (!mayShow()) return;
  const word: i32 = op == Op.SGDT ? Reg.GDTR_BASE : Reg.IDTR_BASE;
  const at = effective();
  writeMemory(segment(), at, 2, reg(word + 1));
  if (M.fault < 0) writeMemory(segment(), at + 2, long64() ? 8 : 4, reg(word));
}

export function storeSelector(op: i32): void {
  if (!mayShow()) return;
  writeOperand(0, reg(segReg(op == Op.STR ? Seg.TR : Seg.LDTR)));
}

/** INVPCID drops cached translations; the model's are never stale, so only the checks remain. */
export function invpcid(): void {
  if (!privileged()) return;
  const kind = readOperand(0);
  const descriptor = readMemory(segment(), effective(), 8);
  if (M.fault >= 0) return;
  const address = readMemory(segment(), effective() + 8, 8);
  if (M.fault >= 0) return;
  const foreign = kind < 2 && (reg(Reg.CR4) & CR4_PCIDE) == 0 && (descriptor & 0xfff) != 0;
  if (kind > 3 || descriptor >> 12 != 0 || foreign || (kind == 0 && !canonical(address))) raise(GP, 0);
}

// --- what a program may ask of the processor ---------------------------------------------------------------------

/** A fixed small processor: no optional feature but those that the model has. */
export function cpuid(): void {
  M.used |= Used.CPUID;
  const leaf = <u32>reg(Reg.RAX);
  let a: u64 = 0,
    b: u64 = 0,
    c: u64 = 0,
    d: u64 = 0;
  switch (leaf) {
    case 0:
      a = 7;
      b = 0x70617274;
      d = 0x63656863;
      c = 0x6b;
      break;
    // CX16, PCID, POPCNT; DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, PGE, CMOV, PAT
    case 1:
      a = 0x600;
      c = 0x00822000;
      d = 0x0001abfc;
      break;
    // FSGSBASE, BMI1 (for TZCNT), SMEP, INVPCID, SMAP; UMIP
    case 7:
      if ((reg(Reg.RCX) & 0xffffffff) == 0) {
        b = 0x00100489;
        c = 4;
      }
      break;
    case 0x80000000:
      a = 0x80000001;
      break;
    // LAHF in 64-bit mode, LZCNT; SYSCALL, NX, 1 GiB pages, RDTSCP, 64-bit mode
    case 0x80000001:
      c = 0x21;
      d = 0x2c100800;
      break;
    default:
      break;
  }
  setReg(Reg.RAX, a);
  setReg(Reg.RBX, b);
  setReg(Reg.RCX, c);
  setReg(Reg.RDX, d);
}

/** Time does not pass in the model: the counter reads zero. */
export function rdtsc(withAux: bool): void {
  if ((reg(Reg.CR4) & CR4_TSD) != 0 && cpl() != 0) {
    raise(GP, 0);
    return;
  }
  M.used |= Used.TSC;
  setReg(Reg.RAX, 0);
  setReg(Reg.RDX, 0);
  if (withAux) setReg(Reg.RCX, reg(Reg.TSC_AUX) & 0xffffffff);
}
