// All directives by name. What only matters to a debugger or a dynamic linker is accepted and ignored; what would change
// the meaning of the source and is not supported says so.

import { Cursor } from "./cursor.js";
import * as data from "./data.js";
import type { Input } from "./input.js";
import { squeeze } from "./macro.js";
import { isDefined, type Program } from "./program.js";
import type { SectionBuilder, SectionFlags } from "./section.js";
import { errorAt } from "./source.js";

export interface Context {
  readonly program: Program;
  readonly input: Input;
  readonly warn: (text: string, cursor: Cursor) => void;
}

type Directive = (cursor: Cursor, context: Context) => void;

const MAX_REPEAT = 1_000_000;
const ignore: Directive = (cursor) => void cursor.rest();
const refuse =
  (text: string): Directive =>
  (cursor) => {
    throw errorAt(cursor.statement, text);
  };

/** The directive of that name, with its dot, lower case. */
export function directive(word: string): Directive | undefined {
  return word.startsWith(".cfi_") ? ignore : DIRECTIVES.get(word);
}

/** Evaluates the condition of an `.if` or `.elseif` that stands at the cursor. */
export function condition(word: string, cursor: Cursor, program: Program): boolean {
  const test = CONDITIONS.get(word);
  if (test === undefined) throw cursor.error(`unknown directive \`${word}\``, 0);
  return test(cursor, program);
}

const compared =
  (holds: (value: bigint) => boolean) =>
  (cursor: Cursor, program: Program): boolean => {
    const value = program.known(cursor, "the condition");
    cursor.expectEnd();
    return holds(value);
  };

const definedName = (cursor: Cursor, program: Program): boolean => {
  const name = cursor.name("a symbol");
  cursor.expectEnd();
  const symbol = program.symbols.get(name);
  return symbol !== undefined && isDefined(symbol);
};

const sameText = (cursor: Cursor): boolean => {
  const text = squeeze(cursor.rest());
  const comma = text.replace(/"[^"]*"|'[^']*'/g, (quoted) => "_".repeat(quoted.length)).indexOf(",");
  if (comma < 0) throw cursor.error("expected two texts with a comma between them");
  return text.slice(0, comma).trim() === text.slice(comma + 1).trim();
};

const sameString = (cursor: Cursor): boolean => {
  const left = cursor.string();
  cursor.expect(",", "between the two strings");
  const right = cursor.string();
  cursor.expectEnd();
  return left.join() === right.join();
};

const CONDITIONS: ReadonlyMap<string, (cursor: Cursor, program: Program) => boolean> = new Map([
  [".if", compared((value) => value !== 0n)],
  [".ifne", compared((value) => value !== 0n)],
  [".ifeq", compared((value) => value === 0n)],
  [".iflt", compared((value) => value < 0n)],
  [".ifle", compared((value) => value <= 0n)],
  [".ifgt", compared((value) => value > 0n)],
  [".ifge", compared((value) => value >= 0n)],
  [".ifdef", definedName],
  [".ifndef", (cursor, program) => !definedName(cursor, program)],
  [".ifnotdef", (cursor, program) => !definedName(cursor, program)],
  [".ifb", (cursor) => cursor.rest() === ""],
  [".ifnb", (cursor) => cursor.rest() !== ""],
  [".ifc", sameText],
  [".ifnc", (cursor) => !sameText(cursor)],
  [".ifeqs", sameString],
  [".ifnes", (cursor) => !sameString(cursor)],
]);

function names(cursor: Cursor, use: (name: string) => void): void {
  do use(cursor.name("a symbol"));
  while (cursor.eat(","));
  cursor.expectEnd();
}

const binding =
  (to: "local" | "global" | "weak"): Directive =>
  (cursor, { program }) =>
    names(cursor, (name) => {
      const symbol = program.symbol(name);
      // weak wins over global, in either order
      if (!(to === "global" && symbol.binding === "weak")) symbol.binding = to;
    });

const plainSection =
  (name: string): Directive =>
  (cursor, { program }) => {
    if (!cursor.atEnd()) throw cursor.error(`subsections are not supported, found ${cursor.found()}`);
    program.enter(program.sectionNamed(name, undefined, cursor.statement));
  };

const FLAG_LETTERS = "awxMSTGRoe";

