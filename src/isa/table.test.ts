import { describe, expect, it } from "vitest";
import { Op } from "../engine/abi.js";
import { decode, decodeRow } from "./decode.js";
import { encode } from "./encode.js";
import type { AsmOperand, Insn, Mode, Operand } from "./insn.js";
import { spellings } from "./spelling.js";
import { ROWS, supported } from "./table.js";

const fromHex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function insnOf(text: string, mode: Mode): Insn {
  const result = decode(fromHex(text), mode);
  if (!result.ok) throw new Error(`${text}: ${result.reason}`);
  return result.insn;
}

describe("the table", () => {
  it("has a row for every operation of the engine", () => {
    const missing = Object.values(Op).filter(
      (op) => typeof op === "number" && op !== Op.UNSUPPORTED && op !== Op.COUNT && !ROWS.some((row) => row.op === op),
    );
    expect(missing.map((op) => Op[op as Op])).toEqual([]);
  });

  it("gives every row of the decoder a spelling in the assembler", () => {
    const silent = ROWS.filter(
      (row) => row.op !== Op.UNSUPPORTED && spellings((row.attNames[0] ?? "").replace("cc", "e")).length === 0,
    );
    expect(silent.map((row) => row.opcodeText)).toEqual([]);
  });

  it("documents itself", () => {
    const rows = supported();
    expect(rows).toContainEqual({
      mnemonic: "iretd",
      names: ["iret", "iretd", "iretq"],
      opcode: "CF",
      operands: [],
      modes: [32, 64],
      lock: false,
    });
    expect(rows.find(({ opcode }) => opcode === "60")?.modes).toEqual([32]);
    expect(rows.every(({ mnemonic }) => mnemonic !== "" && mnemonic !== "wbnoinvd")).toBe(true);
  });
});

describe("decode", () => {
  const failures: readonly [bytes: string, mode: Mode, reason: string, why: string][] = [
    ["", 64, "truncated", "nothing at all"],
    ["48", 64, "truncated", "only a prefix"],
    ["488b", 64, "truncated", "no ModRM"],
    ["488b05000000", 64, "truncated", "half a displacement"],
    ["81c1000000", 64, "truncated", "half an immediate"],
    ["66666666666666666666666666666690", 64, "long", "16 bytes"],
    ["f090", 64, "invalid", "LOCK NOP"],
    ["f001c8", 64, "invalid", "LOCK with a register destination"],
    ["f0390a", 64, "invalid", "LOCK CMP"],
    ["60", 64, "invalid", "PUSHA in 64-bit mode"],
    ["06", 64, "invalid", "PUSH ES in 64-bit mode"],
    ["ea00000000", 64, "invalid", "far JMP with an immediate in 64-bit mode"],
    ["ce", 64, "invalid", "INTO in 64-bit mode"],
    ["8ec8", 64, "invalid", "MOV to CS"],
    ["8ef0", 64, "invalid", "MOV to segment register 6"],
    ["0f20c8", 64, "invalid", "CR1"],
    ["440f21c0", 64, "invalid", "DR8"],
    ["8dc0", 64, "invalid", "LEA of a register"],
    ["0f01f8", 32, "invalid", "SWAPGS outside 64-bit mode"],
    ["0f01c1", 64, "unknown", "VMCALL"],
    ["0fae00", 64, "unknown", "FXSAVE"],
    ["d9c0", 64, "unknown", "x87"],
    ["0f5800", 64, "unknown", "ADDPS"],
    ["c5f877", 64, "unknown", "VEX"],
    ["c5f877", 32, "unknown", "VEX, not LDS"],
    ["37", 32, "unknown", "AAA"],
    ["f30f09", 64, "unknown", "WBNOINVD"],
  ];
  it.each(failures)("%s in %i-bit mode: %s (%s)", (bytes, mode, reason) => {
    expect(decode(fromHex(bytes), mode)).toEqual({ ok: false, reason });
  });

  // [bytes, mode, mnemonic, opSize, what the engine relies on]
  const sizes: readonly [bytes: string, mode: Mode, mnemonic: string, op: Op, opSize: number][] = [
    ["50", 64, "push", Op.PUSH, 8],
    ["6650", 64, "push", Op.PUSH, 2],
    ["50", 32, "push", Op.PUSH, 4],
    ["c3", 64, "ret", Op.RET, 8],
    ["66c3", 64, "ret", Op.RET, 8],
    ["66c3", 32, "ret", Op.RET, 2],
    ["9c", 64, "pushfq", Op.PUSHF, 8],
    ["cf", 64, "iretd", Op.IRET, 4],
    ["48cf", 64, "iretq", Op.IRET, 8],
    ["66cf", 64, "iret", Op.IRET, 2],
    ["cb", 64, "retf", Op.RETF, 4],
    ["48cb", 64, "retf", Op.RETF, 8],
    ["0f07", 64, "sysret", Op.SYSRET, 4],
    ["480f07", 64, "sysretq", Op.SYSRET, 8],
    ["0f20d8", 64, "mov", Op.MOVCR, 8],
    ["0f20d8", 32, "mov", Op.MOVCR, 4],
    ["0f0118", 64, "lidt", Op.LIDT, 8],
    ["480fc70e", 64, "cmpxchg16b", Op.CMPXCHG8B, 16],
    ["0fc70e", 64, "cmpxchg8b", Op.CMPXCHG8B, 8],
    ["f20f01ca", 64, "erets", Op.ERETS, 4],
    ["f30f01ca", 64, "eretu", Op.ERETU, 4],
    ["f20f00f0", 64, "lkgs", Op.LKGS, 4],
  ];
  it.each(sizes)("%s in %i-bit mode is %s", (bytes, mode, mnemonic, op, opSize) => {
    expect(insnOf(bytes, mode)).toMatchObject({ mnemonic, op, opSize, length: bytes.length / 2 });
  });

  it("keeps prefixes apart from the opcode", () => {
    expect(insnOf("f3a4", 64)).toMatchObject({ rep: true, repne: false });
    expect(insnOf("f2f3a4", 64)).toMatchObject({ rep: true, repne: false });
    expect(insnOf("f30fbcc1", 64)).toMatchObject({ op: Op.TZCNT, rep: false });
    expect(insnOf("66e800000000", 64)).toMatchObject({ op: Op.CALL, o16: true, opSize: 8, length: 6 });
    expect(insnOf("660f388206", 64)).toMatchObject({ op: Op.INVPCID, o16: false });
  });

  it("extends immediates as the CPU does", () => {
    expect(insnOf("4883c0ff", 64).operands[1]).toEqual({ kind: "imm", size: 8, value: -1n });
    expect(insnOf("48c7c000000080", 64).operands[1]).toEqual({ kind: "imm", size: 8, value: -0x80000000n });
    expect(insnOf("cd80", 64).operands[0]).toEqual({ kind: "imm", size: 1, value: 0x80n });
    expect(insnOf("6aff", 64).operands[0]).toEqual({ kind: "imm", size: 8, value: -1n });
    expect(insnOf("d1e0", 64).operands[1]).toEqual({ kind: "imm", size: 1, value: 1n });
  });

  it("knows which segment an access uses", () => {
    expect(insnOf("8b4500", 32).segment).toBe(2);
    expect(insnOf("8b00", 32).segment).toBe(3);
    expect(insnOf("3e8b4500", 64)).toMatchObject({ segment: 2, operands: [{}, { segment: 3 }] });
    expect(insnOf("658b00", 64).segment).toBe(5);
    expect(insnOf("65a4", 64).segment).toBe(5);
  });
});

