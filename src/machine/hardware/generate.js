// Makes instructions out of the rows of the instruction table, and inputs for them that reach something: registers such
// that memory operands lie in the data pages, boundary values, divisions that do and do not overflow. Always the same ones.

import { Op } from "../../../dist/engine/abi.js";
import { decode } from "../../../dist/isa/decode.js";
import { ROWS } from "../../../dist/isa/table.js";

export const DATA = 0x8000n;
export const DATA_SIZE = 0x2000;
export const CODE = 0x1000_0000n;
/** bytes between the addresses of two cases */
export const SLOT = 16;
export const FS_BASE = 0x5000n;
export const GS_BASE = 0x1_2345_6000n;
const RSP = 4;
const RBP = 5;
/** arithmetic flags and DF */
const INPUT_FLAGS = 0xcd5;
const DF = 0x400;
const AC = 0x40000;

// xorshift64*: the same numbers everywhere
let state = 0x7472_6170_6368_6563n;
function word() {
  state ^= state >> 12n;
  state = BigInt.asUintN(64, state ^ (state << 25n));
  state ^= state >> 27n;
  return BigInt.asUintN(64, state * 0x2545_f491_4f6c_dd1dn);
}
export const below = (n) => Number(word() >> 11n) % n;
const chance = (percent) => below(100) < percent;
const pick = (list) => list[below(list.length)];
const cut = (value, size) => BigInt.asUintN(size * 8, value);

/** Register sets that cases start from; a case names one and what it has otherwise. */
export const SETS = Array.from({ length: 32 }, () => {
  const set = Array.from({ length: 16 }, word);
  set[RSP] = DATA + 0x1000n;
  return set;
});
export const BASELINE = Uint8Array.from({ length: DATA_SIZE }, () => below(256));

/** A value of `size` bytes: a boundary of some width, a small number, or anything. */
function value(size) {
  const bits = BigInt(pick([8, 16, 32, 64].filter((n) => n <= size * 8).concat(size * 8, size * 8)));
  const one = 1n << (bits - 1n);
  switch (below(5)) {
    case 0:
      return cut(pick([0n, 1n, 2n, -1n, -2n]), size);
    case 1:
      return cut(pick([one, one - 1n, one + 1n, 2n * one - 1n, 2n * one, -one, -one - 1n]), size);
    case 2:
      return cut(1n << BigInt(below(size * 8)), size);
    case 3:
      return cut(BigInt(below(256)), size);
    default:
      return cut(word(), size);
  }
}

