// Records what the CPU of this machine does with the cases of generate.js. Run by hand, as root, on x86-64 Linux with gcc:
// `node scripts/build.js && node src/machine/hardware/record.js`. The result (integer.vectors.json) is what the test uses.
//
// A case is [mode, code, input, output]. Input: number of the register set, registers that differ from it, flags (`fl`),
// bytes of the data pages that differ from the baseline (`@offset=bytes`). Output: what differs from the input; `rip` when
// it is not the next instruction; `fault` with the vector (and the address of a page fault) when the instruction faulted.
// All numbers are hexadecimal.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Op } from "../../../dist/engine/abi.js";
import { BASELINE, CODE, DATA, DATA_SIZE, FS_BASE, GS_BASE, generate, SETS, SLOT } from "./generate.js";

const NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const INPUT_HEADER = 24 + 8 + 16 * 8 + 3 * 8;
const OUTPUT_HEADER = 16 + 16 * 8 + 4 * 8;
/** TF is the recorder's own, RF is clear after every trap */
const OWN_FLAGS = 0x1_0100n;
const TRAP_FLAG = 0x100n;

const here = dirname(fileURLToPath(import.meta.url));

function writeCases(cases) {
  const size = INPUT_HEADER + DATA_SIZE;
  const buffer = Buffer.alloc(cases.length * size);
  cases.forEach(({ mode, bytes, input, rip, repeat }, n) => {
    const at = n * size;
    buffer.set([mode, repeat ? 1 : 0, bytes.length, ...bytes], at);
    const words = [rip, ...input.gpr, BigInt(input.flags) | 0x202n, input.fsBase, input.gsBase];
    words.forEach((number, i) => {
      buffer.writeBigUInt64LE(number, at + 24 + 8 * i);
    });
    buffer.set(input.bytes, at + INPUT_HEADER);
  });
  return buffer;
}

function readResult(buffer, n) {
  const at = n * (OUTPUT_HEADER + DATA_SIZE);
  const word = (i) => buffer.readBigUInt64LE(at + 16 + 8 * i);
  return {
    signal: buffer.readUInt32LE(at),
    code: buffer.readInt32LE(at + 4),
    address: buffer.readBigUInt64LE(at + 8),
    gpr: NAMES.map((_, i) => word(i)),
    rip: word(16),
    flags: word(17),
    fsBase: word(18),
    gsBase: word(19),
    bytes: buffer.subarray(at + OUTPUT_HEADER, at + OUTPUT_HEADER + DATA_SIZE),
  };
}

const hex = (number) => number.toString(16);

/** `@offset=bytes` for each run of bytes that differ. */
function differences(before, after) {
  const runs = [];
  for (let at = 0; at < before.length; at++) {
    if (before[at] === after[at]) continue;
    let end = at + 1;
    while (end < before.length && before[end] !== after[end]) end++;
    runs.push(`@${hex(at)}=${Buffer.from(after.slice(at, end)).toString("hex")}`);
    at = end;
  }
  return runs;
}

/** The vector behind a signal of Linux. */
function fault({ signal, code, address }) {
  const SI_KERNEL = 0x80;
  if (signal === 8) return "0";
  if (signal === 4) return "6";
  if (signal === 11) return code === SI_KERNEL ? "d" : `e:${hex(address)}`;
  if (signal === 7) return code === SI_KERNEL ? "c" : "11";
  throw new Error(`signal ${signal}`);
}

function vector({ mode, bytes, input, insn, rip }, result) {
  const width = mode / 8;
  const cut = (number) => BigInt.asUintN(width * 8, number);
  const set = SETS[input.set].map(cut);
  const given = [
    hex(input.set),
    ...NAMES.flatMap((name, i) => (input.gpr[i] === set[i] ? [] : [`${name}=${hex(input.gpr[i])}`])),
    `fl=${hex(input.flags | 0x202)}`,
    ...differences(BASELINE, input.bytes),
  ];
  if (insn.op === Op.PUSHF && result.signal === 0) {
    // the pushed image shows the recorder's TF
    const at = Number(result.gpr[4] - DATA);
    result.bytes[at + 1] &= ~Number(TRAP_FLAG >> 8n);
  }
  const came = NAMES.flatMap((name, i) => {
    const now = cut(result.gpr[i]);
    return now === input.gpr[i] ? [] : [`${name}=${hex(now)}`];
  });
  if (result.signal !== 0) came.push(`fault=${fault(result)}`);
  else {
    came.push(`fl=${hex(result.flags & ~OWN_FLAGS)}`);
    if (result.rip !== rip + BigInt(bytes.length)) came.push(`rip=${hex(result.rip)}`);
    if (mode === 64 && result.fsBase !== input.fsBase) came.push(`fs=${hex(result.fsBase)}`);
    if (mode === 64 && result.gsBase !== input.gsBase) came.push(`gs=${hex(result.gsBase)}`);
  }
  came.push(...differences(input.bytes, result.bytes));
  return [mode, Buffer.from(bytes).toString("hex"), given.join(" "), came.join(" ")];
}

const folder = mkdtempSync(join(tmpdir(), "hardware-"));
try {
  const program = join(folder, "record");
  execFileSync("gcc", ["-O1", "-Wall", "-o", program, join(here, "record.c")], { stdio: "inherit" });
  const reasons = new Map();
  const cases = generate((sentence) => reasons.set(sentence, (reasons.get(sentence) ?? 0) + 1));
  for (const [sentence, times] of reasons) console.error(`left out ${times} times: ${sentence}`);
  const results = execFileSync(program, {
    input: writeCases(cases),
    maxBuffer: cases.length * (OUTPUT_HEADER + DATA_SIZE) + 1,
    stdio: ["pipe", "pipe", "inherit"],
  });
  if (results.length !== cases.length * (OUTPUT_HEADER + DATA_SIZE)) throw new Error("the recorder stopped early");
  const vectors = cases.map((one, n) => vector(one, readResult(results, n)));
  const cpu = /model name\s*:\s*(.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";
  const head = {
    cpu,
    data: hex(DATA),
    code: hex(CODE),
    slot: SLOT,
    fs: hex(FS_BASE),
    gs: hex(GS_BASE),
    sets: SETS.map((set) => set.map(hex).join(" ")),
    baseline: Buffer.from(BASELINE).toString("hex"),
  };
  const lines = vectors.map((one) => JSON.stringify(one)).join(",\n");
  writeFileSync(join(here, "integer.vectors.json"), `{"head":${JSON.stringify(head)},\n"cases":[\n${lines}\n]}\n`);
  const faults = vectors.filter(([, , , out]) => out.includes("fault=")).length;
  console.error(
    `${vectors.filter(([mode]) => mode === 64).length} + ${vectors.filter(([mode]) => mode === 32).length} cases, ${faults} faults, on ${cpu}`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
