// The one diagnostic type, from assembler to verdict.

export interface Location {
  readonly file: string;
  /** 1-based; undefined: the file as a whole */
  readonly line?: number;
  readonly column?: number;
}

/** Wrong input: one clear sentence and where. The command line prints it and ends with status 2. */
export class InputError extends Error {
  readonly location: Location | undefined;
  readonly notes: readonly string[];

  constructor(text: string, location?: Location, notes: readonly string[] = []) {
    super(text);
    this.name = "InputError";
    this.location = location;
    this.notes = notes;
  }
}

/** `file:line:column: error: text`, then the notes. */
export function formatDiagnostic(error: InputError): string {
  const { location } = error;
  const where = location
    ? [location.file, location.line, location.line === undefined ? undefined : location.column]
        .filter((part) => part !== undefined)
        .join(":")
    : "";
  const head = where === "" ? `error: ${error.message}` : `${where}: error: ${error.message}`;
  return [head, ...error.notes.map((note) => `  note: ${note}`)].join("\n");
}