const STACK = new Set([Op.PUSH, Op.POP, Op.PUSHA, Op.POPA, Op.PUSHF, Op.POPF, Op.ENTER, Op.LEAVE, Op.CALL, Op.RET]);
const STRINGS = new Set([Op.MOVS, Op.CMPS, Op.STOS, Op.LODS, Op.SCAS]);
/** they ask about a selector */
const INSPECTED = new Set([Op.LAR, Op.LSL, Op.VERR, Op.VERW]);
const NOT_ACCESSED = new Set([Op.LEA, Op.NOP]);
/** Of src/isa/table/control.ts and system.ts: what CPL 3 executes, with as many cases as each row gets. */
const OTHER_ROWS = new Map([
  [Op.PUSH, 24],
  [Op.POP, 24],
  [Op.PUSHA, 40],
  [Op.POPA, 40],
  [Op.PUSHF, 16],
  [Op.POPF, 40],
  [Op.ENTER, 48],
  [Op.LEAVE, 16],
  [Op.JCC, 96],
  [Op.JMP, 24],
  [Op.CALL, 24],
  [Op.RET, 16],
  [Op.LOOP, 32],
  [Op.LOOPE, 32],
  [Op.LOOPNE, 32],
  [Op.JCXZ, 32],
  [Op.PAUSE, 1],
  [Op.UD, 2],
  [Op.LFENCE, 1],
  [Op.MFENCE, 1],
  [Op.SFENCE, 1],
  [Op.MOVFROMSEG, 24],
  [Op.LSEG, 12],
  [Op.LAR, 24],
  [Op.LSL, 24],
  [Op.VERR, 12],
  [Op.VERW, 12],
  [Op.MOVTOSEG, 16],
  [Op.RDFSBASE, 6],
  [Op.RDGSBASE, 6],
  [Op.WRFSBASE, 8],
  [Op.WRGSBASE, 8],
  // refused at CPL 3
  [Op.HLT, 1],
  [Op.CLI, 1],
  [Op.STI, 1],
  [Op.IN, 3],
  [Op.OUT, 3],
  [Op.INS, 3],
  [Op.OUTS, 3],
  [Op.CLAC, 1],
  [Op.STAC, 1],
  [Op.LGDT, 2],
  [Op.LIDT, 2],
  [Op.LLDT, 2],
  [Op.LTR, 2],
  [Op.LMSW, 2],
  [Op.CLTS, 1],
  [Op.INVLPG, 2],
  [Op.WBINVD, 1],
  [Op.INVD, 1],
  [Op.MOVCR, 4],
  [Op.RDMSR, 1],
  [Op.WRMSR, 1],
  [Op.SWAPGS, 1],
  [Op.SYSRET, 2],
]);
const INTEGER_COUNTS = new Map([
  [Op.MUL, 60],
  [Op.IMUL1, 60],
  [Op.IMUL2, 70],
  [Op.DIV, 90],
  [Op.IDIV, 90],
  [Op.SHLD, 90],
  [Op.SHRD, 90],
  [Op.BT, 60],
  [Op.BTS, 60],
  [Op.BTR, 60],
  [Op.BTC, 60],
  [Op.BSF, 50],
  [Op.BSR, 50],
  [Op.TZCNT, 50],
  [Op.LZCNT, 50],
  [Op.POPCNT, 40],
  [Op.ROL, 36],
  [Op.ROR, 36],
  [Op.RCL, 48],
  [Op.RCR, 48],
  [Op.SHL, 36],
  [Op.SHR, 36],
  [Op.SAR, 36],
  [Op.SETCC, 96],
  [Op.CMOVCC, 128],
  [Op.CMPXCHG, 60],
  [Op.CMPXCHG8B, 40],
  [Op.XADD, 50],
  [Op.LEA, 150],
  [Op.NOP, 4],
  [Op.MOVZX, 40],
  [Op.MOVSX, 40],
  [Op.MOVS, 50],
  [Op.CMPS, 60],
  [Op.STOS, 40],
  [Op.LODS, 40],
  [Op.SCAS, 60],
  [Op.LAHF, 16],
  [Op.SAHF, 16],
  [Op.CLC, 6],
  [Op.STC, 6],
  [Op.CMC, 6],
  [Op.CLD, 4],
  [Op.STD, 4],
  [Op.XLAT, 16],
  [Op.CBW, 24],
  [Op.CWD, 24],
  [Op.BSWAP, 24],
]);

/** Rows are tried in table order: 32-bit mode gets a smaller share, but all of what only it has. */
function casesOf(row, mode) {
  if (row.flags.has("asm") || row.flags.has(mode === 64 ? "i64" : "o64")) return 0;
  let count = OTHER_ROWS.get(row.op) ?? INTEGER_COUNTS.get(row.op);
  if (count === undefined) count = row.op >= Op.ADD && row.op <= Op.XCHG ? 30 : 0;
  if (mode === 64 || row.flags.has("i64")) return count;
  return Math.ceil(count / 5);
}

const SIZES = {
  64: { b: [1], v: [2, 4, 8], z: [2, 4], y: [4, 8], d64: [8, 2, 8], f64: [8], m: [8] },
  32: { b: [1], v: [4, 2], z: [4, 2], y: [4], d64: [4, 2], f64: [4, 2], m: [4] },
};

function bytesOf(number, size) {
  return Array.from({ length: size }, (_, i) => Number((cut(BigInt(number), size) >> BigInt(8 * i)) & 0xffn));
}

const COUNTS = [0, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 18, 31, 32, 33, 34, 35, 63, 64, 65, 255];

