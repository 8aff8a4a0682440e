// Marks: where the machine was, to come back to. The register block is copied; memory is rolled back by its undo log.

import { Reg } from "../abi";
import { Translations, undoMemory } from "../cpu/memory";
import { M, mix, reg } from "../cpu/state";

const REGISTERS: usize = Reg.COUNT << 3;
/** bytes of a mark: the register block, then the undo log's position */
export const MARK_BYTES: usize = REGISTERS + 8;

export function save(mark: usize): void {
  memory.copy(mark, M.regs, REGISTERS);
  store<usize>(mark + REGISTERS, M.logTop);
}

export function restore(mark: usize): void {
  undoMemory(load<usize>(mark + REGISTERS));
  // control registers decide about translations; all of them are cold
  if (load<u64>(mark + ((<usize>Reg.COLD_HASH) << 3)) != reg(Reg.COLD_HASH)) Translations.generation++;
  memory.copy(M.regs, mark, REGISTERS);
}

/** Fingerprint of the whole state; never 0, which means an empty place in the table. */
export function fingerprint(): u64 {
  let h = reg(Reg.MEM_HASH) ^ reg(Reg.COLD_HASH);
  for (let word: i32 = 0; word < Reg.FIRST_COLD; word++) h += mix(<u64>(word + 0x1000), reg(word));
  h ^= h >> 31;
  h *= 0x9fb21c651e98df25;
  h ^= h >> 28;
  return h == 0 ? 1 : h;
}
