// The tables that lead to the code: IDT gates, the stacks that the TSS names, GS bases.

import { InputError } from "../diagnostic.js";
import type { Context } from "./context.js";
import { VECTORS } from "./names.js";
import type { ScenarioSource } from "./read.js";
import { type Gate, tssBytes } from "./tables.js";
import type { Stack } from "./types.js";

/** #BP and #OF are for INT3 and INTO at CPL 3 (fact 4.2). */
const USER_VECTORS: ReadonlySet<number> = new Set([3, 4]);

/** The gates under `tables.idt`. InputError: a vector twice, or an IST that no stack has. */
export function idtGates(context: Context): Gate[] {
  const { source, mode } = context;
  const stacks = Object.values(source.value.stacks ?? {});
  const gates = new Map<number, Gate>();
  for (const [key, file] of Object.entries(source.value.tables?.idt ?? {})) {
    const path = ["tables", "idt", key];
    const vector = VECTORS.get(key) ?? Number(key);
    if (gates.has(vector)) throw new InputError(`tables.idt: vector ${vector} stands twice`, source.locateKey(path));
    const gate = typeof file === "string" ? { entry: file } : file;
    const ist = Number(gate.ist ?? 0n);
    if (ist !== 0 && mode === 32) throw context.error([...path, "ist"], "there are no ISTs in 32-bit mode");
    if (ist !== 0 && !stacks.some((stack) => stack.ist === gate.ist)) {
      throw context.error([...path, "ist"], `no stack has \`ist: ${ist}\``);
    }
    gates.set(vector, {
      vector,
      offset: context.address(gate.entry, typeof file === "string" ? path : [...path, "entry"]),
      ist,
      type: gate.type ?? "interrupt",
      dpl: Number(gate.dpl ?? (USER_VECTORS.has(vector) ? 3n : 0n)),
    });
  }
  return [...gates.values()];
}

/** Events from user code need a stack: an IST or RSP0 (facts 4.6, 4.7). Also checks that no two stacks claim one TSS slot. */
export function checkStackUse(context: Context, gates: readonly Gate[], cpl: 0 | 3): void {
  const { source, mode } = context;
  const owners = new Map<string, string>();
  for (const [name, stack] of Object.entries(source.value.stacks ?? {})) {
    const own = (slot: string, key: string) => {
      const other = owners.get(slot);
      if (other !== undefined) throw context.error(["stacks", name, key], `stack ${other} has ${slot} already`);
      owners.set(slot, name);
    };
    if (stack.ist !== undefined) {
      if (mode === 32) throw context.error(["stacks", name, "ist"], "there are no ISTs in 32-bit mode");
      own(`ist ${stack.ist}`, "ist");
    }
    if (stack.rsp0 === true) own("rsp0", "rsp0");
  }
  if (cpl === 3 && !owners.has("rsp0") && gates.some(({ ist }) => ist === 0)) {
    const gate = gates.find(({ ist }) => ist === 0);
    const key = Object.keys(source.value.tables?.idt ?? {}).find(
      (name) => (VECTORS.get(name) ?? Number(name)) === gate?.vector,
    );
    throw context.error(
      ["tables", "idt", key ?? ""],
      "a gate without `ist` needs a stack with `rsp0: true` when the program runs at CPL 3",
    );
  }
}

/** Bytes of the TSS: RSP0 (ESP0) and the ISTs that the stacks claim. */
export function taskState(source: ScenarioSource, mode: 32 | 64, stacks: readonly Stack[]): Uint8Array {
  let rsp0 = 0n;
  const ist = new Map<number, bigint>();
  for (const stack of stacks) {
    const file = stack.user === true ? undefined : source.value.stacks?.[stack.name];
    if (file?.rsp0 === true) rsp0 = stack.high;
    if (file?.ist !== undefined) ist.set(Number(file.ist), stack.high);
  }
  return tssBytes(mode, rsp0, ist);
}

/** Kernel and user GS base. In 32-bit mode `kernel` is the base of the per-CPU segment. */
export function gsBases(context: Context): { kernel: bigint; user: bigint } {
  const file = context.source.value.tables?.gs ?? {};
  return {
    kernel: context.address(file.kernel ?? "percpu", ["tables", "gs", "kernel"]),
    user: context.address(file.user ?? 0n, ["tables", "gs", "user"]),
  };
}
