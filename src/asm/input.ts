// The stream of statements that the assembler sees: sources, expansions of macros and repetitions, conditions.

import { Cursor } from "./cursor.js";
import { argumentList, bindArguments, type Macro, parseMacroHead, substitute } from "./macro.js";
import { type Expansion, errorAt, type Statement } from "./source.js";

const MAX_NESTING = 100;
const MAX_STATEMENTS = 5_000_000;
const LABELS = /^(?:\s*(?:[A-Za-z_.$][\w.$]*|[0-9]+)\s*:(?!:))*\s*/;

interface Frame {
  readonly statements: Iterator<Statement>;
  readonly kind: "source" | "macro" | "repeat";
  readonly expansion?: Expansion | undefined;
  /** how many conditions were open when it began */
  readonly conditions: number;
}

interface Condition {
  readonly statement: Statement;
  /** statements pass */
  active: boolean;
  /** some branch was taken, or the whole stands in skipped text */
  done: boolean;
  sawElse: boolean;
}

/** The first word after the labels, lower case. */
export function keyword(statement: Statement): { word: string; end: number } {
  const labels = LABELS.exec(statement.text)?.[0].length ?? 0;
  const word = /^[\w.$]+/.exec(statement.text.slice(labels))?.[0] ?? "";
  return { word: word.toLowerCase(), end: labels + word.length };
}

export class Input {
  readonly #frames: Frame[] = [];
  readonly #conditions: Condition[] = [];
  readonly #macros = new Map<string, Macro>();
  #expansions = 0;
  #count = 0;

  constructor(sources: readonly (readonly Statement[])[]) {
    for (const statements of [...sources].reverse()) {
      this.#frames.push({ statements: statements[Symbol.iterator](), kind: "source", conditions: 0 });
    }
  }

  /** The next statement that no condition skips; undefined at the end. */
  next(): Statement | undefined {
    for (;;) {
      const statement = this.#pull();
      if (statement === undefined) return undefined;
      if (this.#conditions.at(-1)?.active ?? true) return statement;
      this.#skipped(statement);
    }
  }

  #pull(): Statement | undefined {
    for (;;) {
      const frame = this.#frames.at(-1);
      if (frame === undefined) {
        this.#requireClosed(0);
        return undefined;
      }
      const step = frame.statements.next();
      if (!step.done) {
        if (++this.#count > MAX_STATEMENTS) {
          throw errorAt(step.value, `more than ${MAX_STATEMENTS} statements: does a macro or a repetition ever end?`);
        }
        return step.value;
      }
      this.#requireClosed(frame.conditions);
      this.#frames.pop();
    }
  }

