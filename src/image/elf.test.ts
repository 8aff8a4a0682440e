// Fixtures are objects that GNU as and ld made from the texts beside them, compressed; where `as` is on the machine, the same
// texts are assembled anew as well.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { InputError } from "../diagnostic.js";
import { readElf } from "./elf.js";
import { link } from "./link.js";

const TEXT_64 = `.globl entry
entry: call ext
 movq $data, %rax
 movl $4, weakling(%rip)
 .quad entry+4
 .weak weakling
 .data
data: .quad ext, data+8
 .long small
 .bss
 .skip 16
 .comm shared, 8, 8
`;
const TEXT_32 = TEXT_64.replace("movq $data, %rax", "movl $data, %eax")
  .replace("(%rip)", "")
  .replaceAll(".quad", ".long");

const FIXTURES = {
  object64:
    "H4sIAAAAAAACA6t39XFjYmRkgAFGBjsGBA8BHJiQ2FCSk4GD4QWI6XH8AIg6zgoiWRgoBcxAiA4YoTLogA2IBbC4mAcsjglAYgpYxCVxqJcHYk" +
    "GGT/85oHwYzZCSWJLIkJpXUlTJkFpRwlCempidk5mXzlCcm5iTw1CckViUmgJ3NyRUQPjPfwiAmcONpAYE+KA0KLhBwfkDql4MKRyYsYQyI5oY" +
    "B5I4IxIf5kcuaNjBgV5xZW5JYhKQLimC0BkwVlFqTqJeCciXECbY63pJxcUMlAMFqPvY0NMblJbDmg4QQBrqbwc08QSowgSkdIIcDhJQWhspTJ" +
    "FBHJQWIWC/Gg77D0AVeiDZz4zFfkOoGLr9RWjxhct+RmhaQQcVMHdAaXYc9nNizVUMDBaMCP/hs18Qh34OqKPMCOgHADgA1/OABAAA",
  object32:
    "H4sIAAAAAAACA41SO04DMRB9kw0hkSgSiSIRRbZJBM3SUFDSkCoHoHUUiyCcFGtLkAqOxQ24AkegpkZaPLtj4bWQwkjP4/GM33zsl9vlgogQhJ" +
    "Dh1wKMGFf1eo4B+vj8rqrqje33I167ApY+DkuW5OCTXmQNvfekZTcIkntMEv9UcjNG+KqwVk5B71y5h352eNLq0Tzs7mG3yhjYjSr1uu4X6Pji" +
    "OT+PgfOS7+qUdSYz6Tb9sZ/5iYMLu986tfLalY3ehF2pTeE4ab2rCylW1uK/MpW6wkx49uPIH2Z35jHwuIkcudwjeROu90JsaQdLoDXfwDdL+H" +
    "Jq8vbkbuC7FB347pL3oUh3onOOe/U4jviGkjOL4j485n/wjZK4awr/sh33AyouAFTUAgAA",
  /** `_start: nop; jmp _start` at 0xffffffff81000000, `v: .quad _start` at 0xffffffff81200000 */
  executable:
    "H4sIAAAAAAACA+3aMU/CQBQH8H+LkDpZF2PiUiY2ZifTRSa/Q1MCiQsO9EJgUr9BR7+HX8jdxS9A8K73jivQQkycyP+3vPb1vWvvrdfXx6dRGA" +
    "RwQjxA7t43Wir5r2RbghT3ui5FD92qtouan82b6XOxE9u0i5Bo+nrmYrtuUr3PxUiyLro+IiIiIiIiIvq78nvNIRARERERERGdPzl3b2b/BQjh" +
    "z+ctcy4f26c7+U6VD/Xz3fqrlvxNSx4LZNm4KLJC5XOFbDrJVa7DywQYFquZysc6qrmNz+5KTZcKw6r2f9yh9q9CfV6x3+/hvLy+5Hyd7DPxcz" +
    "zWH8j090XSX8r9hdS59W4lXjZ8o/GR+P0de/91S/+n9A9O9P8Cpsgv4GAiAAA=",
};

