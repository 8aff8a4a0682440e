// What all workers of a check share: linear memory with the table of visited states and the records of chains.

import { Chain, ChainBlock, Ctl } from "../engine/abi.js";
import { createMemory } from "../machine/engine.js";
import { initialise, type Machine, OutOfMemory } from "../machine/machine.js";
import type { Scenario } from "../scenario/types.js";
import { eventName } from "./replay.js";
import type { Choice, Schedule } from "./types.js";

/** What a chain's record says. */
export interface ChainRecord {
  readonly parent: number;
  readonly position: number;
  readonly event: number;
  readonly distance: number;
  readonly length: number;
  readonly next: number;
}

const TABLE_ENTRY = 16;
/** Entries of the first table. */
const FIRST_TABLE = 1 << 14;
/** A full table is replaced by a larger one: fast at first, then without much to spare. */
const grown = (entries: number) => entries * (entries < 1 << 18 ? 4 : 2);
/** Number of the first chain: the first of the second grant, so that 0 can mean none. */
export const FIRST_CHAIN = 64;

export class Space {
  readonly memory: WebAssembly.Memory;
  #view: DataView;
  #scratchAt = 0;
  #scratchBytes = 0;

  /** `bytes`: limit for everything the engine allocates. */
  constructor(bytes?: number) {
    this.memory = createMemory(bytes);
    initialise(this.memory);
    this.#view = new DataView(this.memory.buffer);
    this.set(Ctl.NEXT_CHAIN, FIRST_CHAIN);
    this.set(Ctl.LEVEL_BASE, FIRST_CHAIN);
  }

  get view(): DataView {
    if (this.#view.buffer !== this.memory.buffer) this.#view = new DataView(this.memory.buffer);
    return this.#view;
  }

  get(field: Ctl): number {
    return this.view.getUint32(field, true);
  }

  set(field: Ctl, value: number): void {
    this.view.setUint32(field, value, true);
  }

  /** Makes the first table, or a larger one. No worker may be running. */
  growTable(machine: Machine): void {
    const mask = this.get(Ctl.TABLE) === 0 ? FIRST_TABLE - 1 : grown(this.get(Ctl.TABLE_MASK) + 1) - 1;
    const table = machine.engine.allocate((mask + 1) * TABLE_ENTRY);
    if (table === 0) throw new OutOfMemory();
    machine.engine.moveTable(table, mask);
  }

  chain(number: number): ChainRecord {
    const { view } = this;
    const at = this.#chainAt(number);
    return {
      parent: view.getUint32(at + Chain.PARENT, true),
      position: view.getUint32(at + Chain.POSITION, true),
      event: view.getUint32(at + Chain.EVENT, true),
      distance: view.getUint32(at + Chain.DISTANCE, true),
      length: view.getUint32(at + Chain.LENGTH, true),
      next: view.getUint32(at + Chain.NEXT, true),
    };
  }

  #chainAt(number: number): number {
    const block = this.view.getUint32(Ctl.CHAIN_BLOCKS + (number >>> ChainBlock.SHIFT) * 4, true);
    return block + (number & ((1 << ChainBlock.SHIFT) - 1)) * Chain.SIZEOF;
  }

  /** Numbers of the chains in use from `first` on that have all of `flags`. */
  chainsFrom(machine: Machine, first: number, flags = 0): Uint32Array {
    const out = this.#scratch(machine, first);
    const count = machine.engine.listChains(first, flags, out);
    return new Uint32Array(this.memory.buffer, out, count);
  }

  /** One chain of each circle among the chains from `first` on. */
  circlesFrom(machine: Machine, first: number): number[] {
    const numbers = this.get(Ctl.NEXT_CHAIN) - first;
    const seen = this.#scratch(machine, first);
    new Uint32Array(this.memory.buffer, seen, numbers).fill(0);
    const out = seen + numbers * 4;
    const count = machine.engine.listCircles(first, seen, out, numbers);
    return [...new Uint32Array(this.memory.buffer, out, count)];
  }

  /** Memory for two u32 for each chain number from `first` on; the same again while it is large enough. */
  #scratch(machine: Machine, first: number): number {
    const bytes = (this.get(Ctl.NEXT_CHAIN) - first + 1) * 8;
    if (bytes > this.#scratchBytes) {
      this.#scratchBytes = bytes * 2;
      this.#scratchAt = machine.allocate(this.#scratchBytes);
    }
    return this.#scratchAt;
  }

  /** Writes the list of parents whose chains the workers are to branch. */
  setParents(machine: Machine, parents: Uint32Array): void {
    const at = machine.allocate(parents.length * 4 + 4);
    new Uint32Array(this.memory.buffer, at, parents.length).set(parents);
    this.set(Ctl.PARENTS, at);
    this.set(Ctl.PARENT_COUNT, parents.length);
    this.set(Ctl.NEXT_PARENT, 0);
  }

  /** The schedule that leads to a chain's start. */
  schedule(scenario: Scenario, number: number): Schedule {
    const choices: Choice[] = [];
    for (let at = number; at !== 0; ) {
      const { parent, position, event } = this.chain(at);
      if (parent !== 0) choices.push({ event: eventName(scenario, event), after: position });
      at = parent;
    }
    return choices.reverse();
  }
}
