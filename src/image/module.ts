// Relocatable code as the assembler and the ELF reader give it to the linker.

import type { Location } from "../diagnostic.js";

export interface ObjectSection {
  name: string;
  align: number;
  alloc: boolean;
  writable: boolean;
  executable: boolean;
  nobits: boolean;
  /** zero-filled when nobits */
  bytes: Uint8Array;
  /** fixed (executables) */
  address?: bigint;
}

export interface ObjectSymbol {
  /** empty, or the name of its section, for what only stands for the section */
  name: string;
  /** index into `sections` */
  section: number | "absolute" | "undefined";
  /** offset in the section, or the absolute value */
  value: bigint;
  global: boolean;
  /** a definition that another one may replace, or a reference that is 0 when nothing defines it */
  weak?: boolean;
  location?: Location;
}

export interface Relocation {
  section: number;
  offset: number;
  size: 1 | 2 | 4 | 8;
  /** relative: minus the address of the field itself */
  kind: "absolute" | "relative";
  /** the CPU sign-extends the field */
  signed: boolean;
  /** name of a symbol, or index into `symbols` */
  symbol: string | number;
  addend: bigint;
  location?: Location;
}

export interface ObjectModule {
  file: string;
  sections: ObjectSection[];
  symbols: ObjectSymbol[];
  relocations: Relocation[];
  lines: { section: number; offset: number; file: string; line: number }[];
}