function immediate(row, code, size) {
  const bytes = { b: 1, x: 1, w: 2, z: Math.min(size, 4), v: size }[code.size];
  if (row.op === Op.ENTER) return code.size === "w" ? bytesOf(below(0x180), 2) : [chance(50) ? below(4) : below(256)];
  if (row.op === Op.RET) return bytesOf(below(0x400), 2);
  if (code.letter === "U") return [chance(70) ? pick(COUNTS) : below(256)];
  return bytesOf(value(bytes), bytes);
}

/** Bytes of one encoding of the row; `fix` tells where an absolute displacement stands that the target decides. */
function encode(row, mode, n, next) {
  const all = row.rexW ? [8] : SIZES[mode][row.sizeRule];
  const sizes = row.prefix === "NP" ? all.filter((bytes) => bytes !== 2) : all;
  const size = sizes[n % sizes.length];
  const o16 = size === 2;
  const rexW = size === 8 && mode === 64 && (row.rexW || ["v", "y"].includes(row.sizeRule));
  const isString = STRINGS.has(row.op);
  const memory = row.hasModrm && (row.mod === "mem" || (row.mod === "any" && Math.floor(n / sizes.length) % 2 === 0));
  const counts = [Op.LOOP, Op.LOOPE, Op.LOOPNE, Op.JCXZ];
  const addresses = memory || isString || row.op === Op.XLAT || counts.includes(row.op);
  const small = addresses && chance(15);
  const addrSize = mode === 64 ? (small ? 4 : 8) : small ? 2 : 4;

  const prefixes = [];
  if (o16) prefixes.push(0x66);
  if (small) prefixes.push(0x67);
  if (memory && row.flags.has("lock") && chance(20)) prefixes.push(0xf0);
  if ((memory || isString) && chance(15))
    prefixes.push(pick(mode === 64 ? [0x64, 0x65, 0x2e, 0x3e, 0x26, 0x36] : [0x2e, 0x3e, 0x26, 0x36]));
  const repeat = isString && chance(70) ? (row.op === Op.CMPS || row.op === Op.SCAS ? pick([0xf2, 0xf3]) : 0xf3) : 0;
  if (repeat !== 0) prefixes.push(repeat);
  if (chance(50)) prefixes.reverse();

  const mandatory = { F2: [0xf2], F3: [0xf3], 66: [0x66] }[row.prefix] ?? [];
  let rex = 0;
  if (mode === 64) {
    if (chance(45)) rex = 0x40 | below(8);
    if (row.flags.has("nob") || row.operands.some(({ letter }) => letter === "S")) rex = 0;
    if (rexW) rex |= 0x48;
  }
  const opcode = row.opcode + (row.plus === "r" ? below(8) : row.plus === "c" ? n % 16 : 0);
  const out = [
    ...prefixes,
    ...mandatory,
    ...(rex ? [rex] : []),
    ...(row.map > 0 ? [0x0f] : []),
    ...(row.map === 2 ? [0x38] : []),
    opcode,
  ];

  let fix;
  const displacement = (bytes) => {
    const near = STACK.has(row.op) ? below(0x400) - 0x200 : Number(BigInt.asIntN(32, value(4)));
    out.push(...bytesOf(bytes === 1 ? below(256) : near, bytes));
  };
  const absolute = (bytes, relative) => {
    fix = { offset: out.length, bytes, relative };
    out.push(...bytesOf(0, bytes));
  };
  if (row.hasModrm && row.fixedModrm !== undefined) out.push(row.fixedModrm.from);
  else if (row.hasModrm) {
    const reg = row.digit ?? below(row.op === Op.MOVTOSEG || row.op === Op.MOVFROMSEG ? 6 : 8);
    const rm = below(8);
    const mod = memory ? below(3) : 3;
    out.push((mod << 6) | (reg << 3) | rm);
    if (mod !== 3 && addrSize === 2) {
      if (mod === 0 && rm === 6) absolute(2, false);
      else if (mod > 0) displacement(mod);
    } else if (mod !== 3) {
      const sib = rm === 4 ? below(256) : undefined;
      if (sib !== undefined) out.push(sib);
      const baseless = mod === 0 && (sib === undefined ? rm === 5 : (sib & 7) === 5);
      if (mod === 1) displacement(1);
      else if (mod === 2) displacement(4);
      else if (baseless && sib === undefined) absolute(4, mode === 64);
      else if (baseless && ((sib >> 3) & 7) === 4 && !(rex & 2)) absolute(4, false);
      else if (baseless) displacement(4);
    }
  }
  for (const code of row.operands) {
    if (code.letter === "I" || code.letter === "U") out.push(...immediate(row, code, size));
    else if (code.letter === "J") {
      const bytes = code.size === "b" ? 1 : mode === 32 && o16 ? 2 : 4;
      out.push(...bytesOf(bytes === 1 ? below(256) : below(0xfff_ffff) - 0x7ff_ffff, bytes));
    } else if (code.letter === "O") absolute(addrSize, false);
  }
  const target = targetAddress(row.op);
  if (fix !== undefined) {
    const number = fix.relative ? target - (next + BigInt(out.length)) : target;
    out.splice(fix.offset, fix.bytes, ...bytesOf(number, fix.bytes));
  }
  return { bytes: Uint8Array.from(out), target, repeat: repeat !== 0 };
}

