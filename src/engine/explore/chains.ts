// Records of chains: where each one branches off, so that its start is a schedule.

import { Chain, ChainBlock, Ctl } from "../abi";
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
      const block = <u32>allocate(<u32>Chain.SIZEOF << ChainBlock.SHIFT);
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

/** Chains of another level get numbers of their own. */
export function dropGrant(): void {
  Grant.next = 0;
  Grant.end = 0;
}
