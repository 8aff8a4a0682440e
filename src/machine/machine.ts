// The engine's host face: one machine, loaded with a scenario, stepped, read, and given events.

import { Ctl, Op, Reg, Status } from "../engine/abi.js";
import { decode } from "../isa/decode.js";
import type { Scenario } from "../scenario/types.js";
import { createMemory, type EngineExports, instantiate } from "./engine.js";
import { writeOpaque, writeRecord, writeTooLong, writeTruncated } from "./record.js";
import { AddressMap } from "./tags.js";

/** A word of memory that a step changed. */
export interface WordWrite {
  readonly physical: number;
  readonly before: bigint;
  readonly after: bigint;
}

export interface MachineOptions {
  /** linear memory to live in, shared with other machines; default: its own */
  readonly memory?: WebAssembly.Memory;
  /** address of a coverage map to share; default: its own */
  readonly coverage?: number;
}

const LOG_ENTRY = 16;

/** Error of a machine for which linear memory does not suffice. */
export class OutOfMemory extends Error {}

export class Machine {
  readonly scenario: Scenario;
  readonly engine: EngineExports;
  readonly memory: WebAssembly.Memory;
  readonly map: AddressMap;
  /** address of the coverage map (AddressMap.cover) */
  readonly coverage: number;
  #view: DataView;
  /** mark of the initial state */
  readonly #initial: number;

  constructor(module: WebAssembly.Module, scenario: Scenario, options: MachineOptions = {}) {
    this.scenario = scenario;
    this.memory = options.memory ?? newMemory();
    this.engine = instantiate(module, this.memory);
    this.#view = new DataView(this.memory.buffer);
    this.map = new AddressMap(scenario);
    if (!this.engine.create(scenario.memory.size, scenario.cpu === "amd")) throw new OutOfMemory();
    this.coverage = options.coverage ?? this.allocate(this.map.coverSize);
    this.#load();
    this.#initial = this.engine.newMark();
    this.engine.save(this.#initial);
  }

  /** Goes back to the initial state. */
  reset(): void {
    this.engine.restore(this.#initial);
  }

  /** Linear memory as it is now: the buffer is replaced when memory grows. */
  get view(): DataView {
    if (this.#view.buffer !== this.memory.buffer) this.#view = new DataView(this.memory.buffer);
    return this.#view;
  }

  allocate(bytes: number): number {
    const at = this.engine.allocate(bytes);
    if (at === 0) throw new OutOfMemory();
    return at;
  }

  // --- loading ---------------------------------------------------------------------------------------------------

  #load(): void {
    const { scenario, engine } = this;
    const ram = engine.ram();
    for (const { physical, bytes } of scenario.memory.chunks)
      new Uint8Array(this.memory.buffer, ram + physical).set(bytes);
    for (const [index, value] of scenario.registers) engine.setRegister(index, BigInt.asIntN(64, value));
    const properties = [...scenario.properties].reduce((bits, property) => bits | (1 << property), 0);
    const clobbers = [...scenario.syscallClobbers].reduce((bits, register) => bits | (1 << register), 0);
    engine.configure(properties, BigInt.asIntN(64, scenario.kernelGs ?? 0n), scenario.survivesDoubleFault, clobbers);
    const { persistent, discarded, fixups, events } = scenario;
    const stacks = scenario.stacks.filter((stack) => !stack.user); // what user code leaves below RSP is its own affair
    engine.configureStacks(
      this.#words(stacks.flatMap(({ low, high }) => [low, high, this.#physical(low)])),
      stacks.length,
    );
    const ranges = (list: typeof persistent) =>
      this.#words(list.flatMap(({ low, high }) => [this.#physical(low), this.#physical(low) + (high - low)]));
    engine.configurePersistent(ranges(persistent), persistent.length);
    engine.configureDiscarded(ranges(discarded), discarded.length);
    engine.configureFixups(this.#words(fixups), fixups.length);
    engine.configureRules(
      this.#words(
        events.flatMap((rule) => [
          BigInt(rule.kind),
          BigInt(rule.limit ?? 0),
          BigInt(rule.vector ?? 0),
          rule.address ?? 0n,
          BigInt(rule.errorCode ?? 0),
          rule.whileMcip ? 1n : 0n,
        ]),
      ),
      events.length,
      this.map.anywhere,
    );
    const regs = scenario.body?.regs;
    if (regs) {
      const words = regs.layout.flatMap(([register, offset]) => [BigInt(register), BigInt(offset)]);
      engine.configureFrame(regs.pointer, this.#words(words), regs.layout.length, scenario.mode / 8);
    } else {
      engine.configureFrame(-1, 0, 0, 8);
    }
    engine.configureCoverage(this.coverage);
    engine.settleInitial();
  }

  #words(values: readonly bigint[]): number {
    const at = this.allocate(Math.max(1, values.length) * 8);
    values.forEach((value, n) => {
      this.view.setBigUint64(at + n * 8, BigInt.asUintN(64, value), true);
    });
    return at;
  }

  #physical(address: bigint): bigint {
    const physical = this.engine.physical(BigInt.asIntN(64, address));
    if (physical < 0n) throw new Error(`0x${address.toString(16)} of ${this.scenario.file} is not mapped`);
    return physical;
  }

  /** Entry code so far: its boundaries, and those that were never reached. */
  covered(): { readonly boundaries: readonly bigint[]; readonly missed: readonly bigint[] } {
    const bytes = new Uint8Array(this.memory.buffer, this.coverage, this.map.coverSize);
    const boundaries = this.map.boundaries(bytes);
    return { boundaries, missed: boundaries.filter((address) => bytes[this.map.cover(address)] === 0) };
  }

  // --- reading ---------------------------------------------------------------------------------------------------

  register(index: Reg): bigint {
    return this.view.getBigUint64(this.engine.registers() + index * 8, true);
  }

  setRegister(index: Reg, value: bigint): void {
    this.engine.setRegister(index, BigInt.asIntN(64, value));
  }

  /** All register words. */
  registers(): BigUint64Array {
    return new BigUint64Array(this.memory.buffer, this.engine.registers(), Reg.COUNT).slice();
  }

  /** The 8 bytes at a linear address, undefined where it is not mapped. */
  word(address: bigint): bigint | undefined {
    let value = 0n;
    for (let i = 7n; i >= 0n; i--) {
      const physical = this.physical(address + i);
      if (physical === undefined) return undefined;
      value = (value << 8n) | BigInt(this.view.getUint8(this.engine.ram() + physical));
    }
    return value;
  }

  physical(address: bigint): number | undefined {
    const physical = this.engine.physical(BigInt.asIntN(64, address));
    return physical < 0n ? undefined : Number(physical);
  }

  /**
   * The words that were written since the undo log stood at `mark`, each once, in order of address. Words that only became
   * undefined are left out.
   */
  writesSince(mark: number): WordWrite[] {
    const { engine, view } = this;
    const first = new Map<number, bigint>();
    for (let at = mark; at < engine.logTop(); at += LOG_ENTRY) {
      const word = view.getUint32(at, true);
      if (!first.has(word)) first.set(word, view.getBigUint64(at + 8, true));
    }
    return [...first]
      .filter(([word]) => view.getUint8(engine.undefinedBytes() + word) !== 0xff)
      .sort(([a], [b]) => a - b)
      .map(([word, before]) => ({
        physical: word * 8,
        before,
        after: view.getBigUint64(engine.ram() + word * 8, true),
      }));
  }

  // --- running ---------------------------------------------------------------------------------------------------

  /** Takes one step, decoding what it meets. */
  step(): Status {
    while (true) {
      const status = this.engine.step();
      if (status !== Status.DECODE) return status;
      this.decodeRequested();
    }
  }

  /** May event rule n strike at the boundary where the machine is? */
  mayStrike(rule: number): boolean {
    this.#decodeAhead();
    return this.engine.mayStrike(rule) !== 0;
  }

  inject(rule: number): Status {
    return this.engine.inject(rule);
  }

  #decodeAhead(): void {
    while (this.engine.undecoded()) this.decodeRequested();
  }

