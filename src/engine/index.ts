// The engine's exports: what the host may call. Addresses are in linear memory; see abi.ts for the layouts.

import { Ctx, Reg, Status } from "./abi";
import { Config } from "./cpu/config";
import { Fetch } from "./cpu/fetch";
import { forget, PageFlag, Translations } from "./cpu/memory";
import { Access, TLB_BYTES, Tlb, translate } from "./cpu/paging";
import { M, setCold as setColdWord, setReg } from "./cpu/state";
import * as stepping from "./cpu/step";
import { MARK_BYTES, restore as restoreMark, save as saveMark } from "./explore/marks";
import { allocate } from "./explore/memory";
import { configureSearch, MAX_PATH, PATH_ENTRY } from "./explore/search";
import { forgetDead } from "./owed/dead";

export { listChains, listCircles } from "./explore/chains";
export { fingerprint } from "./explore/marks";
export { allocate } from "./explore/memory";
export { beginFirst, beginLevel, results, work } from "./explore/search";
export { lookup, moveTable } from "./explore/table";

/** Bytes of undo log and of context records of one machine. */
const LOG_BYTES: u32 = 16 << 20;
const CONTEXT_BYTES: u32 = 4 << 20;

/** Sets up one machine with `ramBytes` of guest memory (a multiple of 4096). False: out of linear memory. */
export function create(ramBytes: u32, amd: bool): bool {
  const pages = ramBytes >> 12;
  M.regs = allocate(Reg.COUNT << 3);
  M.ram = allocate(ramBytes + 64);
  M.undef = allocate((ramBytes >> 3) + 64);
  M.pageFlags = allocate(pages + 64);
  M.pageIndex = allocate(pages << 2);
  M.log = allocate(LOG_BYTES);
  const contexts = allocate(CONTEXT_BYTES);
  Tlb.at = allocate(<u32>TLB_BYTES);
  Fetch.bytes = allocate(64);
  const path = allocate(<u32>PATH_ENTRY * MAX_PATH);
  const ancestors = allocate(4 * MAX_PATH);
  const resultBlock = allocate(256);
  if (
    M.regs == 0 ||
    M.ram == 0 ||
    M.undef == 0 ||
    M.pageFlags == 0 ||
    M.pageIndex == 0 ||
    M.log == 0 ||
    contexts == 0 ||
    Tlb.at == 0 ||
    Fetch.bytes == 0 ||
    path == 0 ||
    ancestors == 0 ||
    resultBlock == 0
  )
    return false;
  M.ramSize = <u64>ramBytes;
  M.logTop = M.log;
  M.logEnd = M.log + LOG_BYTES;
  M.ctxEnd = contexts + CONTEXT_BYTES;
  M.amd = amd;
  setReg(Reg.CTX_NEXT, <u64>contexts);
  configureSearch(path, ancestors, resultBlock);
  return true;
}

export function registers(): usize {
  return M.regs;
}
export function ram(): usize {
  return M.ram;
}
export function undefinedBytes(): usize {
  return M.undef;
}

/** Writes a register word as an initial value or as a test does, keeping the fingerprint. */
export function setRegister(index: i32, value: u64): void {
  if (index < Reg.FIRST_COLD) setReg(index, value);
  else {
    setColdWord(index, value);
    Translations.generation++;
  }
}

