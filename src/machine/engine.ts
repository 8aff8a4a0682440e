// The engine's WebAssembly module and its exports, typed.

import type { Status } from "../engine/abi.js";

/** What src/engine/index.ts exports. Addresses are byte offsets in linear memory; 64-bit values are signed bigints. */
export interface EngineExports {
  allocate(bytes: number): number;
  create(ramBytes: number, amd: boolean): number;
  registers(): number;
  ram(): number;
  undefinedBytes(): number;
  setRegister(index: number, value: bigint): void;
  configure(properties: number, kernelGs: bigint, survives: boolean, clobbers: number): void;
  configureStacks(at: number, count: number): void;
  configurePersistent(at: number, count: number): void;
  configureDiscarded(at: number, count: number): void;
  configureFixups(at: number, count: number): void;
  configureRules(at: number, count: number, anywhere: number): void;
  configureFrame(pointer: number, at: number, count: number, word: number): void;
  configureCoverage(at: number): void;
  settleInitial(): void;
  forgetBytes(low: number, high: number): void;
  step(): Status;
  inject(rule: number): Status;
  hold(): void;
  mayHold(): number;
  mayStrike(rule: number): number;
  undecoded(): number;
  newRecord(): number;
  fetchBytes(): number;
  fetchLength(): number;
  fetchAddress(): bigint;
  delivered(): number;
  deliveredFrame(): bigint;
  executed(): number;
  resumed(): number;
  property(): number;
  lack(): number;
  detail(): bigint;
  detail2(): bigint;
  used(): number;
  lastRip(): bigint;
  physical(address: bigint): bigint;
  logTop(): number;
  newMark(): number;
  save(mark: number): void;
  restore(mark: number): void;
  contextWords(): number;
  fingerprint(): bigint;
  lookup(fingerprint: bigint): bigint;
  moveTable(table: number, mask: number): void;
  listChains(first: number, flags: number, out: number): number;
  listCircles(first: number, seen: number, out: number, most: number): number;
  beginFirst(): void;
  beginLevel(choices: boolean): void;
  results(): number;
  work(budget: number): Status;
}

const PAGE = 65536;
const LARGEST = 65535 * PAGE;
/** pages below which no smaller reservation is tried: 64 MiB */
const SMALLEST = 1024;

/** Shared linear memory that may grow up to `bytes` (at most 4 GiB less one page). */
export function createMemory(bytes: number = LARGEST): WebAssembly.Memory {
  let maximum = Math.max(2, Math.min(Math.floor(bytes / PAGE), LARGEST / PAGE));
  while (true) {
    try {
      return new WebAssembly.Memory({ initial: 2, maximum, shared: true });
    } catch (error) {
      // the whole range is reserved at once, which a tight limit on address space may refuse
      if (!(error instanceof RangeError) || maximum < SMALLEST) throw error;
      maximum = maximum >> 1;
    }
  }
}

/** Exports that give addresses: WebAssembly hands them over as signed numbers, which matters beyond 2 GiB. */
const ADDRESSES = [
  "allocate",
  "registers",
  "ram",
  "undefinedBytes",
  "newRecord",
  "fetchBytes",
  "logTop",
  "newMark",
  "results",
] as const;

export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): EngineExports {
  const abort = () => {
    throw new Error("the engine stopped");
  };
  const exports = {
    ...new WebAssembly.Instance(module, { env: { memory, abort } }).exports,
  } as unknown as EngineExports;
  for (const name of ADDRESSES) {
    const call = exports[name] as (...args: number[]) => number;
    Object.assign(exports, { [name]: (...args: number[]) => call(...args) >>> 0 });
  }
  return exports;
}
