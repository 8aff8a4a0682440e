// Physical back to linear addresses, for reports: the guest's page tables read once.

import { Reg } from "../engine/abi.js";
import type { Machine } from "./machine.js";

const FRAME = 0x3ffffffff000n;
const LARGE_PAGES_AT_MOST = 4096;

/** For each physical page, the linear page that the tables map to it (one of them, when there are several). */
export type ReverseMap = ReadonlyMap<number, bigint>;

export function reverseMap(machine: Machine): ReverseMap {
  const map = new Map<number, bigint>();
  const long = (machine.register(Reg.EFER) & 0x400n) !== 0n;
  const cr3 = machine.register(Reg.CR3);
  if (long) walk4(machine, map, cr3 & FRAME, 39n, 0n);
  else walk2(machine, map, cr3 & 0xfffff000n);
  return map;
}

/** The linear address of a physical one; the physical one itself where nothing maps it. */
export function linearOf(map: ReverseMap, physical: number): bigint {
  const page = map.get(physical >>> 12);
  return page === undefined ? BigInt(physical) : page | BigInt(physical & 4095);
}

function entry(machine: Machine, physical: bigint, size: 4 | 8): bigint {
  if (physical + BigInt(size) > BigInt(machine.scenario.memory.size)) return 0n;
  const at = machine.engine.ram() + Number(physical);
  return size === 8 ? machine.view.getBigUint64(at, true) : BigInt(machine.view.getUint32(at, true));
}

function put(map: Map<number, bigint>, physical: bigint, linear: bigint, pages: number): void {
  for (let n = 0; n < Math.min(pages, LARGE_PAGES_AT_MOST); n++) {
    const page = Number(physical >> 12n) + n;
    if (!map.has(page)) map.set(page, linear + BigInt(n * 4096));
  }
}

function walk4(machine: Machine, map: Map<number, bigint>, table: bigint, shift: bigint, base: bigint): void {
  for (let n = 0n; n < 512n; n++) {
    const value = entry(machine, table + n * 8n, 8);
    if ((value & 1n) === 0n) continue;
    const linear = BigInt.asUintN(64, BigInt.asIntN(48, base | (n << shift)));
    if (shift === 12n || (value & 0x80n) !== 0n)
      put(map, value & FRAME & -(1n << shift), linear, 1 << Number(shift - 12n));
    else walk4(machine, map, value & FRAME, shift - 9n, base | (n << shift));
  }
}

function walk2(machine: Machine, map: Map<number, bigint>, directory: bigint): void {
  for (let n = 0n; n < 1024n; n++) {
    const value = entry(machine, directory + n * 4n, 4);
    if ((value & 1n) === 0n) continue;
    if ((value & 0x80n) !== 0n) {
      put(map, value & 0xffc00000n, n << 22n, 1024);
      continue;
    }
    for (let m = 0n; m < 1024n; m++) {
      const last = entry(machine, (value & 0xfffff000n) + m * 4n, 4);
      if (last & 1n) put(map, last & 0xfffff000n, (n << 22n) | (m << 12n), 1);
    }
  }
}