/** `name, "flags", @type, entry size`; what concerns merging and groups is left to linkers that do it. */
function sectionOf(cursor: Cursor, program: Program): SectionBuilder {
  const name = cursor.peek() === '"' ? new TextDecoder().decode(cursor.string()) : cursor.take(/[\w.$\-+]+/y);
  if (name === undefined || name === "") throw cursor.error(`expected a section name, found ${cursor.found()}`);
  let flags: SectionFlags | undefined;
  if (cursor.eat(",")) {
    if (cursor.peek() !== '"')
      throw cursor.error(
        `expected flags in quotes such as "ax", found ${cursor.found()} (subsections are not supported)`,
      );
    const at = cursor.at;
    const letters = new TextDecoder().decode(cursor.string());
    const unknown = [...letters].find((letter) => !FLAG_LETTERS.includes(letter));
    if (unknown !== undefined)
      throw cursor.error(`unknown section flag \`${unknown}\`: expected letters of "${FLAG_LETTERS}"`, at);
    let type = "progbits";
    if (cursor.eat(",")) {
      const typeAt = cursor.mark();
      type = cursor.take(/[@%][a-z_0-9]+/y)?.slice(1) ?? "";
      if (!/^(progbits|nobits|note|init_array|fini_array|preinit_array|unwind)$/.test(type)) {
        throw cursor.error("expected a section type: `@progbits`, `@nobits` or `@note`", typeAt);
      }
      cursor.rest();
    }
    flags = {
      alloc: letters.includes("a"),
      writable: letters.includes("w"),
      executable: letters.includes("x"),
      nobits: type === "nobits",
    };
  }
  cursor.expectEnd();
  return program.sectionNamed(name, flags, cursor.statement);
}

/** `name, expression`; `.equiv` refuses a name that has a value. */
const assign =
  (fresh: boolean): Directive =>
  (cursor, { program }) => {
    const name = cursor.name("a symbol");
    cursor.expect(",", "after the symbol");
    assignTo(name, cursor, program, fresh);
  };

/** `name = expression`, the cursor after the equals sign. */
export function assignTo(name: string, cursor: Cursor, program: Program, fresh: boolean): void {
  if (name === ".") {
    data.org(cursor, program);
    return;
  }
  const value = program.expression(cursor);
  cursor.expectEnd();
  if (fresh) program.requireNew(program.symbol(name), cursor.statement);
  program.assign(name, value, cursor.statement);
}

const common: Directive = (cursor, { program }) => {
  const symbol = program.symbol(cursor.name("a symbol"));
  cursor.expect(",", "after the symbol");
  const size = program.knownWithin(cursor, "the size", 0, 1 << 26);
  const align = cursor.eat(",") ? program.knownWithin(cursor, "the alignment", 1, 1 << 20) : commonAlign(size);
  cursor.expectEnd();
  if ((align & (align - 1)) !== 0)
    throw errorAt(cursor.statement, `the alignment must be a power of two, found ${align}`);
  program.requireNew(symbol, cursor.statement);
  symbol.common = { size, align };
  symbol.statement = cursor.statement;
  if (symbol.binding === "local") symbol.binding = "global";
};

const localCommon: Directive = (cursor, context) => {
  const { program } = context;
  const name = cursor.name("a symbol");
  cursor.expect(",", "after the symbol");
  const size = program.knownWithin(cursor, "the size", 0, 1 << 26);
  const align = cursor.eat(",") ? program.knownWithin(cursor, "the alignment", 1, 1 << 20) : commonAlign(size);
  cursor.expectEnd();
  program.push(program.sectionNamed(".bss", undefined, cursor.statement));
  data.align(new Cursor({ ...cursor.statement, text: String(align) }), program, false);
  program.label(name, cursor.statement);
  program.section.fixed(size, Uint8Array.of(0), cursor.statement);
  program.pop(cursor.statement);
};

/** Without an alignment: the size rounded down to a power of two, at most 16. */
function commonAlign(size: number): number {
  let align = 1;
  while (align * 2 <= size && align < 16) align *= 2;
  return align;
}

const message = (cursor: Cursor, otherwise: string): string =>
  cursor.atEnd() ? otherwise : new TextDecoder().decode(cursor.string());