/** Scenario constants: see Config for the blocks' layouts. */
export function configure(properties: u32, kernelGs: u64, survivesDoubleFault: bool, syscallClobbers: u32): void {
  Config.properties = properties;
  Config.kernelGs = kernelGs;
  Config.survivesDoubleFault = survivesDoubleFault;
  Config.syscallClobbers = syscallClobbers;
}
export function configureStacks(at: usize, count: i32): void {
  Config.stacks = at;
  Config.stackCount = count;
}
export function configurePersistent(at: usize, count: i32): void {
  Config.persistent = at;
  Config.persistentCount = count;
}
export function configureDiscarded(at: usize, count: i32): void {
  Config.discarded = at;
  Config.discardedCount = count;
  for (let i = 0; i < count; i++) {
    const low = load<u64>(at + ((<usize>i) << 4));
    const high = load<u64>(at + ((<usize>i) << 4), 8);
    for (let page = low >> 12; page << 12 < high; page++) {
      const flags = M.pageFlags + <usize>page;
      store<u8>(flags, load<u8>(flags) | PageFlag.DISCARDED);
    }
  }
}
export function configureFixups(at: usize, count: i32): void {
  Config.fixups = at;
  Config.fixupCount = count;
}
export function configureRules(at: usize, count: i32, anywhere: u32): void {
  Config.rules = at;
  Config.ruleCount = count;
  Config.anywhere = anywhere;
}
export function configureFrame(pointer: i32, at: usize, count: i32, word: i32): void {
  Config.framePointer = pointer;
  Config.frame = at;
  Config.frameCount = count;
  Config.frameWord = word;
}
export function configureCoverage(at: usize): void {
  Config.coverage = at;
}

/** The initial state is complete: what is dead in it becomes undefined. */
export function settleInitial(): void {
  forgetDead();
}

/** Makes whole words of physical memory undefined, for tests. */
export function forgetBytes(low: u32, high: u32): void {
  forget(low, high);
}

// --- one machine, step by step -----------------------------------------------------------------------------------

export function step(): Status {
  return stepping.step();
}
export function inject(rule: i32): Status {
  return stepping.inject(rule);
}
export function hold(): void {
  stepping.hold();
}
export function mayHold(): bool {
  return stepping.mayHold();
}
export function mayStrike(rule: i32): bool {
  const tags = stepping.tagsAhead();
  return stepping.mayStrike(rule, tags == 0 ? Config.anywhere : tags);
}
/** Is the instruction at RIP still to be decoded by the host? */
export function undecoded(): bool {
  stepping.tagsAhead();
  return M.request != 0;
}

/** The host has decoded the instruction asked for: this is where its record goes. */
export function newRecord(): usize {
  const physical = M.request;
  const index = M.pageIndex + ((<usize>(physical >> 12)) << 2);
  let block = <usize>load<u32>(index);
  if (block == 0) {
    block = allocate(4096 * 4);
    if (block == 0) return 0;
    store<u32>(index, <u32>block);
    const flags = M.pageFlags + <usize>(physical >> 12);
    store<u8>(flags, load<u8>(flags) | PageFlag.CODE);
  }
  const place = block + ((<usize>(physical & 4095)) << 2);
  let record = <usize>load<u32>(place);
  if (record == 0) {
    record = allocate(128);
    store<u32>(place, <u32>record);
  }
  return record;
}
export function fetchBytes(): usize {
  return Fetch.bytes;
}
export function fetchLength(): i32 {
  return Fetch.length;
}
export function fetchAddress(): u64 {
  return Fetch.address;
}

export function delivered(): i32 {
  return M.delivered;
}
export function deliveredFrame(): u64 {
  return M.deliveredFrame;
}
export function executed(): bool {
  return M.executed;
}
export function resumed(): bool {
  return M.resumed;
}
export function property(): i32 {
  return M.property;
}
export function lack(): i32 {
  return M.lack;
}
export function detail(): u64 {
  return M.detail;
}
export function detail2(): u64 {
  return M.detail2;
}
export function used(): u32 {
  return M.used;
}
export function lastRip(): u64 {
  return M.rip;
}

/** Physical address of a linear one, whoever may access it, or -1. */
export function physical(address: u64): i64 {
  M.fault = -1;
  const at = translate(address, Access.HOST);
  const bad = M.fault >= 0;
  M.fault = -1;
  return bad ? -1 : <i64>at;
}

/** The undo log, for the host to see what a step wrote: entries of 16 bytes (u32 word number, u32 undefined bits, u64 old value). */
export function logTop(): usize {
  return M.logTop;
}

export function newMark(): usize {
  return allocate(<u32>MARK_BYTES);
}
export function save(mark: usize): void {
  saveMark(mark);
}
export function restore(mark: usize): void {
  restoreMark(mark);
}
