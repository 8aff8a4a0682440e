// Instruction fetch: from RIP to a decoded record. Records are made by the host, once for each address; where code was
// written since, or an instruction crosses a page, the bytes are compared with memory first.

import { Attr, Lack, Rec, RecFlag, Reg, Seg } from "../abi";
import { PageFlag } from "./memory";
import { Access, translate } from "./paging";
import { canonical, GP, long64, M, raise, reg, segReg, unsupported } from "./state";

/** The bytes at RIP, for the host to decode. */
export class Fetch {
  /** 16 bytes of linear memory */
  static bytes: usize = 0;
  /** how many could be fetched, at most 15 */
  static length: i32 = 0;
  /** linear address of the instruction */
  static address: u64 = 0;
}

/** Linear address of RIP with the checks of a fetch: canonical, or within the CS limit. */
function codeAddress(): u64 {
  const rip = reg(Reg.RIP);
  if (long64()) {
    if (!canonical(rip)) raise(GP, 0);
    return rip;
  }
  if (rip > reg(Reg.CS_LIMIT)) raise(GP, 0);
  return (rip + reg(Reg.CS_BASE)) & 0xffffffff;
}

/** Finds the record of the instruction at RIP. 0: a fault was raised, or (M.request set) the host must decode first. */
export function fetch(): usize {
  M.request = 0;
  if (!long64() && (reg(segReg(Seg.CS) + 3) & Attr.DB) == 0) {
    unsupported(Lack.MODE, reg(Reg.RIP));
    return 0;
  }
  const address = codeAddress();
  if (M.fault >= 0) return 0;
  const physical = translate(address, Access.FETCH);
  if (M.fault >= 0) return 0;
  if (physical + 16 > M.ramSize && physical >= M.ramSize) {
    unsupported(Lack.PHYSICAL, physical);
    return 0;
  }
  const block = <usize>load<u32>(M.pageIndex + ((<usize>(physical >> 12)) << 2));
  if (block != 0) {
    const record = <usize>load<u32>(block + ((<usize>(physical & 4095)) << 2));
    if (record != 0 && load<u64>(record, Rec.RIP) == address && valid(record, address, physical)) {
      if ((load<u8>(record, Rec.FLAGS) & RecFlag.TOO_LONG) == 0) return record;
      raise(GP, 0);
    }
    if (M.fault >= 0) return 0;
  }
  ask(address, physical);
  return 0;
}

/** Does a record still describe what is in memory? */
function valid(record: usize, address: u64, physical: u64): bool {
  const crosses = (load<u8>(record, Rec.FLAGS) & RecFlag.CROSSES) != 0;
  if (load<u8>(record, Rec.MODE) != (long64() ? 64 : 32)) return false;
  if (!crosses && (load<u8>(M.pageFlags + <usize>(physical >> 12)) & PageFlag.CHANGED) == 0) return true;
  const length = <i32>load<u8>(record, Rec.LENGTH);
  let at = physical;
  for (let i = 0; i < length; i++, at++) {
    if (((address + <u64>i) & 4095) == 0 && i > 0) {
      at = translate(address + <u64>i, Access.FETCH);
      if (M.fault >= 0) return false;
    }
    if (at >= M.ramSize) {
      unsupported(Lack.PHYSICAL, at);
      return false;
    }
    if (load<u8>(M.ram + <usize>at) != load<u8>(record + i, Rec.BYTES)) return false;
  }
  return (load<u8>(record, Rec.FLAGS) & RecFlag.TRUNCATED) == 0; // all bytes can be read now: decode again
}

/** Collects the bytes for the host. Bytes beyond an unmapped page are left out; if they are needed, the fetch faults there. */
function ask(address: u64, physical: u64): void {
  M.request = physical;
  Fetch.address = address;
  Fetch.length = 0;
  let at = physical;
  for (let i = 0; i < 15; i++, at++) {
    if (((address + <u64>i) & 4095) == 0 && i > 0) {
      const before = M.faultAddress;
      at = translate(address + <u64>i, Access.FETCH);
      if (M.fault >= 0) {
        M.fault = -1;
        M.faultAddress = before;
        break;
      }
    }
    if (at >= M.ramSize) break;
    store<u8>(Fetch.bytes + i, load<u8>(M.ram + <usize>at));
    Fetch.length = i + 1;
  }
}
