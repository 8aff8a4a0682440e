// One instruction: from its operation to the function that has its semantics. RIP moves to M.next afterwards.

import { Kind, Lack, Op, Rec, Reg, Seg } from "../abi";
import { linear, readForWrite, readMemory, writeBack, writeMemory } from "./access";
import {
  binary,
  bswap,
  cbw,
  cmpxchg,
  cmpxchg8b,
  condition,
  cwd,
  div,
  imul2,
  lahf,
  movExtended,
  mul,
  sahf,
  unary,
  xadd,
  xchg,
} from "./alu";
import { bitScan, bitTest, doubleShift, shift } from "./bits";
import {
  call,
  enter,
  jump,
  jumpIf,
  leave,
  loop,
  move,
  moveIf,
  popAll,
  popFlags,
  popOperand,
  pushAll,
  pushFlags,
  pushOperand,
  ret,
  stackReplaced,
} from "./control";
import { debugException, deliver, Source } from "./deliver";
import { farTransfer, iret, retFar, syscall, sysenter, sysexit, sysret } from "./far";
import {
  effective,
  immediate,
  kindOf,
  numberOf,
  opSize,
  readGpr,
  readOperand,
  segment,
  sizeOf,
  writeGpr,
  writeOperand,
} from "./operands";
import { Access } from "./paging";
import { portIn, portOut } from "./ports";
import { inspect, loadSegment, loadSystemSegment, openStackShadow } from "./segments";
import {
  BP,
  FLAG_CF,
  FLAG_DF,
  FLAG_OF,
  FLAG_RF,
  flags,
  GP,
  M,
  OF,
  raise,
  reg,
  segReg,
  setFlags,
  setReg,
  UD,
  unsupported,
} from "./state";
import { stringStep } from "./string";
import {
  clacStac,
  cliSti,
  clts,
  cpuid,
  fsGsBase,
  hlt,
  invpcid,
  lmsw,
  loadTable,
  moveControl,
  moveDebug,
  privileged,
  rdmsr,
  rdtsc,
  smsw,
  storeSelector,
  storeTable,
  swapgs,
  wrmsr,
} from "./system";

