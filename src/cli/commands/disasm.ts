import { type Command, Option } from "commander";
import { InputError } from "../../diagnostic.js";
import type { ObjectModule } from "../../image/module.js";
import { json } from "../../report/format.js";
import { bytesModule, disassemble, disassemblyJson, disassemblyListing, type Selection } from "../../report/listing.js";
import { readInput } from "../files.js";
import { hexBytes, modeOption } from "../options.js";
import type { Session } from "../session.js";

interface DisasmOptions extends Selection {
  readonly hex?: Uint8Array;
  readonly syntax: "att" | "intel";
  readonly mode?: 32 | 64;
  readonly json?: boolean;
}

/** `disasm FILE`: what the decoder makes of machine code. */
export function registerDisasm(program: Command, session: Session): void {
  program
    .command("disasm")
    .description("disassemble an ELF object or executable, or bytes")
    .argument("[file]", "an ELF object or executable")
    .option("--hex <bytes>", 'bytes in place of a file, such as "48 cf"', hexBytes)
    .option("--section <name>", "one section (default: the executable ones)")
    .option("--symbol <name>", "only the code from this symbol to the next")
    .addOption(new Option("--syntax <name>", "how instructions are written").choices(["att", "intel"]).default("att"))
    .addOption(modeOption("of the code (default: the file's, or 64)"))
    .option("--json", "one JSON document on standard output, the text on standard error")
    .action(async (file: string | undefined, options: DisasmOptions) => {
      const code = await readCode(file, options.hex);
      const bits = options.mode ?? code.mode;
      const { decoder } = await import("../../report/instructions.js");
      const blocks = disassemble(code.module, options, decoder(bits, options.syntax));
      const { write, colours } = session.text(options.json);
      write(disassemblyListing(blocks, colours));
      if (options.json) session.io.out.write(json(disassemblyJson(bits, blocks)));
    });
}

async function readCode(
  file: string | undefined,
  hex: Uint8Array | undefined,
): Promise<{ readonly mode: 32 | 64; readonly module: ObjectModule }> {
  if ((file === undefined) === (hex === undefined)) {
    throw new InputError("expected either a file or --hex with bytes");
  }
  if (hex !== undefined) return { mode: 64, module: bytesModule(hex) };
  const { readElf } = await import("../../image/elf.js");
  return readElf(file as string, readInput(file as string));
}