const DIRECTIVES: ReadonlyMap<string, Directive> = new Map<string, Directive>([
  ...[".byte", ".dc.b"].map((name): [string, Directive] => [
    name,
    (cursor, { program }) => data.numbers(cursor, program, 1),
  ]),
  ...[".short", ".word", ".value", ".hword", ".2byte"].map((name): [string, Directive] => [
    name,
    (cursor, { program }) => data.numbers(cursor, program, 2),
  ]),
  ...[".long", ".int", ".4byte"].map((name): [string, Directive] => [
    name,
    (cursor, { program }) => data.numbers(cursor, program, 4),
  ]),
  ...[".quad", ".8byte"].map((name): [string, Directive] => [
    name,
    (cursor, { program }) => data.numbers(cursor, program, 8),
  ]),
  [".octa", (cursor, { program }) => data.octa(cursor, program)],
  [".ascii", (cursor, { program }) => data.strings(cursor, program, false)],
  [".asciz", (cursor, { program }) => data.strings(cursor, program, true)],
  [".string", (cursor, { program }) => data.strings(cursor, program, true)],
  ...[".zero", ".skip", ".space"].map((name): [string, Directive] => [
    name,
    (cursor, { program }) => data.skip(cursor, program),
  ]),
  [".fill", (cursor, { program }) => data.fill(cursor, program)],
  [".org", (cursor, { program }) => data.org(cursor, program)],
  [".align", (cursor, { program }) => data.align(cursor, program, false)],
  [".balign", (cursor, { program }) => data.align(cursor, program, false)],
  [".p2align", (cursor, { program }) => data.align(cursor, program, true)],
  [".set", assign(false)],
  [".equ", assign(false)],
  [".equiv", assign(true)],
  [".comm", common],
  [".lcomm", localCommon],
  [".globl", binding("global")],
  [".global", binding("global")],
  [".local", binding("local")],
  [".weak", binding("weak")],
  [".hidden", (cursor) => names(cursor, () => undefined)],
  [".internal", (cursor) => names(cursor, () => undefined)],
  [".protected", (cursor) => names(cursor, () => undefined)],
  [
    ".type",
    (cursor) => {
      cursor.name("a symbol");
      cursor.eat(",");
      if (
        cursor.take(
          /[@%]?(function|object|notype|tls_object|common|gnu_unique_object|gnu_indirect_function)\b|STT_[A-Z_]+|"[a-z_]+"/y,
        ) === undefined
      ) {
        throw cursor.error(`expected a type such as \`@function\`, found ${cursor.found()}`);
      }
      cursor.expectEnd();
    },
  ],
  [
    ".size",
    (cursor, { program }) => {
      cursor.name("a symbol");
      cursor.expect(",", "after the symbol");
      const expression = program.expression(cursor);
      cursor.expectEnd();
      program.sizes.push({ expression, statement: cursor.statement });
    },
  ],
  [".text", plainSection(".text")],
  [".data", plainSection(".data")],
  [".bss", plainSection(".bss")],
  [".section", (cursor, { program }) => program.enter(sectionOf(cursor, program))],
  [".pushsection", (cursor, { program }) => program.push(sectionOf(cursor, program))],
  [".popsection", (cursor, { program }) => program.pop(cursor.statement)],
  [".previous", (cursor, { program }) => program.previous(cursor.statement)],
  [".code32", (_, { program }) => program.setMode(32)],
  [
    ".code64",
    (cursor, { program }) => {
      if (program.objectMode === 32) throw errorAt(cursor.statement, "64-bit code needs a 64-bit object");
      program.setMode(64);
    },
  ],
  [".macro", (cursor, { input }) => input.defineMacro(cursor)],
  [".purgem", (cursor, { input }) => names(cursor, (name) => input.purgeMacro(name, cursor))],
  [".exitm", (cursor, { input }) => input.exit(cursor.statement)],
  [
    ".rept",
    (cursor, { input, program }) => {
      const count = program.knownWithin(cursor, "the count", 0, MAX_REPEAT);
      cursor.expectEnd();
      input.repeat(cursor.statement, count);
    },
  ],
  [".irp", (cursor, { input }) => input.repeatFor(cursor, false)],
  [".irpc", (cursor, { input }) => input.repeatFor(cursor, true)],
  ...[...CONDITIONS.keys()].map((name): [string, Directive] => [
    name,
    (cursor, { input, program }) => {
      input.beginIf(cursor.statement, condition(name, cursor, program));
    },
  ]),
  [".elseif", (cursor, { input }) => input.pendingElseif(cursor.statement, cursor.at)],
  [".else", (cursor, { input }) => input.elseOrEndif(cursor.statement, ".else")],
  [".endif", (cursor, { input }) => input.elseOrEndif(cursor.statement, ".endif")],
  [".end", (_, { input }) => input.stop()],
  [
    ".error",
    (cursor) => {
      throw errorAt(cursor.statement, message(cursor, "`.error` was reached"));
    },
  ],
  [".err", refuse("`.err` was reached")],
  [".warning", (cursor, { warn }) => warn(message(cursor, "`.warning` was reached"), cursor)],
  ...[".file", ".loc", ".ident", ".att_syntax", ".version"].map((name): [string, Directive] => [name, ignore]),
  [".endm", refuse("`.endm` without `.macro`")],
  [".endr", refuse("`.endr` without `.rept`, `.irp` or `.irpc`")],
  [
    ".intel_syntax",
    refuse(
      "Intel syntax is not supported: write AT&T syntax (`mov %source, %destination`), or assemble with GNU as and give the object",
    ),
  ],
  [".include", refuse("`.include` is not supported: give both files to the assembler")],
  [".incbin", refuse("`.incbin` is not supported")],
  [".altmacro", refuse("`.altmacro` is not supported: use `\\@` for labels and `\\name` for arguments")],
  [".subsection", refuse("subsections are not supported")],
  [".code16", refuse("16-bit code is not supported")],
]);