/** Executes the instruction in M.rec. A fault stands in M.fault; nothing else has changed then but what the manual says. */
export function execute(): void {
  const op = <i32>load<u16>(M.rec, Rec.OP);
  switch (op) {
    case Op.ADD:
    case Op.OR:
    case Op.ADC:
    case Op.SBB:
    case Op.AND:
    case Op.SUB:
    case Op.XOR:
    case Op.CMP:
    case Op.TEST:
      binary(op);
      break;
    case Op.INC:
    case Op.DEC:
    case Op.NEG:
    case Op.NOT:
      unary(op);
      break;
    case Op.MOV:
      move();
      replaced(0);
      break;
    case Op.MOVZX:
      movExtended(false);
      break;
    case Op.MOVSX:
      movExtended(true);
      break;
    case Op.LEA:
      writeOperand(0, effective());
      replaced(0);
      break;
    case Op.XCHG:
      xchg();
      replaced(0);
      replaced(1);
      break;
    case Op.XADD:
      xadd();
      break;
    case Op.CMPXCHG:
      cmpxchg();
      break;
    case Op.CMPXCHG8B:
      compareExchangeWide();
      break;
    case Op.BSWAP:
      bswap();
      break;
    case Op.PUSH:
      pushOperand();
      break;
    case Op.POP:
      popOperand();
      replaced(0);
      break;
    case Op.PUSHA:
      pushAll();
      break;
    case Op.POPA:
      popAll();
      break;
    case Op.PUSHF:
      pushFlags();
      break;
    case Op.POPF:
      popFlags();
      break;
    case Op.ENTER:
      enter();
      break;
    case Op.LEAVE:
      leave();
      break;
    case Op.ROL:
    case Op.ROR:
    case Op.RCL:
    case Op.RCR:
    case Op.SHL:
    case Op.SHR:
    case Op.SAR:
      shift(op);
      break;
    case Op.SHLD:
    case Op.SHRD:
      doubleShift(op);
      break;
    case Op.MUL:
    case Op.IMUL1:
      mul(op);
      break;
    case Op.DIV:
    case Op.IDIV:
      div(op);
      break;
    case Op.IMUL2:
      imul2();
      break;
    case Op.BT:
    case Op.BTS:
    case Op.BTR:
    case Op.BTC:
      bitTest(op);
      break;
    case Op.BSF:
    case Op.BSR:
    case Op.TZCNT:
    case Op.LZCNT:
    case Op.POPCNT:
      bitScan(op);
      break;
    case Op.SETCC:
      writeOperand(0, condition(<i32>load<u8>(M.rec, Rec.COND)) ? 1 : 0);
      break;
    case Op.CMOVCC:
      moveIf();
      break;
    case Op.JCC:
      jumpIf();
      break;
    case Op.JMP:
      jump();
      break;
    case Op.CALL:
      call();
      break;
    case Op.RET:
      ret();
      break;
    case Op.JMPF:
    case Op.CALLF:
      farTransfer(op);
      break;
    case Op.RETF:
      retFar();
      break;
    case Op.IRET:
      iret();
      break;
    case Op.INT:
      deliver(<i32>immediate() & 0xff, Source.SOFTWARE, 0, M.next);
      break;
    case Op.INT3:
      deliver(BP, Source.SOFTWARE, 0, M.next);
      break;
    // INT1: no DR6 change, no DPL check (8.11); what a watched SS load left pending goes with it (3.15)
    case Op.INT1:
      setReg(Reg.RIP, M.next);
      debugException(0, Source.TRAP, M.next);
      break;
    case Op.INTO:
      if (flags() & FLAG_OF) deliver(OF, Source.SOFTWARE, 0, M.next);
      break;
    case Op.LOOP:
    case Op.LOOPE:
    case Op.LOOPNE:
    case Op.JCXZ:
      loop(op);
      break;
    case Op.MOVS:
    case Op.CMPS:
    case Op.STOS:
    case Op.LODS:
    case Op.SCAS:
    case Op.INS:
    case Op.OUTS:
      if (stringStep(op)) {
        M.next = M.rip;
        setFlags(flags() | FLAG_RF); // an event between iterations saves RF=1 (4.16)
      }
      break;
    case Op.IN:
      inPort();
      break;
    case Op.OUT:
      portOut(<i32>readOperand(0) & 0xffff, sizeOf(1));
      break;
    case Op.CBW:
      cbw();
      break;
    case Op.CWD:
      cwd();
      break;
    case Op.LAHF:
      lahf();
      break;
    case Op.SAHF:
      sahf();
      break;
    case Op.CLC:
      setFlags(flags() & ~FLAG_CF);
      break;
    case Op.STC:
      setFlags(flags() | FLAG_CF);
      break;
    case Op.CMC:
      setFlags(flags() ^ FLAG_CF);
      break;
    case Op.CLD:
      setFlags(flags() & ~FLAG_DF);
      break;
    case Op.STD:
      setFlags(flags() | FLAG_DF);
      break;
    case Op.CLI:
    case Op.STI:
      cliSti(op);
      break;
    case Op.CLAC:
    case Op.STAC:
      clacStac(op);
      break;
    case Op.XLAT:
      xlat();
      break;
    case Op.NOP:
    case Op.PAUSE:
    case Op.LFENCE:
    case Op.MFENCE:
    case Op.SFENCE:
    case Op.SERIALIZE:
      break;
    case Op.CPUID:
      cpuid();
      break;
    case Op.RDTSC:
      rdtsc(false);
      break;
    case Op.RDTSCP:
      rdtsc(true);
      break;
    case Op.UD:
      raise(UD, 0);
      break;
    case Op.HLT:
      hlt();
      break;
    case Op.SYSCALL:
      syscall();
      break;
    case Op.SYSRET:
      sysret();
      break;
    case Op.SYSENTER:
      sysenter();
      break;
    case Op.SYSEXIT:
      sysexit();
      break;
    case Op.SWAPGS:
      swapgs();
      break;
    case Op.RDMSR:
      rdmsr();
      break;
    case Op.WRMSR:
      wrmsr();
      break;
    case Op.LGDT:
    case Op.LIDT:
      loadTable(op);
      break;
    case Op.SGDT:
    case Op.SIDT:
      storeTable(op);
      break;
    case Op.LLDT:
    case Op.LTR:
      loadSystemSegment(op);
      break;
    case Op.SLDT:
    case Op.STR:
      storeSelector(op);
      break;
    case Op.LMSW:
      lmsw();
      break;
    case Op.SMSW:
      smsw();
      break;
    case Op.CLTS:
      clts();
      break;
    case Op.INVLPG:
    case Op.WBINVD:
    case Op.INVD:
      privileged();
      break;
    case Op.INVPCID:
      invpcid();
      break;
    case Op.MOVCR:
      moveControl();
      break;
    case Op.MOVDR:
      moveDebug();
      break;
    case Op.MOVTOSEG:
      moveToSegment();
      break;
    case Op.MOVFROMSEG:
      writeOperand(0, reg(segReg(numberOf(1))));
      break;
    case Op.LSEG:
      loadFarPointer();
      break;
    case Op.LAR:
    case Op.LSL:
    case Op.VERR:
    case Op.VERW:
      inspect(op);
      break;
    case Op.RDFSBASE:
    case Op.RDGSBASE:
    case Op.WRFSBASE:
    case Op.WRGSBASE:
      fsGsBase(op);
      break;
    // CR4.FRED is never set, and there is no SMM: these are #UD (13.10, 10.5)
    case Op.ERETS:
    case Op.ERETU:
    case Op.LKGS:
    case Op.RSM:
      raise(UD, 0);
      break;
    default:
      unsupported(Lack.INSTRUCTION, M.rip);
      break;
  }
}

