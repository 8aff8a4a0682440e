import { Op } from "./abi";
export function t(p: usize, op: i32): u64 {
  switch (op) {
    case Op.ADD: return load<u64>(p) + 1;
    case Op.OR: return load<u64>(p) | 1;
    case Op.ADC: return load<u64>(p) * 5;
    case Op.SBB: return load<u64>(p) / 7;
    case Op.AND: return atomic.load<u64>(p);
    case Op.SUB: return load<u64>(p) << 7;
    case Op.XOR: return memory.grow(1);
  }
  return 0;
}
