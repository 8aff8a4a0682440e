// Records of chains: where each one branches off, so that its start is a schedule.

import { Chain, ChainBlock, ChainFlag, Ctl } from "../abi";
import { allocate } from "./memory";

/** Chain numbers go to workers in blocks of this many, so that neighbours stay together. */
const GRANT: u32 = 64;

class Grant {
  static next: u32 = 0;
  static end: u32 = 0;
}

/** Address of a chain's record. */
export function chain(number: u32): usize {
  const block = <usize>load<u32>(Ctl.CHAIN_BLOCKS + ((number >> ChainBlock.SHIFT) << 2));
  return block + <usize>(number & 0xffff) * Chain.SIZEOF;
}

/** The number that the next chain of this worker will have; 0 when memory is used up. */
export function nextNumber(): u32 {
  if (Grant.next == Grant.end) {
    const first = atomic.add<u32>(Ctl.NEXT_CHAIN, GRANT);
    const place: usize = <usize>Ctl.CHAIN_BLOCKS + <usize>((first >> ChainBlock.SHIFT) << 2);
    if (place >= 61440) return 0;
    while (atomic.load<u32>(place) == 0) {
      const block = <u32>allocate((<u32>Chain.SIZEOF) << ChainBlock.SHIFT);
      if (block == 0) return 0;
      atomic.cmpxchg<u32>(place, 0, block);
    }
    Grant.next = first;
    Grant.end = first + GRANT;
  }
  return Grant.next;
}

/** The number is in use from now on. */
export function takeNumber(): void {
  Grant.next++;
}

/** Chains of another round get numbers of their own, so that a round is a range of numbers. */
export function dropGrant(): void {
  Grant.next = 0;
  Grant.end = 0;
}

/** Is a number that was handed out in use? */
function inUse(number: u32): bool {
  if (load<u32>(Ctl.CHAIN_BLOCKS + ((number >> ChainBlock.SHIFT) << 2)) == 0) return false;
  return (load<u32>(chain(number), Chain.FLAGS) & ChainFlag.USED) != 0;
}

/** Writes the numbers of the chains from `first` on that have all of `flags` to `out` (u32 each); returns how many. */
export function listChains(first: u32, flags: u32, out: usize): u32 {
  const end = load<u32>(Ctl.NEXT_CHAIN);
  let count: u32 = 0;
  for (let number = first; number < end; number++) {
    if (!inUse(number) || (load<u32>(chain(number), Chain.FLAGS) & flags) != flags) continue;
    store<u32>(out + ((<usize>count) << 2), number);
    count++;
  }
  return count;
}

/**
 * One chain of each circle in the graph of chains from `first` on, to `out` (at most `most`); returns how many. `seen` is
 * zeroed memory for one u32 a number.
 */
export function listCircles(first: u32, seen: usize, out: usize, most: u32): u32 {
  const end = load<u32>(Ctl.NEXT_CHAIN);
  let count: u32 = 0;
  for (let start = first; start < end && count < most; start++) {
    if (!inUse(start)) continue;
    let at = start;
    while (at >= first && load<u32>(seen + ((<usize>(at - first)) << 2)) == 0) {
      store<u32>(seen + ((<usize>(at - first)) << 2), start);
      at = load<u32>(chain(at), Chain.NEXT);
    }
    if (at >= first && load<u32>(seen + ((<usize>(at - first)) << 2)) == start) {
      store<u32>(out + ((<usize>count) << 2), at);
      count++;
    }
  }
  return count;
}
