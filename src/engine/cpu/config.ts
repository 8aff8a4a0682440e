// What the scenario tells the engine: constants of a run, written once by the host.

/** Layout of the scenario block in linear memory (64-bit words): the host writes it, `configure` reads it. */
export class Config {
  /** properties to check: bit Prop */
  static properties: u32 = 0;
  static kernelGs: u64 = 0;
  static survivesDoubleFault: bool = false;
  /** general registers (bit number) that a system call may change */
  static syscallClobbers: u32 = 0;
  /** stacks: linear low, linear high, physical low, three words each */
  static stacks: usize = 0;
  static stackCount: i32 = 0;
  /** physical [low, high) pairs */
  static persistent: usize = 0;
  static persistentCount: i32 = 0;
  static discarded: usize = 0;
  static discardedCount: i32 = 0;
  /** linear addresses */
  static fixups: usize = 0;
  static fixupCount: i32 = 0;
  /** event rules: kind, limit, vector, address, error code, flags: six words each */
  static rules: usize = 0;
  static ruleCount: i32 = 0;
  /** bits of the rules that may strike anywhere */
  static anywhere: u32 = 0;
  /** where the body's register frame is known from: Reg, or -1; then pairs (Reg, offset) */
  static framePointer: i32 = -1;
  static frame: usize = 0;
  static frameCount: i32 = 0;
  /** bytes of a word in it */
  static frameWord: i32 = 8;
  /** coverage map: one byte for each numbered instruction */
  static coverage: usize = 0;

  static isDiscarded(physical: u64): bool {
    return within(Config.discarded, Config.discardedCount, physical);
  }

  /** Which bytes of a word of memory outlive an activity. */
  static persistentBytes(word: u32): u32 {
    let bits: u32 = 0;
    for (let i = 0; i < Config.persistentCount; i++) {
      const at = Config.persistent + ((<usize>i) << 4);
      const low = load<u64>(at);
      const high = load<u64>(at, 8);
      const base = (<u64>word) << 3;
      if (base + 8 <= low || base >= high) continue;
      for (let b: u32 = 0; b < 8; b++) if (base + b >= low && base + b < high) bits |= 1 << b;
    }
    return bits;
  }

  static isFixup(address: u64): bool {
    for (let i = 0; i < Config.fixupCount; i++)
      if (load<u64>(Config.fixups + ((<usize>i) << 3)) == address) return true;
    return false;
  }

  /** Number of the stack that holds [low, high), or -1. */
  static stackOf(low: u64, high: u64): i32 {
    for (let i = 0; i < Config.stackCount; i++) {
      const at = Config.stacks + <usize>(i * 24);
      if (low >= load<u64>(at) && high <= load<u64>(at, 8)) return i;
    }
    return -1;
  }

  static checks(property: i32): bool {
    return (Config.properties & (1 << property)) != 0;
  }
}

function within(ranges: usize, count: i32, address: u64): bool {
  for (let i = 0; i < count; i++) {
    const at = ranges + ((<usize>i) << 4);
    if (address >= load<u64>(at) && address < load<u64>(at, 8)) return true;
  }
  return false;
}

/** Words of an event rule. */
export enum Rule {
  KIND = 0,
  LIMIT = 8,
  VECTOR = 16,
  ADDRESS = 24,
  ERROR = 32,
  WHILE_MCIP = 40,
  SIZEOF = 48,
}
