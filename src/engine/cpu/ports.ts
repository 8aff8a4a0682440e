// Port input and output: the model has no devices. Reads give all ones, writes go nowhere; the verdict says so when used.

import { Reg, Used } from "../abi";
import { readSystem, watchPort } from "./access";
import { cpl, FLAG_IOPL, flags, GP, M, raise, reg, sizeMask } from "./state";

/** Is the port open to this CPL? If not, #GP is raised. Beyond IOPL the TSS's I/O permission bitmap decides. */
export function permitted(port: i32, size: i32): bool {
  if (<u64>cpl() <= (flags() & FLAG_IOPL) >> 12) return true;
  const limit = reg(Reg.TR_LIMIT);
  const map = limit >= 103 ? readSystem(reg(Reg.TR_BASE) + 102, 2) : 0xffff;
  const at = map + (<u64>port >> 3);
  if (M.fault >= 0) return false;
  if (at + 1 <= limit) {
    const bits = readSystem(reg(Reg.TR_BASE) + at, 2);
    if (M.fault >= 0) return false;
    if (((bits >> (<u64>port & 7)) & ((1 << (<u64>size)) - 1)) == 0) return true;
  }
  raise(GP, 0);
  return false;
}

export function portIn(port: i32, size: i32): u64 {
  if (!permitted(port, size)) return 0;
  watchPort(<u64>port, size);
  M.used |= Used.PORTS;
  return sizeMask(size);
}

export function portOut(port: i32, size: i32): void {
  if (!permitted(port, size)) return;
  watchPort(<u64>port, size);
  M.used |= Used.PORTS;
}