describe("encode", () => {
  const rax = { kind: "gpr", size: 8, number: 0 } as const;
  const request = (
    mnemonic: string,
    operands: readonly AsmOperand[],
    mode: Mode = 64,
    prefixes: readonly string[] = [],
  ) => encode({ mode, mnemonic, operands, indirect: false, prefixes });

  it("says where unknown numbers stand", () => {
    const memory = { kind: "mem", base: 3, addrSize: 8, scale: 1, disp: undefined, ripRelative: false } as const;
    const result = request("movq", [memory, { kind: "imm", value: undefined }]);
    expect(result).toEqual({
      bytes: fromHex("48c7830000000000000000"),
      fields: [
        { operand: 0, part: "disp", offset: 3, size: 4, signed: true },
        { operand: 1, part: "imm", offset: 7, size: 4, signed: true },
      ],
    });
    expect(request("jmp", [{ kind: "rel", value: undefined, form: "near" }])).toMatchObject({
      fields: [{ operand: 0, part: "rel", offset: 1, size: 4, signed: true }],
    });
    expect(request("jmp", [{ kind: "rel", value: undefined, form: "short" }])).toMatchObject({
      fields: [{ operand: 0, part: "rel", offset: 1, size: 1, signed: true }],
    });
    expect(request("ljmp", [{ kind: "far", selector: undefined, offset: undefined }], 32)).toMatchObject({
      fields: [
        { part: "offset", offset: 1, size: 4 },
        { part: "selector", offset: 5, size: 2 },
      ],
    });
    expect(request("movabs", [rax, { kind: "imm", value: undefined }])).toMatchObject({
      fields: [{ offset: 2, size: 8 }],
    });
  });

  // GNU as 2.40 does not know these yet; bytes from the FRED specification
  it.each([
    ["erets", [], "f20f01ca"],
    ["eretu", [], "f30f01ca"],
    ["lkgs", [{ kind: "gpr", size: 2, number: 0 }], "f20f00f0"],
  ] as const)("writes %s", (mnemonic, operands, bytes) => {
    const result = request(mnemonic, operands);
    expect("error" in result ? result.error : toHex(result.bytes)).toBe(bytes);
  });

  const errors: readonly [mnemonic: string, operands: readonly AsmOperand[], mode: Mode, error: string][] = [
    ["frob", [], 64, "unknown instruction `frob`"],
    ["pusha", [], 64, "`pusha` does not exist in 64-bit mode"],
    ["lea", [rax, rax], 64, "no form of `lea` takes these operands"],
    ["int", [{ kind: "imm", value: 300n }], 64, "value 300 does not fit in 8 bits"],
    ["jmp", [{ kind: "rel", value: 300n, form: "short" }], 64, "displacement 300 does not fit in 8 bits"],
    [
      "inc",
      [{ kind: "mem", base: 0, addrSize: 8, scale: 1, disp: 0n, ripRelative: false }],
      64,
      "`inc` needs a size suffix here (b, w, l or q)",
    ],
  ];
  it.each(errors)("explains what is wrong with %s", (mnemonic, operands, mode, error) => {
    expect(request(mnemonic, operands, mode)).toEqual({ error });
  });
});