/** RSP got a new absolute value (property user-stack). */
function replaced(n: i32): void {
  if (M.fault < 0 && kindOf(n) == Kind.GPR && numberOf(n) == Reg.RSP) stackReplaced();
}

function inPort(): void {
  const value = portIn(<i32>readOperand(1) & 0xffff, sizeOf(0));
  if (M.fault < 0) writeGpr(Reg.RAX, sizeOf(0), value);
}

/** XLAT: AL from table[AL]. */
function xlat(): void {
  const width = <i32>load<u8>(M.rec, Rec.ADDRSIZE);
  const value = readMemory(segment(), readGpr(Reg.RBX, width) + (reg(Reg.RAX) & 0xff), 1);
  if (M.fault < 0) writeGpr(Reg.RAX, 1, value);
}

/** CMPXCHG8B, CMPXCHG16B (which wants 16-byte alignment, whatever the page tables say). */
function compareExchangeWide(): void {
  const half = opSize() >> 1;
  const at = effective();
  const seg = segment();
  if (half == 8 && (linear(seg, at, 16, Access.WRITE) & 15) != 0) {
    if (M.fault < 0) raise(GP, 0);
    return;
  }
  const high = readForWrite(seg, at + <u64>half, half);
  if (M.fault >= 0) return;
  const low = readForWrite(seg, at, half);
  if (M.fault >= 0) return;
  if (!cmpxchg8b(low, high, half)) return;
  writeBack(half, readGpr(Reg.RBX, half));
  writeMemory(seg, at + <u64>half, half, readGpr(Reg.RCX, half));
}

/** MOV to a segment register; CS is #UD. SS opens a shadow (3.1). */
function moveToSegment(): void {
  const seg = numberOf(0);
  if (seg == Seg.CS || seg > Seg.GS) {
    raise(UD, 0);
    return;
  }
  const selector = readOperand(1);
  if (M.fault >= 0) return;
  loadSegment(seg, selector);
  if (M.fault < 0 && seg == Seg.SS) openStackShadow(M.shadows);
}

/** LDS LES LSS LFS LGS: LSS has no shadow (3.4). */
function loadFarPointer(): void {
  const size = opSize();
  const at = effective();
  const offset = readMemory(segment(), at, size);
  if (M.fault >= 0) return;
  const selector = readMemory(segment(), at + <u64>size, 2);
  if (M.fault >= 0) return;
  loadSegment(numberOf(2), selector);
  if (M.fault < 0) {
    writeOperand(0, offset);
    replaced(0);
  }
}
