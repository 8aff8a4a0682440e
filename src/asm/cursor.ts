// Reads one statement from left to right; what it does not find becomes an InputError with a column.

import type { InputError } from "../diagnostic.js";
import { errorAt, type Statement } from "./source.js";

export const NAME = /[A-Za-z_.$][\w.$]*/y;

export class Cursor {
  readonly statement: Statement;
  at: number;

  constructor(statement: Statement, at = 0) {
    this.statement = statement;
    this.at = at;
  }

  error(text: string, at = this.at): InputError {
    return errorAt(this.statement, text, at);
  }

  skipSpace(): void {
    const { text } = this.statement;
    while (text[this.at] === " " || text[this.at] === "\t") this.at++;
  }

  /** The offset of what comes next, after blanks. */
  mark(): number {
    this.skipSpace();
    return this.at;
  }

  /** The next character that is not blank, without taking it; "" at the end. */
  peek(): string {
    this.skipSpace();
    return this.statement.text[this.at] ?? "";
  }

  atEnd(): boolean {
    return this.peek() === "";
  }

  /** Takes what the sticky pattern matches here, after blanks. */
  take(pattern: RegExp): string | undefined {
    this.skipSpace();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.statement.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  eat(text: string): boolean {
    this.skipSpace();
    if (!this.statement.text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  expect(text: string, after: string): void {
    if (!this.eat(text)) throw this.error(`expected \`${text}\` ${after}, found ${this.found()}`);
  }

  name(what: string): string {
    const found = this.take(NAME);
    if (found === undefined) throw this.error(`expected ${what}, found ${this.found()}`);
    return found;
  }

  /** What stands here, for error texts. */
  found(): string {
    const rest = this.statement.text.slice(this.at).trim();
    return rest === "" ? "the end of the statement" : `\`${rest.length > 40 ? `${rest.slice(0, 40)}...` : rest}\``;
  }

  rest(): string {
    const rest = this.statement.text.slice(this.at).trim();
    this.at = this.statement.text.length;
    return rest;
  }

  expectEnd(): void {
    if (!this.atEnd()) throw this.error(`expected the end of the statement, found ${this.found()}`);
  }

  /** A string in double quotes as bytes (UTF-8), with the escapes of the manual of as, section "Strings". */
  string(): Uint8Array {
    if (this.peek() !== '"') throw this.error(`expected a string in double quotes, found ${this.found()}`);
    const { text } = this.statement;
    const start = this.at++;
    const bytes: number[] = [];
    while (text[this.at] !== '"') {
      const code = text.codePointAt(this.at);
      if (code === undefined) throw this.error('string is not closed: expected `"`', start);
      if (text[this.at] === "\\") bytes.push(this.escape());
      else {
        const character = String.fromCodePoint(code);
        bytes.push(...new TextEncoder().encode(character));
        this.at += character.length;
      }
    }
    this.at++;
    return Uint8Array.from(bytes);
  }

  /** The value of the escape that starts at the backslash here. */
  escape(): number {
    const { text } = this.statement;
    const octal = /\\[0-7]{1,3}/y;
    const hex = /\\[xX][0-9a-fA-F]+/y;
    octal.lastIndex = hex.lastIndex = this.at;
    const digits = octal.exec(text)?.[0] ?? hex.exec(text)?.[0];
    if (digits !== undefined) {
      this.at += digits.length;
      // of a long hexadecimal escape the last two digits count
      return /[xX]/.test(digits)
        ? Number.parseInt(digits.slice(-2).replace(/[xX]/, ""), 16)
        : Number.parseInt(digits.slice(1), 8) & 255;
    }
    const letter = text[this.at + 1] ?? "";
    const value = { b: 8, f: 12, n: 10, r: 13, t: 9, "\\": 92, '"': 34, "'": 39 }[letter];
    if (value === undefined) throw this.error(`unknown escape \`\\${letter}\` in a string`);
    this.at += 2;
    return value;
  }
}