/** A decoded operand as the assembler would hand it over. */
function asAsm(operand: Operand, insn: Insn): AsmOperand {
  if (operand.kind === "mem") {
    const { size: _, ...rest } = operand;
    return { ...rest, addrSize: insn.addrSize as 2 | 4 | 8 };
  }
  if (operand.kind === "rel") return { ...operand, form: operand.size === 1 ? "short" : "near" };
  if (operand.kind === "far") return { ...operand, selector: BigInt(operand.selector) };
  return operand;
}

describe("decode and encode", () => {
  const SUFFIX: Readonly<Record<number, string>> = { 1: "b", 2: "w", 4: "l", 8: "q" };

  it.each([32, 64] as const)("undo each other on every row in %i-bit mode", (mode) => {
    const wrong: string[] = [];
    let done = 0;
    for (const row of ROWS) {
      if (row.op === Op.UNSUPPORTED || row.flags.has("asm")) continue;
      for (const modrm of row.hasModrm && row.fixedModrm === undefined
        ? [0x01, 0x44, 0x86, 0xc1, 0xd9]
        : [row.fixedModrm?.from ?? -1]) {
        const mandatory = row.prefix === "" || row.prefix === "NP" ? [] : [Number.parseInt(row.prefix, 16)];
        const escape_ = row.map === 0 ? [] : row.map === 1 ? [0x0f] : [0x0f, 0x38];
        const low = row.plus === "r" ? 3 : row.plus === "c" ? 5 : 0;
        const second = modrm < 0 ? [] : [row.digit === undefined ? modrm : (modrm & 0xc7) | (row.digit << 3)];
        const tail = [0x4b, 0x12, 0x34, 0x56, 0x17, 0x22, 0x33, 0x44, 0x55];
        const rex = row.rexW ? [0x48] : [];
        const bytes = [...mandatory, ...rex, ...escape_, row.opcode + low, ...second, ...tail];
        const first = decodeRow(Uint8Array.from(bytes), mode);
        if (!first.ok || first.row !== row) continue;
        const { insn } = first;
        const name = (
          row.attNames[row.attNames.length > 1 ? (insn.opSize === 2 ? 0 : insn.opSize === 8 ? 2 : 1) : 0] ?? ""
        ).replace("cc", "ne");
        const isBranch = [Op.JMP, Op.CALL, Op.JMPF, Op.CALLF].includes(row.op);
        const indirect = isBranch && insn.operands[0]?.kind !== "rel" && insn.operands[0]?.kind !== "far";
        const listed = row.op === Op.LSEG ? insn.operands.slice(0, 2) : insn.operands;
        const operands = listed.map((operand) => asAsm(operand, insn));
        const results = [name, name + (SUFFIX[insn.opSize] ?? "")].map((mnemonic) =>
          encode({ mode, mnemonic, operands, indirect, prefixes: [] }),
        );
        const encoded = results.find((result) => !("error" in result));
        const again = encoded !== undefined && !("error" in encoded) ? decode(encoded.bytes, mode) : undefined;
        const key = ({ op, opSize, addrSize, cond, operands }: Insn) =>
          JSON.stringify([op, opSize, addrSize, cond, operands], (_, value) =>
            typeof value === "bigint" ? `${value}` : value,
          );
        // hints are all one operation; which of them a reserved form comes back as does not matter
        const same = again?.ok && (row.op === Op.NOP ? again.insn.op === Op.NOP : key(again.insn) === key(insn));
        if (!same)
          wrong.push(
            `${toHex(insn.bytes)} ${name}: ${again?.ok ? toHex(again.insn.bytes) : JSON.stringify(results.at(-1))}`,
          );
        done++;
      }
    }
    expect(wrong).toEqual([]);
    expect(done).toBeGreaterThan(800);
  });
});
