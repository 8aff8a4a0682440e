// From text to statements: comments go, `;` and line ends separate, and every statement knows where it came from.

import { InputError, type Location } from "../diagnostic.js";

/** The expansion that a statement came out of. */
export interface Expansion {
  /** `macro \`save_regs\`` */
  readonly what: string;
  readonly statement: Statement;
}

export interface Statement {
  readonly text: string;
  readonly file: string;
  readonly line: number;
  /** 1-based column of `text` in its source line */
  readonly column: number;
  /** `text` is what stands in the source, so that columns inside it can be given */
  readonly exact: boolean;
  readonly expansion?: Expansion | undefined;
}

/** Where `offset` inside a statement stands in the source. */
export function locationAt(statement: Statement, offset = 0): Location {
  return {
    file: statement.file,
    line: statement.line,
    column: statement.exact ? statement.column + offset : statement.column,
  };
}

/** An InputError at a statement; its notes name the chain of expansions, innermost first. */
export function errorAt(statement: Statement, text: string, offset = 0, notes: readonly string[] = []): InputError {
  const chain: string[] = [];
  for (let from = statement.expansion; from !== undefined && chain.length < 8; from = from.statement.expansion) {
    const note = `in ${from.what}, expanded at ${from.statement.file}:${from.statement.line}`;
    if (note !== chain.at(-1)) chain.push(note);
  }
  return new InputError(text, locationAt(statement, offset), [...notes, ...chain]);
}

const PREPROCESSOR = /^\s*#(define|undef|include|ifdef|ifndef|if|elif|else|endif|pragma)\b/;
const INSTEAD: Readonly<Record<string, string>> = {
  define: "use `.set name, value` for a number or `.macro` for text",
  undef: "use `.set` to give a name another value, `.purgem` to forget a macro",
  include: "give both files to the assembler",
  pragma: "remove the line",
};
const LINE_MARKER = /^\s*#\s+(\d+)\s+"([^"]*)"/;

/** End of a quoted string that starts at `from`, one past the closing quote; undefined: it is not closed on its line. */
function stringEnd(text: string, from: number): number | undefined {
  for (let at = from + 1; at < text.length && text[at] !== "\n"; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return undefined;
}

/** End of a character constant `'c`, `'c'`, `'\n'` that starts at `from`. */
export function charEnd(text: string, from: number): number {
  const body = text[from + 1] === "\\" ? 2 : 1;
  const end = from + 1 + body;
  return text[end] === "'" ? end + 1 : end;
}

/** Comments become spaces, so that columns stay; line ends stay. */
function withoutComments(text: string, file: string, startLine: number): string {
  let out = "";
  let kept = 0;
  let at = 0;
  const blank = (end: number): void => {
    out += text.slice(kept, at) + text.slice(at, end).replace(/[^\n]/g, " ");
    kept = at = end;
  };
  while (at < text.length) {
    const c = text[at];
    if (c === '"') at = stringEnd(text, at) ?? at + 1;
    else if (c === "'") at = charEnd(text, at);
    else if (c === "/" && text[at + 1] === "*") {
      const end = text.indexOf("*/", at + 2);
      if (end < 0) {
        const before = text.slice(0, at).split("\n");
        const column = (before.at(-1) ?? "").length + 1;
        const line = startLine + before.length - 1;
        throw new InputError("comment is not closed: expected `*/`", { file, line, column });
      }
      blank(end + 2);
    } else if (c === "#" || (c === "/" && text[at + 1] === "/")) {
      const end = text.indexOf("\n", at);
      blank(end < 0 ? text.length : end);
    } else at++;
  }
  return out + text.slice(kept);
}

/** Pieces of one line between `;`, with their offsets; strings and character constants are left whole. */
function pieces(line: string): { text: string; offset: number }[] {
  const result: { text: string; offset: number }[] = [];
  let start = 0;
  const push = (end: number): void => {
    const text = line.slice(start, end);
    const lead = text.length - text.trimStart().length;
    if (text.trim() !== "") result.push({ text: text.trim(), offset: start + lead });
  };
  for (let at = 0; at < line.length; ) {
    if (line[at] === '"') at = stringEnd(line, at) ?? at + 1;
    else if (line[at] === "'") at = charEnd(line, at);
    else if (line[at] === ";") {
      push(at);
      start = ++at;
    } else at++;
  }
  push(line.length);
  return result;
}

/** Statements of one line of expanded text. */
export function statementsOfLine(text: string, from: Omit<Statement, "text">): Statement[] {
  return pieces(text).map((piece) => ({ ...from, text: piece.text, column: from.column + piece.offset }));
}

/**
 * Statements of a source text. Line markers of a C preprocessor (`# 12 "entry.S"`) are followed; its directives are an
 * InputError, since it is not run.
 */
export function statementsOf(text: string, file: string, startLine = 1): Statement[] {
  const normal = text.replace(/\r\n?/g, "\n");
  const raw = normal.split("\n");
  const clean = withoutComments(normal, file, startLine).split("\n");
  const result: Statement[] = [];
  let shown = file;
  let shift = startLine;
  for (const [index, line] of clean.entries()) {
    const original = raw[index] ?? "";
    if (line.trim() === "" && original.includes("#")) {
      const marker = LINE_MARKER.exec(original);
      if (marker) {
        shown = marker[2] ?? file;
        shift = Number(marker[1]) - index - 1;
      }
      const directive = PREPROCESSOR.exec(original)?.[1];
      if (directive !== undefined) {
        throw new InputError(
          `the C preprocessor is not run, found \`#${directive}\`: ${INSTEAD[directive] ?? "use `.if`, `.ifdef`, `.else` and `.endif`"}`,
          { file: shown, line: index + shift, column: original.indexOf("#") + 1 },
        );
      }
    }
    result.push(...statementsOfLine(line, { file: shown, line: index + shift, column: 1, exact: true }));
  }
  return result;
}