  /** Decodes the instruction that the engine has asked for. */
  decodeRequested(): void {
    const address = BigInt.asUintN(64, this.engine.fetchAddress());
    const length = this.engine.fetchLength();
    const bytes = new Uint8Array(this.memory.buffer, this.engine.fetchBytes(), length).slice();
    const record = this.engine.newRecord();
    if (record === 0) throw new OutOfMemory();
    const view = new DataView(this.memory.buffer, record, 128);
    const mode = this.mode();
    const place = { address, mode, tags: this.map.tags(address), cover: this.map.cover(address) };
    const result = decode(bytes, mode);
    if (result.ok) writeRecord(view, result.insn, place);
    else if (result.reason === "invalid") writeOpaque(view, Op.UD, bytes, place);
    else if (result.reason === "long") writeTooLong(view, bytes, place);
    else if (result.reason === "truncated" && length < 15) writeTruncated(view, bytes, place);
    else writeOpaque(view, Op.UNSUPPORTED, bytes, place);
  }

  /** 64-bit mode, or 32-bit code in compatibility or protected mode. */
  mode(): 32 | 64 {
    const long = (this.register(Reg.EFER) & 0x400n) !== 0n && (this.register(Reg.CS_ATTR) & 0x200n) !== 0n;
    return long ? 64 : 32;
  }
}

function newMemory(): WebAssembly.Memory {
  const memory = createMemory();
  initialise(memory);
  return memory;
}

/** First free byte of linear memory, behind the control block and the engine's static data. */
const FIRST_FREE = 2 * 65536;

/** Prepares fresh linear memory: the allocator's pointer. */
export function initialise(memory: WebAssembly.Memory): void {
  new DataView(memory.buffer).setUint32(Ctl.FREE, FIRST_FREE / 64, true);
}
