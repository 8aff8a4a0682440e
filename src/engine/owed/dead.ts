// What an activity leaves below the stack pointer, or on an idle stack, is dead. After a resume those bytes become
// undefined: states merge again, and a read of one is a `stale-read`.

import { Ctx, Reg, State } from "../abi";
import { Config } from "../cpu/config";
import { forget } from "../cpu/memory";
import { cpl, reg, state } from "../cpu/state";
import { innermost, owed } from "./contexts";

/** Lowest live address of a stack, its high end when it is idle. */
function lowestLive(low: u64, high: u64): u64 {
  let live = high;
  if (cpl() == 0 && (state() & State.USER_RSP) == 0) live = lower(live, reg(Reg.RSP), low, high);
  for (let context = innermost(); context != 0; context = <usize>owed(context, Ctx.OUTER)) {
    live = lower(live, owed(context, Ctx.FRAME_LOW), low, high);
    if (owed(context, Ctx.CPL) == 0 && (owed(context, Ctx.STATE) & State.USER_RSP) == 0) {
      live = lower(live, owed(context, Ctx.RSP), low, high);
    }
  }
  return live;
}

function lower(live: u64, address: u64, low: u64, high: u64): u64 {
  return address >= low && address < live && address <= high ? address : live;
}

/** Forgets the dead bytes of every stack of the scenario. */
export function forgetDead(): void {
  for (let i = 0; i < Config.stackCount; i++) {
    const at = Config.stacks + <usize>(i * 24);
    const low = load<u64>(at);
    const high = load<u64>(at, 8);
    const physical = load<u64>(at, 16);
    const live = lowestLive(low, high);
    forget(<u32>physical, <u32>(physical + ((live - low) & ~(<u64>7))));
  }
}

/**
 * The frame of a context that was just resumed from it is dead too, though the address may be a live one: on an IST stack
 * a nested frame lies over that of the outer context. Whoever pops it again gets what is left of a run that is over.
 */
export function forgetFrame(low: u64, high: u64): void {
  const stack = Config.stackOf(low, high);
  if (stack < 0) return;
  const at = Config.stacks + <usize>(stack * 24);
  const offset = load<u64>(at, 16) - load<u64>(at);
  forget(<u32>((low + offset + 7) & ~(<u64>7)), <u32>((high + offset) & ~(<u64>7)));
}
