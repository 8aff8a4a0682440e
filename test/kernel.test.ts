// The decoder and the printer against objdump (binutils 2.40 or newer) on code that nobody wrote for this test: the .text of
// a kernel. The environment variable TRAPCHECK_VMLINUX names it: an uncompressed ELF, with or without symbols.

import { describe, expect, it } from "vitest";
import { spellings } from "../src/isa/spelling.js";
import { codeSize, compare, disassemble, elfMode, hasObjdump, mnemonicOf } from "./objdump.js";

const SAMPLE = 200_000;

/** What the model leaves out: x87, vectors and their state, BMI and MOVBE, virtualisation, enclaves, cache lines, entropy, counters. */
const VECTOR_OPERAND = /%(?:[txyz]?mm|st\b|k[0-7]\b)/;
const NOT_COVERED = new RegExp(
  `^(?:${[
    "f\\w+|emms|v?(?:ld|st)mxcsr|vzero\\w+|tile\\w+",
    "xsave\\w*|xbegin|xend|xabort|xtest|xrstor\\w*|x[gs]etbv|(?:rd|wr)pkru",
    "andn|bextr|bls\\w+|bzhi|pdep|pext|rorx|sarx|shlx|shrx|mulx|movbe\\w?|crc32\\w|adcx|adox",
    "vm\\w+|stgi|clgi|invlpg[ab]|invept|invvpid|encl[suv]|pvalidate|rmp\\w+|psmash|tdcall|seamcall|getsec",
    "clflush|clflushopt|clwb|wbnoinvd|monitorx?|mwaitx?|tpause|umonitor|umwait|enqcmds?|movdir\\w+",
    "rdrand|rdseed|rdpmc|rdpid",
  ].join("|")})$`,
);

/** An encoding that the table should have: it has the name, or the name is none of those that the model leaves out. */
function isGap(text: string): boolean {
  const mnemonic = mnemonicOf(text);
  return !VECTOR_OPERAND.test(text) && (spellings(mnemonic).length > 0 || !NOT_COVERED.test(mnemonic));
}

const vmlinux = process.env.TRAPCHECK_VMLINUX ?? "";
const missing = vmlinux === "" ? "TRAPCHECK_VMLINUX is not set" : hasObjdump() ? undefined : "there is no objdump";

describe("a kernel", () => {
  it.skipIf(missing !== undefined)(
    `reads like objdump reads it${missing === undefined ? "" : ` (skipped: ${missing})`}`,
    { timeout: 600_000 },
    async () => {
      const mode = elfMode(vmlinux);
      const step = codeSize(vmlinux, ".text") / SAMPLE;
      const counts = { same: 0, bad: 0, unknown: 0, different: 0 };
      const gaps: string[] = [];
      const different: string[] = [];
      let start: bigint | undefined;
      let taken = 0;
      for await (const line of disassemble(vmlinux, ".text")) {
        start ??= line.address;
        // the first instruction at or after every so many bytes
        if (Number(line.address - start) < taken * step) continue;
        taken++;
        const result = compare(line, mode);
        counts[result.kind]++;
        const shown = `${line.address.toString(16)}: ${Buffer.from(line.bytes).toString("hex")} ${line.text}`;
        if (result.kind === "different") different.push(`${shown} | ours: ${result.ours}`);
        if (result.kind === "unknown" && isGap(line.text)) gaps.push(shown);
      }
      console.log(`${vmlinux}: ${taken} instructions:`, counts);
      expect({ different, gaps }).toEqual({ different: [], gaps: [] });
      expect(counts.same).toBeGreaterThan(0.99 * taken);
      expect(taken).toBeGreaterThan(0.95 * SAMPLE);
    },
  );
});