const fixture = (name: keyof typeof FIXTURES): Uint8Array => gunzipSync(Buffer.from(FIXTURES[name], "base64"));
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const hasAs = spawnSync("as", ["--version"]).status === 0 && process.arch === "x64";

/** What both the fixture and a fresh object must give once linked. */
function checkObject(bytes: Uint8Array, mode: 32 | 64): void {
  const { module, kind, mode: found } = readElf("a.o", bytes);
  expect([kind, found]).toEqual(["object", mode]);
  expect(module.sections.map(({ name, writable, executable, nobits }) => [name, writable, executable, nobits])).toEqual(
    [
      [".text", false, true, false],
      [".data", true, false, false],
      [".bss", true, false, true],
      ["COMMON", true, false, true],
    ],
  );
  const base = mode === 64 ? 0xffff_ffff_8100_0000n : 0xc100_0000n;
  const placement = [[base, base + 0x1000n, base + 0x2000n, base + 0x3000n]];
  const symbols = new Map([
    ["ext", { value: base + 0x100n, what: "here" }],
    ["small", { value: 0x1234n, what: "here" }],
  ]);
  const image = link([module], placement, { mode, symbols });
  expect(image.symbols.get("entry")).toBe(base);
  expect(image.symbols.get("data")).toBe(base + 0x1000n);
  expect(image.symbols.get("shared")).toBe(base + 0x3000n);
  const [text, data] = image.sections;
  // call ext: 0x100 - 5
  expect(hex(text?.bytes.subarray(0, 5))).toBe("e8fb000000");
  if (mode === 64) {
    expect(hex(text?.bytes.subarray(5, 12))).toBe("48c7c000100081");
    expect(hex(text?.bytes.subarray(-8))).toBe("04000081ffffffff");
    expect(hex(data?.bytes)).toBe("00010081ffffffff08100081ffffffff34120000");
  } else {
    expect(hex(text?.bytes)).toBe("e8fb000000b8001000c1c7050000000004000000040000c1");
    expect(hex(data?.bytes)).toBe("000100c1081000c134120000");
  }
}