/** Where the memory operand is to lie: seldom across two pages, across the end of what is mapped, or where no address is. */
function targetAddress(op) {
  if (chance(3)) return DATA + BigInt(DATA_SIZE / 2 - 1 - below(8));
  if (chance(2)) return 1n << BigInt(47 + below(16));
  if (op === Op.CMPXCHG8B && chance(10)) return DATA + BigInt(0x108 + 16 * below(0x1c0));
  if (op === Op.CMPXCHG8B && chance(85)) return DATA + BigInt(0x100 + 16 * below(0x1c0));
  if (chance(2) && !STRINGS.has(op)) return DATA + BigInt(DATA_SIZE - 1 - below(8));
  return DATA + BigInt(0x400 + below(0x1800));
}

const isCanonical = (address) => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

/** Registers, flags and memory of a case, while they are being chosen. */
class Input {
  constructor(mode, insn) {
    this.mode = mode;
    this.insn = insn;
    this.set = below(SETS.length);
    this.width = mode / 8;
    this.gpr = SETS[this.set].map((number) => cut(number, this.width));
    this.flags = below(0x1000) & INPUT_FLAGS & (chance(60) && !STRINGS.has(insn.op) ? ~DF : ~0);
    if (insn.op !== Op.LSEG && chance(4)) this.flags |= AC;
    this.bytes = BASELINE.slice();
    this.fsBase = mode === 64 ? FS_BASE : 0n;
    this.gsBase = mode === 64 ? GS_BASE : 0n;
  }

  /** Sets the lower bytes of a register; what lies above them stays. */
  put(register, number, size = this.width) {
    this.gpr[register] = cut((this.gpr[register] & ~cut(-1n, size)) | cut(number, size), this.width);
  }

  /** A register whose lower bytes are an address: what an address of that size leaves out is anything. */
  putAddress(register, number, size) {
    const rest = size < this.width && chance(70) ? cut(word(), this.width) & ~cut(-1n, size) : 0n;
    this.gpr[register] = cut(number, size) | rest;
  }

  putMemory(address, number, size) {
    for (let i = 0; i < size; i++) {
      const at = Number(address - DATA) + i;
      if (at >= 0 && at < DATA_SIZE) this.bytes[at] = Number((number >> BigInt(8 * i)) & 0xffn);
    }
  }

  memory(address, size) {
    let number = 0n;
    for (let i = size - 1; i >= 0; i--) number = (number << 8n) | BigInt(this.bytes[Number(address - DATA) + i] ?? 0);
    return number;
  }

  segmentBase() {
    return this.mode === 32 ? 0n : this.insn.segment === 4 ? FS_BASE : this.insn.segment === 5 ? GS_BASE : 0n;
  }

