// Code and data at their final addresses: what linking gives.

/** A run of bytes at a virtual address. `executable`/`writable` decide the page-table bits. */
export interface Section {
  readonly name: string;
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly executable: boolean;
  readonly writable: boolean;
}

export interface SourceLine {
  readonly address: bigint;
  readonly file: string;
  readonly line: number;
}

/** Code and data with their symbols, placed at their final addresses. */
export interface Image {
  readonly sections: readonly Section[];
  readonly symbols: ReadonlyMap<string, bigint>;
  /** ascending by address; empty when the source is unknown */
  readonly lines: readonly SourceLine[];
}
