// Linear memory is handed out from one shared pointer and never given back.

import { Ctl } from "../abi";

/** Zeroed memory, a multiple of 64 bytes, or 0 when the limit is reached. */
export function allocate(bytes: u32): usize {
  const units = (bytes + 63) >> 6;
  const at = (<u64>atomic.add<u32>(Ctl.FREE, units)) << 6;
  const end = at + ((<u64>units) << 6);
  if (end > 0xffff0000) return 0;
  while (true) {
    const have = (<u64>memory.size()) << 16;
    if (end <= have) return <usize>at;
    const pages = <i32>((end - have + 0xffff) >> 16);
    if (memory.grow(pages) < 0 && (<u64>memory.size()) << 16 < end) return 0;
  }
}
