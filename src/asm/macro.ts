// Macros: parameters, the arguments of a call, and substitution in a body. All of it is text, as in GNU as.

import { Cursor, NAME } from "./cursor.js";
import { type Expansion, errorAt, type Statement, statementsOfLine } from "./source.js";

export interface Parameter {
  readonly name: string;
  readonly kind: "optional" | "required" | "vararg";
  readonly default: string;
}

export interface Macro {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly body: readonly Statement[];
}

/** Blanks count between two of these; anywhere else in an argument list they are nothing (the scrubber of as for x86). */
const WORDY = /[\w.$*%\-([{\\?]/;

/** A list of arguments with the blanks gone that mean nothing. */
export function squeeze(text: string): string {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    const c = text[at] ?? "";
    if (c === '"') {
      const end = quoteEnd(text, at);
      out += text.slice(at, end);
      at = end - 1;
    } else if (c === " " || c === "\t") {
      const next = text.slice(at).trimStart()[0] ?? "";
      const last = out.at(-1) ?? "";
      if ((WORDY.test(last) || last === '"') && (WORDY.test(next) || next === '"')) out += " ";
      at += text.slice(at).length - text.slice(at).trimStart().length - 1;
    } else out += c;
  }
  return out;
}

function quoteEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

/** `.macro name a, b=1, c:req, d:vararg`, the cursor after `.macro`. */
export function parseMacroHead(cursor: Cursor): { name: string; parameters: Parameter[] } {
  const name = cursor.name("the macro's name");
  cursor.eat(",");
  const parameters: Parameter[] = [];
  while (!cursor.atEnd()) {
    if (parameters.at(-1)?.kind === "vararg") throw cursor.error("a `:vararg` parameter must be the last one");
    const parameter = cursor.name("a parameter's name");
    if (parameters.some((other) => other.name === parameter))
      throw cursor.error(`parameter \`${parameter}\` stands twice`);
    let kind: Parameter["kind"] = "optional";
    if (cursor.eat(":")) {
      const word = cursor.name("`req` or `vararg`");
      if (word !== "req" && word !== "vararg")
        throw cursor.error(`expected \`req\` or \`vararg\` after \`:\`, found \`${word}\``);
      kind = word === "req" ? "required" : "vararg";
    }
    parameters.push({ name: parameter, kind, default: cursor.eat("=") ? argument(cursor) : "" });
    cursor.eat(",");
  }
  return { name, parameters };
}

/** One argument: a quoted string without its quotes, or text up to a comma or a blank outside brackets. */
function argument(cursor: Cursor): string {
  const { text } = cursor.statement;
  if (cursor.peek() === '"') {
    const end = quoteEnd(text, cursor.at);
    if (end === text.length && (text.at(-1) !== '"' || end - cursor.at < 2))
      throw cursor.error('string is not closed: expected `"`');
    const inner = text.slice(cursor.at + 1, end - 1);
    cursor.at = end;
    return inner.replaceAll('\\"', '"');
  }
  const start = cursor.at;
  const brackets: string[] = [];
  for (; cursor.at < text.length; cursor.at++) {
    const c = text[cursor.at] ?? "";
    if (c === "," || (brackets.length === 0 && (c === " " || c === "\t"))) break;
    if (c === "(" || c === "[") brackets.push(c === "(" ? ")" : "]");
    else if (c === brackets.at(-1)) brackets.pop();
    else if (c === '"') cursor.at = quoteEnd(text, cursor.at) - 1;
  }
  return text.slice(start, cursor.at).trimEnd();
}

/** All arguments of `.irp`, or of a call without names. */
export function argumentList(statement: Statement, from: number): string[] {
  const cursor = new Cursor({ ...statement, text: squeeze(statement.text.slice(from).trim()), exact: false });
  const list: string[] = [];
  while (!cursor.atEnd()) {
    list.push(argument(cursor));
    if (cursor.eat(",") && cursor.atEnd()) list.push("");
  }
  return list;
}

/** Arguments of a call, by position and by `name=value`. */
export function bindArguments(macro: Macro, statement: Statement, from: number): Map<string, string> {
  const cursor = new Cursor({ ...statement, text: squeeze(statement.text.slice(from).trim()), exact: false });
  const bound = new Map<string, string>();
  let position = 0;
  while (!cursor.atEnd()) {
    const keyword = keywordOf(macro, cursor);
    const parameter = keyword ?? macro.parameters[position];
    if (parameter === undefined) {
      const takes = macro.parameters.length;
      throw cursor.error(
        `macro \`${macro.name}\` takes ${takes} argument${takes === 1 ? "" : "s"}, found more: ${cursor.found()}`,
      );
    }
    if (keyword !== undefined && bound.has(keyword.name))
      throw cursor.error(`argument \`${keyword.name}\` is given twice`);
    const value = parameter.kind === "vararg" ? cursor.rest() : argument(cursor);
    bound.set(parameter.name, value);
    if (keyword === undefined) position++;
    cursor.eat(",");
  }
  for (const parameter of macro.parameters) {
    if ((bound.get(parameter.name) ?? "") !== "") continue;
    if (parameter.kind === "required")
      throw errorAt(statement, `macro \`${macro.name}\` needs its argument \`${parameter.name}\``);
    bound.set(parameter.name, parameter.default);
  }
  return bound;
}

function keywordOf(macro: Macro, cursor: Cursor): Parameter | undefined {
  const before = cursor.at;
  const name = cursor.take(NAME);
  if (name !== undefined && cursor.eat("=") && !cursor.eat("=")) {
    const parameter = macro.parameters.find((candidate) => candidate.name === name);
    if (parameter !== undefined) return parameter;
  }
  cursor.at = before;
  return undefined;
}

/** The body with `\name` replaced, `\@` by the number of the expansion and `\()` by nothing. */
export function substitute(
  body: readonly Statement[],
  values: ReadonlyMap<string, string>,
  count: number,
  expansion: Expansion,
): Statement[] {
  return body.flatMap((statement) => {
    const text = statement.text.replace(/\\(@|\(\)|[A-Za-z_.$][\w.$]*)/g, (whole, what: string) => {
      if (what === "@") return String(count);
      return what === "()" ? "" : (values.get(what) ?? whole);
    });
    const exact = statement.exact && text === statement.text;
    return statementsOfLine(text, { ...statement, exact, expansion });
  });
}