  effective(operand, rip) {
    let address = operand.disp;
    if (operand.ripRelative) address += rip + BigInt(this.insn.length);
    if (operand.base !== undefined) address += this.gpr[operand.base];
    if (operand.index !== undefined) address += this.gpr[operand.index] * BigInt(operand.scale);
    return cut(cut(address, this.insn.addrSize) + this.segmentBase(), this.width);
  }

  /** Chooses base and index such that the operand lies at (or close to) the target. */
  aim(operand, target) {
    const { addrSize } = this.insn;
    const { base, index, scale, disp } = operand;
    const goal = target - this.segmentBase();
    if (base !== undefined && base === index) this.putAddress(base, (goal - disp) / BigInt(scale + 1), addrSize);
    else if (base === RSP && index !== undefined)
      this.putAddress(index, (goal - disp - this.gpr[RSP]) / BigInt(scale), addrSize);
    else if (base === RSP && STACK.has(this.insn.op)) return;
    else if (base !== undefined) {
      const rest = index === undefined ? 0n : this.gpr[index] * BigInt(scale);
      this.putAddress(base, goal - rest - disp, addrSize);
    } else if (index !== undefined) this.putAddress(index, (goal - disp) / BigInt(scale), addrSize);
  }
}

const IMPLIED = new Map([
  [Op.MUL, [0, 2]],
  [Op.IMUL1, [0, 2]],
  [Op.DIV, [0, 2]],
  [Op.IDIV, [0, 2]],
  [Op.CMPXCHG, [0]],
  [Op.CMPXCHG8B, [0, 1, 2, 3]],
  [Op.CBW, [0]],
  [Op.CWD, [0]],
  [Op.STOS, [0]],
  [Op.SCAS, [0]],
  [Op.LOOP, [1]],
  [Op.LOOPE, [1]],
  [Op.LOOPNE, [1]],
  [Op.JCXZ, [1]],
  [Op.LAHF, [0]],
  [Op.SAHF, [0]],
]);

/** A dividend whose quotient by the divisor fits, by a hair or easily. */
function dividend(divisor, size, signed) {
  const bits = size * 8;
  const d = signed ? BigInt.asIntN(bits, divisor) : divisor;
  if (d === 0n) return undefined;
  const q = signed ? BigInt.asIntN(bits, value(size)) : value(size);
  const magnitude = d < 0n ? -d : d;
  const rest = cut(word(), size) % magnitude;
  const product = q * d;
  return product + (product < 0n ? -rest : rest);
}

function fillString(input, address, size) {
  const { op } = input.insn;
  const count = below(7);
  const base = input.segmentBase();
  const down = (input.flags & DF) !== 0;
  const edge = () => (down ? below(12) : DATA_SIZE - 1 - below(12));
  const low = () => DATA + BigInt(chance(7) ? edge() : 0x400 + below(0x1800));
  const source = low();
  const target = chance(30) ? source + BigInt(below(33) - 16) : low();
  input.putAddress(6, source - base, address);
  input.putAddress(7, target, address);
  input.putAddress(1, BigInt(count), address);
  if ((op !== Op.CMPS && op !== Op.SCAS) || chance(25)) return;
  const element = value(size);
  const other = value(size);
  const odd = below(6);
  const same = chance(60);
  if (op === Op.SCAS) input.put(0, element, size);
  for (let i = 0; i < 6; i++) {
    const step = BigInt((down ? -1 : 1) * i * size);
    const number = (i === odd) === same ? other : element;
    input.putMemory(target + step, number, size);
    if (op === Op.CMPS) input.putMemory(source + step, element, size);
  }
}

/** Undefined results: a double shift by more than the operand's bits, BSWAP of 16 bits. */
function undefinedResult({ insn, gpr }) {
  const { op, opSize, operands } = insn;
  if (op === Op.BSWAP) return opSize === 2;
  if (op !== Op.SHLD && op !== Op.SHRD) return false;
  const count = operands[2].kind === "imm" ? operands[2].value : gpr[1];
  return (Number(count & 0xffn) & (opSize === 8 ? 63 : 31)) > opSize * 8;
}