  #requireClosed(depth: number): void {
    const open = this.#conditions[depth];
    if (open !== undefined) throw errorAt(open.statement, "`.if` without `.endif`");
  }

  /** In skipped text only conditions count. */
  #skipped(statement: Statement): void {
    const { word, end } = keyword(statement);
    if (/^\.if/.test(word)) this.#conditions.push({ statement, active: false, done: true, sawElse: false });
    else if (word === ".else" || word === ".endif") this.#branch(statement, word);
    else if (word === ".elseif") this.pendingElseif(statement, end);
  }

  /** Evaluates the condition of an `.elseif`; set by the assembler, which has the symbols. */
  evaluateIf: (cursor: Cursor) => boolean = () => false;

  pendingElseif(statement: Statement, end: number): void {
    const condition = this.#innermost(statement, ".elseif");
    if (condition.sawElse) throw errorAt(statement, "`.elseif` after `.else`");
    condition.active = false;
    if (condition.done) return;
    condition.active = condition.done = this.evaluateIf(new Cursor(statement, end));
  }

  #branch(statement: Statement, word: ".else" | ".endif"): void {
    const condition = this.#innermost(statement, word);
    if (word === ".endif") {
      this.#conditions.pop();
      return;
    }
    if (condition.sawElse) throw errorAt(statement, "second `.else` for one `.if`");
    condition.sawElse = true;
    condition.active = !condition.done;
    condition.done = true;
  }

  #innermost(statement: Statement, word: string): Condition {
    const condition = this.#conditions.at(-1);
    if (condition === undefined || this.#conditions.length <= (this.#frames.at(-1)?.conditions ?? 0)) {
      throw errorAt(statement, `\`${word}\` without \`.if\``);
    }
    return condition;
  }

  beginIf(statement: Statement, taken: boolean): void {
    this.#conditions.push({ statement, active: taken, done: taken, sawElse: false });
  }

  elseOrEndif(statement: Statement, word: ".else" | ".endif"): void {
    this.#branch(statement, word);
  }

  /** Statements up to the line that ends the block, which is taken too. */
  #block(start: Statement, opens: RegExp, ends: RegExp, name: string): Statement[] {
    const body: Statement[] = [];
    const frame = this.#frames.at(-1);
    for (let depth = 1; ; ) {
      const step = frame?.statements.next();
      if (step === undefined || step.done) throw errorAt(start, `\`${keyword(start).word}\` without \`${name}\``);
      const { word } = keyword(step.value);
      if (opens.test(word)) depth++;
      else if (ends.test(word) && --depth === 0) return body;
      body.push(step.value);
    }
  }

  defineMacro(cursor: Cursor): void {
    const head = parseMacroHead(cursor);
    const body = this.#block(cursor.statement, /^\.macro$/, /^\.endm(acro)?$/, ".endm");
    const key = head.name.toLowerCase();
    if (this.#macros.has(key))
      throw errorAt(cursor.statement, `macro \`${head.name}\` is already defined; \`.purgem\` forgets it`);
    this.#macros.set(key, { ...head, body });
  }

  purgeMacro(name: string, cursor: Cursor): void {
    if (!this.#macros.delete(name.toLowerCase())) throw cursor.error(`there is no macro \`${name}\` to forget`);
  }

  /** Expands a macro of this name, if there is one. `end` is where its arguments begin. */
  call(word: string, statement: Statement, end: number): boolean {
    const macro = this.#macros.get(word);
    if (macro === undefined) return false;
    const values = bindArguments(macro, statement, end);
    const expansion = { what: `macro \`${macro.name}\``, statement };
    this.#enter("macro", expansion, substitute(macro.body, values, this.#expansions++, expansion)[Symbol.iterator]());
    return true;
  }

  repeat(statement: Statement, count: number): void {
    const body = this.#repeated(statement);
    const expansion = { what: "`.rept`", statement };
    const copies = function* (): Generator<Statement> {
      for (let copy = 0; copy < count; copy++) for (const line of body) yield { ...line, expansion };
    };
    this.#enter("repeat", expansion, copies());
  }

  /** `.irp name, values` and `.irpc name, characters`, the cursor after the directive. */
  repeatFor(cursor: Cursor, characters: boolean): void {
    const { statement } = cursor;
    const name = cursor.name("a name");
    cursor.eat(",");
    const list = argumentList(statement, cursor.at);
    const values = characters ? [...list.join("")] : list;
    const body = this.#repeated(statement);
    const expansion = { what: characters ? "`.irpc`" : "`.irp`", statement };
    const count = this.#expansions;
    const copies = function* (): Generator<Statement> {
      for (const value of values.length === 0 ? [""] : values)
        yield* substitute(body, new Map([[name, value]]), count, expansion);
    };
    this.#enter("repeat", expansion, copies());
  }

  #repeated(statement: Statement): Statement[] {
    return this.#block(statement, /^\.(rept|irp|irpc)$/, /^\.endr$/, ".endr");
  }

  #enter(kind: "macro" | "repeat", expansion: Expansion, statements: Iterator<Statement>): void {
    if (this.#frames.length > MAX_NESTING) {
      throw errorAt(
        expansion.statement,
        `${expansion.what} nests deeper than ${MAX_NESTING} expansions: does it call itself without an end?`,
      );
    }
    this.#frames.push({ statements, kind, expansion, conditions: this.#conditions.length });
  }

  /** `.exitm`: leaves the innermost macro or repetition. */
  exit(statement: Statement): void {
    const frame = this.#frames.at(-1);
    if (frame === undefined || frame.kind === "source") throw errorAt(statement, "`.exitm` outside of a macro");
    this.#frames.pop();
    this.#conditions.length = frame.conditions;
  }

  /** `.end`: nothing after it counts. */
  stop(): void {
    this.#frames.length = 0;
    this.#conditions.length = 0;
  }
}
