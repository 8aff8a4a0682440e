// Wrong input: every kind of error, with its place and what was expected.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDiagnostic, InputError } from "../diagnostic.js";
import type { Mode } from "../isa/insn.js";
import { assemble } from "./assemble.js";

/** The diagnostic of a source, or "no error". */
function diagnose(text: string, mode: Mode = 64): string {
  try {
    assemble([{ file: "e.S", text }], { mode });
  } catch (error) {
    if (error instanceof InputError) return formatDiagnostic(error);
    throw error;
  }
  return "no error";
}

const CASES: readonly (readonly [name: string, source: string, diagnostic: string])[] = [
  ["unknown instruction", "nop\n  foo %rax", "e.S:2:3: error: unknown instruction `foo`"],
  ["unknown directive", "x: .foo 1", "e.S:1:4: error: unknown directive `.foo`"],
  ["unknown register", "mov %xmm0, %rax", "e.S:1:5: error: unknown register `%xmm0`"],
  ["unknown character", "nop; ,", "e.S:1:6: error: expected an instruction, a directive or a label, found `,`"],
  ["comment open", "nop\n /* never", "e.S:2:2: error: comment is not closed: expected `*/`"],
  ["string open", '.ascii "abc', 'e.S:1:8: error: string is not closed: expected `"`'],
  ["escape", '.ascii "a\\q"', "e.S:1:10: error: unknown escape `\\q` in a string"],
  [
    "preprocessor",
    "#define X 1",
    "e.S:1:1: error: the C preprocessor is not run, found `#define`: use `.set name, value` for a number or `.macro` for text",
  ],
  [
    "preprocessor include",
    "  #include <x.h>",
    "e.S:1:3: error: the C preprocessor is not run, found `#include`: give both files to the assembler",
  ],
  ["prefix number", "mov $12ab, %eax", "e.S:1:6: error: invalid number `12ab`"],
  ["octal", ".byte 089", "e.S:1:7: error: invalid number `089`: a leading 0 means octal"],
  [
    "too wide number",
    ".quad 0x10000000000000000",
    "e.S:1:7: error: number `0x10000000000000000` does not fit in 64 bits",
  ],
  ["missing operand", "mov %rax,", "e.S:1:10: error: expected an operand after `,`"],
  ["missing operand between", "mov , %rax", "e.S:1:5: error: expected an operand, found `, %rax`"],
  ["junk", "mov %rax, %rbx %rcx", "e.S:1:16: error: expected the end of the statement, found `%rcx`"],
  [
    "parenthesis",
    "mov 8(%rax, %rbx",
    "e.S:1:17: error: expected `)` to close the address, found the end of the statement",
  ],
  [
    "parenthesis expression",
    ".long (1 + 2",
    "e.S:1:13: error: expected `)` to close the parenthesis, found the end of the statement",
  ],
  ["empty expression", ".byte 1, , 2", "e.S:1:10: error: expected a number, a symbol or an expression, found `, 2`"],
  ["scale", "mov (%rax,%rbx,3), %rcx", "e.S:1:16: error: a scale must be 1, 2, 4 or 8, found 3"],
  [
    "base sizes",
    "mov (%rax,%ebx), %rcx",
    "e.S:1:6: error: base and index must be general registers of one size (16, 32 or 64 bits)",
  ],
  ["rsp index", "mov (%rax,%rsp), %rcx", "e.S:1:6: error: the stack pointer cannot be an index"],
  ["rip operand", "mov %rip, %rax", "e.S:1:5: error: the instruction pointer stands only in `symbol(%rip)`"],
  ["division", ".long 1 / 0", "e.S:1:8: error: division by zero"],
  ["late division", ".long 8 / (b - a)\na: b:", "e.S:1:7: error: expression cannot be resolved: division by zero"],
  ["byte range", ".byte 256", "e.S:1:7: error: value 256 does not fit in 1 byte"],
  ["late range", "a: .skip 300\n.byte b - a\nb:", "e.S:2:7: error: value 301 does not fit in 1 byte"],
  [
    "multiply label",
    ".quad a * 2\na:",
    "e.S:1:7: error: expression cannot be resolved: `*` needs plain numbers, and got an address",
  ],
  ["two undefined", ".quad a + b", "e.S:1:7: error: expression cannot be resolved: symbol `a` is not defined here"],
  [
    "difference",
    ".data\na: nop\n.text\n.long a - u",
    "e.S:4:7: error: difference of places in two sections, neither of them this one: symbol `u` is not defined here",
  ],
  [
    "negated",
    ".quad -a\na:",
    "e.S:1:7: error: a negated address cannot be stored: it depends on where `a` will be placed",
  ],
  [
    "far loop",
    "1: .skip 200\nloop 1b",
    "e.S:2:6: error: target is -202 bytes away: this instruction reaches -128 to 127",
  ],
  ["numeric back", "jmp 1b", "e.S:1:5: error: no label `1:` stands before `1b`"],
  ["numeric forward", "nop\njmp 1f", "e.S:2:1: error: no label `1:` follows `1f`"],
  ["twice", "a: nop\n\na: nop", "e.S:3:1: error: symbol `a` is already defined\n  note: first defined at e.S:1"],
  ["set label", "a: nop\na = 1", "e.S:2:1: error: symbol `a` is already defined\n  note: first defined at e.S:1"],
  ["equiv", "a = 1\n.equiv a, 2", "e.S:2:1: error: symbol `a` is already defined\n  note: first defined at e.S:1"],
  [
    "if forward",
    ".if b - a\n.endif\na: b:",
    "e.S:1:5: error: the condition must be a constant that is known here: no symbol that comes later, no distance over a jump or alignment",
  ],
  [
    "if over jump",
    "a: jmp c\nb: .if b - a\n.endif\nc:",
    "e.S:2:8: error: the condition must be a constant that is known here: no symbol that comes later, no distance over a jump or alignment",
  ],
  ["if open", "nop\n.if 1\nnop", "e.S:2:1: error: `.if` without `.endif`"],
  [
    "if open in macro",
    ".macro m\n.if 1\n.endm\nm",
    "e.S:2:1: error: `.if` without `.endif`\n  note: in macro `m`, expanded at e.S:4",
  ],
  ["else", ".else", "e.S:1:1: error: `.else` without `.if`"],
  ["endif", ".endif", "e.S:1:1: error: `.endif` without `.if`"],
  [
    "endif in macro",
    ".macro m\n.endif\n.endm\n.if 1\nm\n.endif",
    "e.S:2:1: error: `.endif` without `.if`\n  note: in macro `m`, expanded at e.S:5",
  ],
  ["second else", ".if 1\n.else\n.else\n.endif", "e.S:3:1: error: second `.else` for one `.if`"],
  ["elseif", ".if 1\n.else\n.elseif 1\n.endif", "e.S:3:1: error: `.elseif` after `.else`"],
  ["ifc", ".ifc abc", "e.S:1:9: error: expected two texts with a comma between them"],
  ["macro open", "nop\n.macro m\nnop", "e.S:2:1: error: `.macro` without `.endm`"],
  ["endm", ".endm", "e.S:1:1: error: `.endm` without `.macro`"],
  ["rept open", ".rept 2\nnop", "e.S:1:1: error: `.rept` without `.endr`"],
  [
    "rept count",
    ".rept x\n.endr",
    "e.S:1:7: error: the count must be a constant that is known here: no symbol that comes later, no distance over a jump or alignment",
  ],
  ["rept huge", ".rept 99999999\n.endr", "e.S:1:7: error: the count must be 0 to 1000000, found 99999999"],
  [
    "macro twice",
    ".macro m\n.endm\n.macro m\n.endm",
    "e.S:3:1: error: macro `m` is already defined; `.purgem` forgets it",
  ],
  ["param twice", ".macro m a, a\n.endm", "e.S:1:14: error: parameter `a` stands twice"],
  ["param kind", ".macro m a:some\n.endm", "e.S:1:16: error: expected `req` or `vararg` after `:`, found `some`"],
  ["vararg last", ".macro m a:vararg, b\n.endm", "e.S:1:20: error: a `:vararg` parameter must be the last one"],
  ["required", ".macro m a:req\n.endm\nm", "e.S:3:1: error: macro `m` needs its argument `a`"],
  ["too many", ".macro m a\n.endm\nm 1, 2", "e.S:3:1: error: macro `m` takes 1 argument, found more: `2`"],
  ["keyword twice", ".macro m a\n.endm\nm a=1, a=2", "e.S:3:1: error: argument `a` is given twice"],
  ["purge", ".purgem m", "e.S:1:10: error: there is no macro `m` to forget"],
  ["exitm", ".exitm", "e.S:1:1: error: `.exitm` outside of a macro"],
  [
    "recursion",
    ".macro m\nm\n.endm\nm",
    "e.S:2:1: error: macro `m` nests deeper than 100 expansions: does it call itself without an end?\n  note: in macro `m`, expanded at e.S:2\n  note: in macro `m`, expanded at e.S:4",
  ],
  [
    "in macro",
    ".macro inner r\n  push %\\r\n.endm\n.macro outer\ninner foo\n.endm\n\nouter",
    "e.S:2:3: error: unknown register `%foo`\n  note: in macro `inner`, expanded at e.S:5\n  note: in macro `outer`, expanded at e.S:8",
  ],
  [
    "in irp",
    ".irp r, rax, zork\npush %\\r\n.endr",
    "e.S:2:1: error: unknown register `%zork`\n  note: in `.irp`, expanded at e.S:1",
  ],
  ["org back", ".skip 8\n.org 4", "e.S:2:1: error: `.org` goes backwards: to 4, and the section is at 8 already"],
  ["org other", ".data\na:\n.text\n.org a", "e.S:4:1: error: `.org` must name a place in its own section"],
  [
    "self",
    ".skip b - a\na: .skip (b - a) + 1\nb:",
    "e.S:1:1: error: the addresses in section `.text` never settle: a size depends on itself",
  ],
  ["negative skip", ".skip -1", "e.S:1:7: error: the size must not be negative, found -1"],
  ["huge skip", ".skip 1 << 40", "e.S:1:7: error: 1099511627776 is more than a section may hold (64 MiB)"],
  [
    "huge fill",
    "x: .fill 1000000, 8, 1\n.rept 9\n.fill 1000000, 8, 1\n.endr",
    "e.S:3:1: error: section `.text` grows beyond 64 MiB\n  note: in `.rept`, expanded at e.S:2",
  ],
  ["late huge skip", ".skip (b - a) << 30\na: nop\nb:", "e.S:1:1: error: section `.text` grows beyond 64 MiB"],
  ["align", ".align 3", "e.S:1:8: error: the alignment must be a power of two, found 3"],
  ["p2align", ".p2align 40", "e.S:1:10: error: the alignment must be 0 to 20, found 40"],
  ["bss data", ".bss\n.byte 1", "e.S:2:1: error: section `.bss` holds no bytes: only zeros may stand in it"],
  ["bss code", ".bss\nnop", "e.S:2:1: error: section `.bss` holds no bytes: no code may stand in it"],
  ["flags", '.section foo, "ax"\n.section foo, "a"', "e.S:2:1: error: section `foo` was begun with other flags"],
  ["flag letter", '.section foo, "aq"', 'e.S:1:15: error: unknown section flag `q`: expected letters of "awxMSTGRoe"'],
  [
    "flag type",
    '.section foo, "a", @what',
    "e.S:1:20: error: expected a section type: `@progbits`, `@nobits` or `@note`",
  ],
  ["subsection", ".text 1", "e.S:1:7: error: subsections are not supported, found `1`"],
  ["pop", ".popsection", "e.S:1:1: error: `.popsection` without `.pushsection`"],
  ["previous", ".previous", "e.S:1:1: error: `.previous` without an earlier section"],
  ["size", ".size a, b - a\na:", "e.S:1:1: error: `.size` is not a number: symbol `b` is not defined here"],
  ["type", ".type a, @thing", "e.S:1:10: error: expected a type such as `@function`, found `@thing`"],
  [
    "intel",
    ".intel_syntax noprefix",
    "e.S:1:1: error: Intel syntax is not supported: write AT&T syntax (`mov %source, %destination`), or assemble with GNU as and give the object",
  ],
  ["include", '.include "x.S"', "e.S:1:1: error: `.include` is not supported: give both files to the assembler"],
  ["code16", ".code16", "e.S:1:1: error: 16-bit code is not supported"],
  ["error", '.error "give up"', "e.S:1:1: error: give up"],
  ["error bare", ".if 1\n.error\n.endif", "e.S:2:1: error: `.error` was reached"],
  [
    "plt",
    "mov x@GOTPCREL(%rip), %rax",
    "e.S:1:6: error: relocation operator `@GOTPCREL` is not supported: name the symbol itself",
  ],
  [
    "export undefined alias",
    ".set a, b\n.globl a",
    "e.S:1:1: error: symbol `a` cannot be exported: symbol `b` is not defined here",
  ],
  [
    "circular",
    "a = b\nb = a\n.long a",
    "e.S:3:7: error: expression cannot be resolved: a symbol is set to an expression of itself, or to one that grows too large",
  ],
  [
    "scale forward",
    "mov (%rax,%rbx,s), %rcx\ns = 8",
    "e.S:1:16: error: a scale must be a constant that is known here: no symbol that comes later, no distance over a jump or alignment",
  ],
  ["operand kind", "push %cr0", "e.S:1:1: error: no form of `push` takes these operands"],
  ["ifdef", ".ifdef\n.endif", "e.S:1:7: error: expected a symbol, found the end of the statement"],
];