/** A stack pointer: aligned or not, seldom at an end of the data or at no address. */
function stackAddress(mode) {
  if (chance(5)) return DATA + BigInt(below(24));
  if (chance(5)) return DATA + BigInt(DATA_SIZE - below(24));
  if (mode === 64 && chance(3)) return (1n << 63n) | word();
  return DATA + BigInt(0x800 + (chance(80) ? 8 * below(0x200) : below(0x1000)));
}

function chooseInput(mode, insn, target, rip) {
  const input = new Input(mode, insn);
  const { op, operands, opSize } = insn;
  const [first, second] = operands;
  const memory = operands.find(({ kind }) => kind === "mem");
  for (const register of IMPLIED.get(op) ?? []) if (chance(60)) input.put(register, value(opSize), opSize);
  for (const operand of operands) {
    if (operand.kind !== "gpr" || operand.number === RSP || chance(35)) continue;
    if (operand.high) input.put(operand.number, (input.gpr[operand.number] & 0xffn) | (value(1) << 8n), 2);
    else input.put(operand.number, value(operand.size), operand.size);
  }
  if (second?.kind === "gpr" && operands.at(-1).number === 1 && operands.at(-1).size === 1 && chance(70))
    input.put(1, BigInt(pick(COUNTS)), 1);
  if (STACK.has(op)) input.gpr[RSP] = stackAddress(mode);
  // ENTER reads through RBP from level 2 on only
  const pointer = op === Op.LEAVE || (op === Op.ENTER && (second.value & 31n) > 1n);
  if (pointer) input.gpr[RBP] = stackAddress(mode);
  if (op === Op.XLAT) input.putAddress(3, target - (input.gpr[0] & 0xffn) - input.segmentBase(), insn.addrSize);
  const offset = memory && op >= Op.BT && op <= Op.BTC && second.kind === "gpr" ? second : undefined;
  if (offset) {
    if (offset.number === memory.base || offset.number === memory.index) return undefined;
    input.put(offset.number, BigInt(below(0x1000) - 0x800), offset.size);
  }
  if (memory && !NOT_ACCESSED.has(op)) {
    input.aim(memory, target);
    const popped = op === Op.POP && memory.base === RSP ? BigInt(opSize) : 0n;
    const at = input.effective(memory, rip) + popped;
    if (isCanonical(at) && (at < DATA || at >= DATA + BigInt(DATA_SIZE))) return undefined;
    if (memory.size > 0 && memory.size <= 8 && chance(60)) input.putMemory(at, value(memory.size), memory.size);
    if (op === Op.CMPXCHG && chance(60)) input.put(0, input.memory(at, opSize), opSize);
    if (op === Op.CMPXCHG8B && chance(70)) {
      const half = opSize / 2;
      input.put(0, input.memory(at, half), half);
      input.put(2, input.memory(at + BigInt(half), half), half);
      if (input.effective(memory, rip) !== at) return undefined;
    }
  } else if (op === Op.CMPXCHG && chance(50)) input.put(first.number, input.gpr[0], opSize);
  const read = (operand) => {
    if (operand.kind === "mem") return input.memory(input.effective(operand, rip), operand.size);
    return cut(operand.high ? input.gpr[operand.number] >> 8n : input.gpr[operand.number], operand.size);
  };
  const ownRegisters = [0, 2];
  const independent =
    first && ![first.number, first.base, first.index].some((register) => ownRegisters.includes(register));
  if ((op === Op.DIV || op === Op.IDIV) && independent && chance(88)) {
    const number = dividend(read(first), opSize, op === Op.IDIV);
    if (number !== undefined && opSize === 1) input.put(0, number, 2);
    else if (number !== undefined) {
      input.put(0, number, opSize);
      input.put(2, number >> BigInt(opSize * 8), opSize);
    }
  }
  if (STRINGS.has(op)) fillString(input, insn.addrSize, opSize);
  // a branch target or base that user code can have, or none at all: never one of the kernel
  const canonical = (number) => (number & 0x7fff_ffff_ffffn) | (chance(8) ? 1n << 63n : 0n);
  if ((op === Op.JMP || op === Op.CALL) && first.kind === "gpr" && first.number !== RSP && mode === 64 && chance(90))
    input.gpr[first.number] = canonical(input.gpr[first.number]);
  if ((op === Op.JMP || op === Op.CALL) && first.kind === "mem" && mode === 64) {
    const at = input.effective(first, rip);
    input.putMemory(at, canonical(input.memory(at, 8)), 8);
  }
  const top = input.gpr[RSP];
  if (op === Op.RET && mode === 64) input.putMemory(top, canonical(word()), 8);
  // bits that CPL 3 may and may not change; not TF, and not ID, which would stay for the cases after this one
  if (op === Op.POPF) input.putMemory(top, word() & ~0x20_0100n, opSize);
  const DATA_SELECTOR = 0x2bn;
  if (op === Op.POP && first.kind === "sreg") input.putMemory(top, DATA_SELECTOR, 2);
  if (op === Op.LSEG && isCanonical(input.effective(memory, rip)))
    input.putMemory(input.effective(memory, rip) + BigInt(opSize), DATA_SELECTOR, 2);
  if (INSPECTED.has(op)) {
    const selector = pick([0n, 0x23n, 0x2bn, 0x33n, 0x10n, 0x18n, 0x2fn, 0xfff8n]);
    if (second?.kind === "gpr" || (!second && first.kind === "gpr")) {
      if ((second ?? first).number === RSP) return undefined;
      input.put((second ?? first).number, selector, 2);
    } else input.putMemory(input.effective(memory, rip), selector, 2);
  }
  if (op === Op.MOVTOSEG) {
    if (second.kind === "mem") input.putMemory(input.effective(second, rip), DATA_SELECTOR, 2);
    else if (second.number === RSP) return undefined;
    else input.put(second.number, DATA_SELECTOR, 2);
  }
  if ((op === Op.WRFSBASE || op === Op.WRGSBASE) && first.number !== RSP)
    input.gpr[first.number] = canonical(input.gpr[first.number]);
  return undefinedResult(input) ? undefined : input;
}

