// What the module holds beside the bytes: symbols, sections, relocations, lines; and the syntax that GNU as lacks.

import { describe, expect, it } from "vitest";
import { assemble } from "./assemble.js";

const one = (text: string, mode: 32 | 64 = 64) => assemble([{ file: "a.S", text }], { mode });
const hex = (text: string, mode: 32 | 64 = 64): string =>
  Buffer.from(one(text, mode).sections[0]?.bytes ?? []).toString("hex");

describe("assemble", () => {
  it("lists symbols with their kind, and no `.L` labels", () => {
    const module = one(
      ".globl f, far\nx = 5\nf: nop\n.Lhidden: nop\ng: call far\n.weak maybe\n.quad maybe\n.comm shared, 8\nunused: ",
    );
    const shown = module.symbols.map(({ name, section, value, global, weak }) => {
      const where = typeof section === "number" ? module.sections[section]?.name : section;
      return `${name} ${where}+${value}${global ? " global" : ""}${weak ? " weak" : ""}`;
    });
    expect(shown).toEqual([
      "f .text+0 global",
      "far undefined+0 global",
      "x absolute+5",
      "g .text+2",
      "maybe undefined+0 global weak",
      "shared COMMON+0 global",
      "unused .text+15",
    ]);
  });

  it("tells where an undefined symbol is first mentioned", () => {
    const [relocation] = one("nop\ncall gone\n").relocations;
    expect(relocation).toMatchObject({
      offset: 2,
      size: 4,
      kind: "relative",
      addend: -4n,
      location: { line: 2, column: 6 },
    });
    expect(one("nop\n  call gone").symbols[0]).toMatchObject({
      section: "undefined",
      location: { file: "a.S", line: 2 },
    });
  });

  it("gives sections their ELF flags", () => {
    const module = one(
      '.data\n.bss\n.section .rodata\n.section .notes\n.section .entry, "ax"\n.section .page, "aw", @nobits\n.balign 4096\n.skip 8',
    );
    const flags = module.sections.map(
      ({ name, align, alloc, writable, executable, nobits, bytes }) =>
        `${name} ${alloc ? "a" : ""}${writable ? "w" : ""}${executable ? "x" : ""}${nobits ? " nobits" : ""} ${align} ${bytes.length}`,
    );
    expect(flags).toEqual([
      ".text ax 1 0",
      ".data aw 1 0",
      ".bss aw nobits 1 0",
      ".rodata a 1 0",
      ".notes  1 0",
      ".entry ax 1 0",
      ".page aw nobits 4096 8",
    ]);
  });

  it("keeps the line of every instruction, in macros the line of the body", () => {
    const text = ".macro two\nnop\npause\n.endm\nret\ntwo\njmp 1f\n1: ret";
    const module = assemble([{ file: "s.yaml", text, startLine: 11 }], { mode: 64 });
    expect(module.lines.map(({ offset, line }) => [offset, line])).toEqual([
      [0, 15],
      [1, 12],
      [2, 13],
      [4, 17],
      [6, 18],
    ]);
    expect(module.lines[0]?.file).toBe("s.yaml");
  });

  it("follows the line markers of a preprocessor", () => {
    expect(one('# 1 "entry.c"\nnop\n# 40 "other.h" 2\nret').lines).toMatchObject([
      { file: "entry.c", line: 1 },
      { file: "other.h", line: 40 },
    ]);
  });

  it("assembles several sources as one, with predefined numbers", () => {
    const sources = [
      { file: "a.S", text: ".ifdef WIDE\n.byte WIDE\n.endif\n.macro m\n.byte 2\n.endm" },
      { file: "b.S", text: "m\n" },
    ];
    const module = assemble(sources, { mode: 64, define: new Map([["WIDE", 1n]]) });
    expect([...(module.sections[0]?.bytes ?? [])]).toEqual([1, 2]);
  });

  it("hands on warnings", () => {
    const warnings: string[] = [];
    assemble([{ file: "a.S", text: '.warning "old"' }], {
      mode: 64,
      onWarning: (warning) => warnings.push(warning.message),
    });
    expect(warnings).toEqual(["old"]);
  });

  it("begins `.code32` and `.code64` code with its own encodings", () => {
    expect(hex(".code32\npush %eax\ninc %eax\n.code64\npush %rax")).toBe("504050");
  });

  it.each([
    ["`//` comments", "nop // a comment; ret\nret", "90c3"],
    ["comment signs in strings", '.ascii "#//;/*" # end', "232f2f3b2f2a"],
    ["comment signs as characters", ".byte '#', ';', '/' # end", "233b2f"],
    ["several labels on a line", "a: b: 1: jmp a", "ebfe"],
    ["upper case", "MOV %RAX, %RBX", "4889c3"],
    ["CRLF line ends", "nop\r\nret\r\n", "90c3"],
    ["text after `.end`", "nop\n.end\nanything goes", "90"],
    ["unbalanced block in skipped text", ".if 0\n.rept\n.macro\n.endif\nnop", "90"],
    ["negative displacement before parentheses", "mov -(4 + 4)(%rsp), %rax", "488b4424f8"],
    ["a forward distance in `.skip`", ".skip c - b, 0x11\nnop\nb: .byte 0\nc:", "119000"],
  ])("reads %s", (_, text, expected) => {
    expect(hex(text)).toBe(expected);
  });
});
