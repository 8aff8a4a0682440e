// Visited states: an open-addressing table of 16-byte entries in shared memory, lock-free. An entry is the state's
// fingerprint, and beside it how far from the initial state it is and which chain owns it. Fewer instructions win: a
// chain that reaches a state of its own level on a shorter way takes it over and goes on, so that distances are exact
// when the level ends, whatever the order in which chains were run.

import { Chain, ChainFlag, Ctl } from "../abi";
import { chain } from "./chains";

/** What `visit` found. */
export enum Visit {
  KNOWN = 0,
  NEW,
  SHORTER,
  FULL,
}

export class Found {
  /** the owner of a KNOWN state */
  static owner: u32 = 0;
  /** new states that are not in the common count yet */
  static uncounted: u32 = 0;
}

/** New states are added to the common count in lots, so that workers do not fight over it. */
const LOT: u32 = 256;

/** Adds the new states of this worker to the common count. */
export function countStates(): void {
  atomic.add<u32>(Ctl.STATES, Found.uncounted);
  Found.uncounted = 0;
}

function slot(fingerprint: u64, mask: u32): usize {
  return <usize>load<u32>(Ctl.TABLE) + ((<usize>(<u32>(fingerprint >> 20) & mask)) << 4);
}

/** Enters a state, or compares with what is known of it. */
export function visit(fingerprint: u64, distance: u32, owner: u32): Visit {
  const mask = load<u32>(Ctl.TABLE_MASK);
  const table = <usize>load<u32>(Ctl.TABLE);
  const end = table + ((<usize>mask + 1) << 4);
  let at = slot(fingerprint, mask);
  const mine = ((<u64>distance) << 32) | <u64>owner;
  while (true) {
    let there = atomic.load<u64>(at);
    if (there == 0) {
      if (atomic.load<u32>(Ctl.STATES) >= (mask >> 1) + (mask >> 3)) return Visit.FULL;
      there = atomic.cmpxchg<u64>(at, 0, fingerprint);
      if (there == 0) there = fingerprint;
    }
    if (there == fingerprint) return claim(at + 8, mine);
    at += 16;
    if (at == end) at = table;
  }
}

function claim(at: usize, mine: u64): Visit {
  const levelBase = load<u32>(Ctl.LEVEL_BASE);
  let old = atomic.load<u64>(at);
  while (true) {
    if (old != 0 && (<u32>old < levelBase || old >> 32 <= mine >> 32)) {
      Found.owner = <u32>old;
      return Visit.KNOWN;
    }
    const seen = atomic.cmpxchg<u64>(at, old, mine);
    if (seen == old) {
      if (old != 0) {
        atomic.or<u32>(chain(<u32>old) + Chain.FLAGS, ChainFlag.ROBBED);
        return Visit.SHORTER;
      }
      if (++Found.uncounted == LOT) countStates();
      return Visit.NEW;
    }
    old = seen;
  }
}

/** Distance and owner of a state, 0 when it is not known. */
export function lookup(fingerprint: u64): u64 {
  const mask = load<u32>(Ctl.TABLE_MASK);
  const table = <usize>load<u32>(Ctl.TABLE);
  const end = table + ((<usize>mask + 1) << 4);
  let at = slot(fingerprint, mask);
  while (true) {
    const there = load<u64>(at);
    if (there == fingerprint) return load<u64>(at, 8);
    if (there == 0) return 0;
    at += 16;
    if (at == end) at = table;
  }
}

/** Moves all entries to a new, larger, zeroed table. No other worker may be running. */
export function moveTable(newTable: usize, newMask: u32): void {
  const old = <usize>load<u32>(Ctl.TABLE);
  const oldEnd = old + ((<usize>load<u32>(Ctl.TABLE_MASK) + 1) << 4);
  store<u32>(Ctl.TABLE, <u32>newTable);
  store<u32>(Ctl.TABLE_MASK, newMask);
  const end = newTable + ((<usize>newMask + 1) << 4);
  if (old == 0) return;
  for (let from = old; from < oldEnd; from += 16) {
    const fingerprint = load<u64>(from);
    if (fingerprint == 0) continue;
    let at = slot(fingerprint, newMask);
    while (load<u64>(at) != 0) {
      at += 16;
      if (at == end) at = newTable;
    }
    store<u64>(at, fingerprint);
    store<u64>(at, load<u64>(from, 8), 8);
  }
}