/**
 * Left out: a load of SS keeps the single-step trap away; vendors differ on 66 before near branches (7.9), on REX.W before
 * LSS, LFS and LGS, and on SYSRET outside 64-bit mode.
 */
function unwanted(insn, mode) {
  const [first] = insn.operands;
  if ((insn.op === Op.POP || insn.op === Op.MOVTOSEG) && first?.kind === "sreg" && first.number === 2) return true;
  if (mode === 32 && insn.op === Op.SYSRET) return true;
  if (insn.op === Op.LSEG && insn.opSize === 8) return true;
  if (mode === 64 && insn.o16 && [Op.JMP, Op.CALL, Op.RET, Op.JCC, Op.LOOP, Op.JCXZ].includes(insn.op)) return true;
  return false;
}

const ATTEMPTS = 60;

/** All cases. `complain` gets a sentence for each that could not be made. */
export function generate(complain) {
  const cases = [];
  for (const mode of [64, 32]) {
    for (const row of ROWS) {
      const count = casesOf(row, mode);
      for (let n = 0; n < count; n++) {
        const rip = CODE + BigInt(SLOT * cases.length);
        const made = attempt(row, mode, n, rip);
        if (typeof made === "string") complain(`${mode}: ${row.names[0]} ${row.opcodeText}: ${made}`);
        else cases.push({ ...made, mode, rip });
      }
    }
  }
  return cases;
}

function attempt(row, mode, n, rip) {
  let why = "";
  for (let tries = 0; tries < ATTEMPTS; tries++) {
    const { bytes, target, repeat } = encode(row, mode, n, rip);
    if (bytes.length > 15) continue;
    const result = decode(bytes, mode);
    if (!result.ok || result.insn.length !== bytes.length) {
      why = `${Buffer.from(bytes).toString("hex")} does not decode`;
      continue;
    }
    if (unwanted(result.insn, mode)) {
      why = "not wanted";
      continue;
    }
    const input = chooseInput(mode, result.insn, target, rip);
    if (input !== undefined) return { bytes, insn: result.insn, input, repeat };
    why = "no input";
  }
  return why;
}