describe("ELF objects", () => {
  it("64-bit: sections, symbols, RELA", () => checkObject(fixture("object64"), 64));

  it("32-bit: sections, symbols, REL with addends in place", () => checkObject(fixture("object32"), 32));

  it.skipIf(!hasAs)("fresh from GNU as (skipped without it)", () => {
    const folder = mkdtempSync(join(tmpdir(), "trapcheck-elf-"));
    try {
      for (const [mode, text] of [
        [64, TEXT_64],
        [32, TEXT_32],
      ] as const) {
        writeFileSync(join(folder, "a.s"), text);
        execFileSync("as", [`--${mode}`, "a.s", "-o", "a.o"], { cwd: folder });
        checkObject(readFileSync(join(folder, "a.o")), mode);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("ELF executables", () => {
  it("keep their addresses", () => {
    const { module, kind } = readElf("e", fixture("executable"));
    expect(kind).toBe("executable");
    expect(module.sections.map(({ name, address }) => [name, address])).toEqual([
      [".text", 0xffff_ffff_8100_0000n],
      [".data", 0xffff_ffff_8120_0000n],
    ]);
    const image = link([module], [module.sections.map(({ address }) => address)], { mode: 64 });
    expect(image.symbols.get("v")).toBe(0xffff_ffff_8120_0000n);
    expect(hex(image.sections[0]?.bytes)).toBe("90ebfd");
  });

  it("without section headers: from the segments", () => {
    const bytes = Buffer.from(fixture("executable"));
    bytes.writeBigUInt64LE(0n, 40);
    bytes.writeUInt16LE(0, 60);
    const { module } = readElf("e", bytes);
    const text = module.sections.find(({ executable }) => executable);
    const image = link([module], [module.sections.map(({ address }) => address)], { mode: 64 });
    const offset = Number(0xffff_ffff_8100_0000n - (text?.address ?? 0n));
    expect(hex(image.sections.find(({ executable }) => executable)?.bytes.subarray(offset, offset + 3))).toBe("90ebfd");
  });
});

describe("files that are no x86 code", () => {
  const patched = (change: (bytes: Buffer) => unknown, name: keyof typeof FIXTURES = "object64") => {
    const bytes = Buffer.from(fixture(name));
    change(bytes);
    return bytes;
  };
  const rela = (bytes: Buffer) => bytes.indexOf(Buffer.from("0400000004000000", "hex"));

  it.each<[string, Uint8Array, RegExp]>([
    ["text", Buffer.from("nop\n"), /not an ELF file; expected an x86 ELF object or executable/],
    ["only the magic", Buffer.from("\x7fELF"), /truncated ELF header/],
    ["AArch64", patched((b) => b.writeUInt16LE(183, 18)), /ELF file for AArch64; expected x86-64 or i386/],
    ["ARM", patched((b) => b.writeUInt16LE(40, 18)), /for ARM/],
    ["RISC-V", patched((b) => b.writeUInt16LE(243, 18)), /for RISC-V/],
    ["unknown machine", patched((b) => b.writeUInt16LE(9999, 18)), /for machine 9999/],
    ["big-endian", patched((b) => b.writeUInt8(2, 5)), /big-endian ELF file; expected little-endian x86/],
    ["odd encoding", patched((b) => b.writeUInt8(7, 5)), /unknown ELF data encoding 7/],
    ["odd class", patched((b) => b.writeUInt8(3, 4)), /unknown ELF class 3/],
    ["x32", patched((b) => b.writeUInt8(1, 4)), /class and machine do not belong together/],
    ["shared object", patched((b) => b.writeUInt16LE(3, 16)), /shared object or position-independent executable/],
    ["core dump", patched((b) => b.writeUInt16LE(4, 16)), /a core dump; expected/],
    ["section headers outside", patched((b) => b.writeBigUInt64LE(0x10000n, 40)), /truncated: section headers/],
    ["no sections", patched((b) => b.fill(0, 40, 48).fill(0, 60, 62)), /no sections with code or data/],
    ["odd header size", patched((b) => b.writeUInt16LE(32, 58)), /section headers of 32 bytes; expected 64/],
    ["no name table", patched((b) => b.writeUInt16LE(99, 62)), /section name table 99 does not exist/],
    [
      "GOT relocation",
      patched((b) => b.writeUInt32LE(9, rela(b))),
      /R_X86_64_GOTPCREL at \.text\+0x1 is not supported/,
    ],
    ["unknown relocation", patched((b) => b.writeUInt32LE(99, rela(b))), /relocation type 99 at \.text\+0x1/],
    [
      "relocation outside",
      patched((b) => b.writeUInt32LE(999, rela(b) - 8)),
      /at \.text\+0x3e7 lies outside its section/,
    ],
    ["relocation without symbol", patched((b) => b.writeUInt32LE(77, rela(b) + 4)), /names symbol 77/],
  ])("%s", (_, bytes, message) => {
    expect(() => readElf("x.o", bytes)).toThrow(message);
    expect(() => readElf("x.o", bytes)).toThrow(InputError);
  });

  it("truncated at any length, or with any one byte changed: an InputError or a module, never another error", () => {
    for (const name of ["object64", "object32", "executable"] as const) {
      const whole = fixture(name);
      const tries = [...Array(whole.length).keys()].flatMap((at) => {
        const changed = Buffer.from(whole);
        changed[at] = (changed[at] ?? 0) ^ 0xff;
        return at % 7 === 0 || whole.length < 2000 ? [whole.subarray(0, at), changed] : [];
      });
      for (const bytes of tries) {
        try {
          readElf("x.o", bytes);
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }
    }
  });
});
