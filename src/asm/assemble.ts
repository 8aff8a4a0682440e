// The assembler: GNU (AT&T) syntax in, object module out. Labels, assignments, directives, macros, instructions.

import type { InputError } from "../diagnostic.js";
import type { ObjectModule } from "../image/module.js";
import type { Mode } from "../isa/insn.js";
import { Cursor } from "./cursor.js";
import { assignTo, type Context, condition, directive } from "./directives.js";
import { emit } from "./emit.js";
import { Input } from "./input.js";
import { assembleInstruction } from "./instruction.js";
import { Program } from "./program.js";
import { errorAt, type Statement, statementsOf } from "./source.js";

export interface SourceText {
  readonly file: string;
  readonly text: string;
  /** line number of the text's first line, where it stands inside another file; 1 */
  readonly startLine?: number;
}

export interface AssembleOptions {
  /** of the object: `as --64` or `as --32` */
  readonly mode: Mode;
  /** numbers that are defined before the first line, as `--defsym` does */
  readonly define?: ReadonlyMap<string, bigint>;
  /** hears what `.warning` says */
  readonly onWarning?: (warning: InputError) => void;
}

/**
 * Assembles sources, one after the other, into one module, with the bytes that GNU as 2.40 gives. Fields that a
 * relocation fills are zero (the addend stands in the relocation); local places are named by their section, `.L` labels
 * are dropped, `.comm` symbols stand in a section COMMON. The first error is thrown, an InputError with file, line and
 * column; inside macros its notes name the expansions.
 */
export function assemble(sources: readonly SourceText[], options: AssembleOptions): ObjectModule {
  const program = new Program(options.mode, options.define ?? new Map());
  const input = new Input(sources.map(({ file, text, startLine }) => statementsOf(text, file, startLine)));
  input.evaluateIf = (cursor) => condition(".if", cursor, program);
  const warn = (text: string, cursor: Cursor): void => options.onWarning?.(errorAt(cursor.statement, text));
  const context: Context = { program, input, warn };
  for (let statement = input.next(); statement !== undefined; statement = input.next()) {
    assembleStatement(statement, context);
  }
  return emit(program, sources[0]?.file ?? "");
}

const LABEL = /(?:[A-Za-z_.$][\w.$]*|[0-9]+)\s*:(?!:)/y;
const ASSIGNMENT = /[A-Za-z_.$][\w.$]*\s*==?/y;

function assembleStatement(statement: Statement, context: Context): void {
  const { program, input } = context;
  const cursor = new Cursor(statement);
  for (let label = cursor.take(LABEL); label !== undefined; label = cursor.take(LABEL)) {
    program.label(label.slice(0, -1).trim(), statement);
  }
  if (cursor.atEnd()) return;
  const start = cursor.at;
  const assignment = cursor.take(ASSIGNMENT);
  if (assignment !== undefined) {
    assignTo(assignment.replace(/\s*=+$/, ""), cursor, program, assignment.endsWith("=="));
    return;
  }
  const word = cursor.take(/[\w.$]+/y)?.toLowerCase() ?? "";
  const known = word.startsWith(".") ? directive(word) : undefined;
  if (known !== undefined) {
    known(cursor, context);
    return;
  }
  if (input.call(word, statement, cursor.at)) return;
  if (word.startsWith(".")) throw errorAt(statement, `unknown directive \`${word}\``, start);
  cursor.at = start;
  assembleInstruction(cursor, program);
}