describe("errors", () => {
  it.each(CASES)("%s", (_, text, expected) => {
    expect(diagnose(text)).toBe(expected);
  });

  it("bounds how deep an expression nests", () => {
    expect(diagnose(`.long ${"(".repeat(300)}1${")".repeat(300)}`)).toContain("expression nests deeper than 200");
  });

  it("bounds what a chain of assignments builds", () => {
    const doubling = Array.from({ length: 60 }, (_, at) => `v${at} = v${at + 1} + v${at + 1}`).join("\n");
    expect(diagnose(`${doubling}\n.long v0`)).toContain("error: ");
  });

  it.each([
    [".code64", "64-bit code needs a 64-bit object"],
    [".quad a\na:", "an 8-byte address needs a 64-bit object: use `.long`"],
    ["mov a(%rip), %eax", "addresses relative to the instruction pointer need 64-bit code"],
  ])("32-bit: %s", (text, expected) => {
    expect(diagnose(text, 32)).toContain(expected);
  });
});

describe("damaged sources", () => {
  const folder = join(import.meta.dirname, "fixtures");
  const texts = readdirSync(folder)
    .filter((name) => name.endsWith(".S"))
    .map((name) => readFileSync(join(folder, name), "utf8"));

  it("end in a module or an InputError, never in anything else", () => {
    const damage = fc.record({
      source: fc.constantFrom(...texts),
      cuts: fc.array(
        fc.tuple(
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.nat(12),
          fc.constantFrom("", "(", ")", "\\", '"', "'", "$", "%", ",", "-", "1", ":", "\n", "=", "*", ";", "/*"),
        ),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
    });
    fc.assert(
      fc.property(damage, ({ source, cuts }) => {
        const text = cuts.reduce((whole, [where, length, put]) => {
          const at = Math.floor(where * whole.length);
          return whole.slice(0, at) + put + whole.slice(at + length);
        }, source);
        expect(diagnose(text, source.includes(".code32\n        .macro") ? 32 : 64)).toBeTypeOf("string");
      }),
      { numRuns: Number(process.env.TRAPCHECK_DAMAGED_SOURCES ?? 300) },
    );
  });
});
