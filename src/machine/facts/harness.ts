// A machine to ask about the facts of docs/x86-events.md: a few lines of assembly, every vector with a handler, every
// event at hand, and no property in the way (unless a test asks for it), so that what the CPU does can be watched.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lack, type Prop, Reg, State, Status } from "../../engine/abi.js";
import { loadScenario } from "../../scenario/load.js";
import { VECTORS } from "../../scenario/names.js";
import type { Scenario } from "../../scenario/types.js";
import { createMemory } from "../engine.js";
import { initialise, Machine } from "../machine.js";
import { engineModule } from "../wasm.js";

export const CF = 0x1n;
export const ZF = 0x40n;
export const TF = 0x100n;
export const IF = 0x200n;
export const DF = 0x400n;
export const IOPL3 = 0x3000n;
export const NT = 0x4000n;
export const RF = 0x1_0000n;
export const VM = 0x2_0000n;
export const AC = 0x4_0000n;
export const VIF = 0x8_0000n;
export const VIP = 0x10_0000n;
export const ID = 0x20_0000n;

/** Vectors that push an error code (4.19). */
const WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const INTR_VECTOR = 0x20;
const LINEAR_MEMORY = 64 << 20;
const STEPS = 2000;

export interface Setup {
  /** default 64 */
  readonly mode?: 32 | 64;
  readonly cpu?: "intel" | "amd";
  /**
   * Kernel text. A label `on_nmi`, `on_db`, `on_intr` and so on in it is that vector's handler; the others get
   * `on_xx: nop; (drop the error code;) iret`.
   */
  readonly kernel?: string;
  /** The interrupted program, default `again: nop; nop; jmp again`; at CPL 0 its stack is `program_stack`. */
  readonly program?: string;
  /** default 0 */
  readonly cpl?: 0 | 3;
  readonly registers?: Readonly<Record<string, number | bigint | string>>;
  /** changes to single gates: `{ nmi: { ist: 1 } }` */
  readonly idt?: Readonly<Record<string, { entry?: string; ist?: number; type?: "interrupt" | "trap"; dpl?: number }>>;
  /** other keys of `tables` */
  readonly tables?: Readonly<Record<string, unknown>>;
  /** beside `kernel` (RSP0), `ist1`, `ist2`, `ist3` of 4096 bytes each */
  readonly stacks?: Readonly<Record<string, object>>;
  readonly memory?: Readonly<Record<string, object>>;
  /** any other key of a scenario file: cr0, cr4, efer, fixups, body, events, ... */
  readonly scenario?: Readonly<Record<string, unknown>>;
  /** properties to check; default: none at all, and nothing on the stacks becomes undefined */
  readonly properties?: readonly Prop[];
}

export interface Frame {
  readonly error?: bigint;
  readonly rip: bigint;
  readonly cs: bigint;
  readonly flags: bigint;
  /** as they stand in memory, whether or not delivery pushed them */
  readonly rsp: bigint;
  readonly ss: bigint;
}

export interface GateBits {
  readonly type?: number;
  readonly dpl?: number;
  readonly present?: boolean;
  readonly selector?: number;
  readonly offset?: bigint;
  readonly ist?: number;
}

/** A machine, and the words in which the tests speak of it. */
export class World {
  readonly machine: Machine;
  readonly mode: 32 | 64;

  constructor(setup: Setup = {}) {
    this.mode = setup.mode ?? 64;
    const scenario = load(setup);
    const reduced = setup.properties
      ? { ...scenario, properties: new Set(setup.properties) }
      : { ...scenario, properties: new Set<Prop>(), stacks: [] };
    const memory = createMemory(LINEAR_MEMORY);
    initialise(memory);
    this.machine = new Machine(engineModule(), reduced, { memory });
  }

  // --- running ---------------------------------------------------------------------------------------------------

  /** Takes `n` steps: instructions, or deliveries of what is pending. Gives the last status; throws on `unsupported`. */
  step(n = 1): Status {
    let status: Status = Status.OK;
    for (let i = 0; i < n; i++) {
      status = this.machine.step();
      if (status === Status.UNSUPPORTED)
        throw new Error(`unsupported (${Lack[this.machine.engine.lack()]}) at ${this.at}`);
    }
    return status;
  }

  /** Runs to a label (at least one step). */
  run(label: string): this {
    const target = this.symbol(label);
    for (let n = 0; n < STEPS; n++) {
      const status = this.step();
      if (this.rip === target) return this;
      if (status !== Status.OK) break;
    }
    throw new Error(`${label} was not reached: the machine is at ${this.at}, vector ${this.delivered}`);
  }

  /** Runs until a vector is delivered, and gives it. */
  untilDelivery(): number {
    for (let n = 0; n < STEPS && !this.shutdown; n++) {
      this.step();
      if (this.delivered >= 0) return this.delivered;
    }
    throw new Error(`nothing was delivered: the machine is at ${this.at}`);
  }

  /**
   * The vectors delivered and instructions begun in the next `n` steps: `again`, `#2`, `on_nmi`, ... An instruction that
   * faults, or an INT n, is one step and gives both: itself and the vector.
   */
  trail(n: number): string[] {
    const list: string[] = [];
    for (let i = 0; i < n; i++) {
      const before = this.at;
      this.step();
      if (this.machine.engine.executed()) list.push(before);
      if (this.delivered >= 0) list.push(`#${this.delivered}`);
    }
    return list;
  }

  /** Brings in `nmi`, `mce`, `intr`, `bp`, `db`, `pf` or another rule of the scenario at this boundary. */
  inject(event: string): Status {
    return this.machine.inject(this.rule(event));
  }

  /** May the event strike at this boundary? */
  may(event: string): boolean {
    return this.machine.mayStrike(this.rule(event));
  }

  private rule(event: string): number {
    const rule = this.machine.scenario.events.findIndex(({ name }) => name === event);
    if (rule < 0) throw new Error(`no event ${event}`);
    return rule;
  }

  // --- what the CPU remembers ------------------------------------------------------------------------------------

  /** Vector that the last step delivered, or -1. */
  get delivered(): number {
    return this.machine.engine.delivered();
  }
  private state(bit: State): boolean {
    return (this.machine.register(Reg.STATE) & BigInt(bit)) !== 0n;
  }
  get nmiBlocked(): boolean {
    return this.state(State.NMI_BLOCKED);
  }
  get nmiPending(): boolean {
    return this.state(State.NMI_PENDING);
  }
  get halted(): boolean {
    return this.state(State.HALTED);
  }
  get shutdown(): boolean {
    return this.state(State.SHUTDOWN);
  }
  get shadowSs(): boolean {
    return this.state(State.SHADOW_SS);
  }
  get shadowSti(): boolean {
    return this.state(State.SHADOW_STI);
  }
  get cpl(): number {
    return Number(this.machine.register(Reg.STATE) & 3n);
  }

  // --- registers -------------------------------------------------------------------------------------------------

  /** A register by its manual name in any width (`rax`, `eax`, `rip`, `eflags`, `cs`, `gs_base`, `dr6`, `mcg_status`). */
  reg(name: string): bigint {
    return this.machine.register(registerNamed(name));
  }
  set(name: string, value: bigint): void {
    this.machine.setRegister(registerNamed(name), value);
  }
  get rip(): bigint {
    return this.reg("rip");
  }
  get rsp(): bigint {
    return this.reg("rsp");
  }
  get flags(): bigint {
    return this.reg("rflags");
  }

  // --- memory ----------------------------------------------------------------------------------------------------

  symbol(name: string): bigint {
    const [base = "", offset] = name.split("+");
    const value = this.machine.scenario.image.symbols.get(base) ?? this.layout.get(base);
    if (value === undefined) throw new Error(`no symbol ${base}`);
    return value + BigInt(offset ?? 0);
  }

  /** RIP as the nearest symbol below it in kernel or program text, with `+n`. */
  get at(): string {
    return this.near(this.rip);
  }

  near(address: bigint): string {
    let best: readonly [string, bigint] | undefined;
    for (const [name, value] of this.machine.scenario.image.symbols) {
      if (value <= address && address - value < 4096n && (best === undefined || value > best[1])) best = [name, value];
    }
    if (best === undefined) return `0x${address.toString(16)}`;
    return best[1] === address ? best[0] : `${best[0]}+${address - best[1]}`;
  }

  /** Where the tables and stacks are. */
  private get layout(): ReadonlyMap<string, bigint> {
    return new Map([
      ["cpu_idt", this.reg("idtr_base")],
      ["cpu_gdt", this.reg("gdtr_base")],
      ["cpu_tss", this.reg("tr_base")],
    ]);
  }

  private place(where: string | bigint): bigint {
    return typeof where === "bigint" ? where : this.symbol(where);
  }

  /** Reads memory at an address or symbol, without the CPU's taking notice. */
  read(where: string | bigint, size: 1 | 2 | 4 | 8 = this.mode === 64 ? 8 : 4): bigint {
    const address = this.place(where);
    let value = 0n;
    for (let i = BigInt(size) - 1n; i >= 0n; i--)
      value = (value << 8n) | BigInt(this.machine.view.getUint8(this.ram(address + i)));
    return value;
  }

  /** Writes memory as if it had always been so. */
  write(where: string | bigint, value: bigint, size: 1 | 2 | 4 | 8 = this.mode === 64 ? 8 : 4): void {
    const address = this.place(where);
    for (let i = 0n; i < BigInt(size); i++) {
      this.machine.view.setUint8(this.ram(address + i), Number((value >> (8n * i)) & 0xffn));
    }
    this.machine.setRegister(Reg.CR3, this.machine.register(Reg.CR3)); // drops cached translations
  }

  /** Address in the engine's memory. */
  private ram(address: bigint): number {
    const physical = this.machine.physical(address);
    if (physical === undefined) throw new Error(`0x${address.toString(16)} is not mapped`);
    return this.machine.engine.ram() + physical;
  }

  /** The frame at RSP (or elsewhere). `error`: an error code stands below it. */
  frame(options: { readonly error?: boolean; readonly at?: bigint } = {}): Frame {
    const word = this.mode === 64 ? 8n : 4n;
    let at = options.at ?? this.rsp;
    const error = options.error ? this.read(at) : undefined;
    if (options.error) at += word;
    const slot = (n: bigint) => (this.machine.physical(at + n * word) === undefined ? 0n : this.read(at + n * word));
    return {
      ...(error === undefined ? {} : { error }),
      rip: slot(0n),
      cs: slot(1n),
      flags: slot(2n),
      rsp: slot(3n),
      ss: slot(4n),
    };
  }

  /** Changes a gate of the IDT. */
  gate(vector: number | string, bits: GateBits): void {
    const size = this.mode === 64 ? 16n : 8n;
    const at = this.reg("idtr_base") + BigInt(vectorOf(vector)) * size;
    if (bits.selector !== undefined) this.write(at + 2n, BigInt(bits.selector), 2);
    if (bits.ist !== undefined) this.write(at + 4n, BigInt(bits.ist), 1);
    if (bits.offset !== undefined) {
      this.write(at, bits.offset, 2);
      this.write(at + 6n, bits.offset >> 16n, 2);
      if (this.mode === 64) this.write(at + 8n, bits.offset >> 32n, 4);
    }
    const old = Number(this.read(at + 5n, 1));
    const type = bits.type ?? old & 0x1f;
    const dpl = bits.dpl ?? (old >> 5) & 3;
    const present = bits.present ?? (old & 0x80) !== 0;
    this.write(at + 5n, BigInt(type | (dpl << 5) | (present ? 0x80 : 0)), 1);
  }

  /** Writes an 8-byte descriptor into the GDT, growing its limit where needed. `access` and `flags` as in the manual. */
  descriptor(selector: number, access: number, flags = 0xa, base = 0n, limit = 0xfffffn): void {
    const raw =
      (limit & 0xffffn) |
      ((base & 0xff_ffffn) << 16n) |
      (BigInt(access) << 40n) |
      (((limit >> 16n) & 0xfn) << 48n) |
      (BigInt(flags) << 52n) |
      (((base >> 24n) & 0xffn) << 56n);
    this.write(this.reg("gdtr_base") + BigInt(selector & 0xfff8), raw, 8);
    const needed = BigInt((selector & 0xfff8) + 7);
    if (this.reg("gdtr_limit") < needed) this.set("gdtr_limit", needed);
  }
}

/** A machine that runs `setup`. */
export function world(setup: Setup = {}): World {
  return new World(setup);
}

function vectorOf(name: number | string): number {
  return typeof name === "number" ? name : (VECTORS.get(name) ?? Number(name));
}

const ALIASES: Readonly<Record<string, string>> = { eip: "rip", eflags: "rflags" };

function registerNamed(name: string): Reg {
  const full = ALIASES[name] ?? name.replace(/^e(?=[a-ds][xip]$|[sd]i$|bp$)/, "r");
  const upper = full.toUpperCase();
  const index =
    (Reg as unknown as Record<string, number>)[upper] ?? (Reg as unknown as Record<string, number>)[`${upper}_SEL`];
  if (index === undefined) throw new Error(`no register ${name}`);
  return index;
}

// --- the scenario -----------------------------------------------------------------------------------------------------

/** Scenarios by the text of their files: many tests begin alike, and loading takes longer than the test. */
const LOADED = new Map<string, Scenario>();

function load(setup: Setup): Scenario {
  const code = kernelText(setup);
  const file = yaml(scenarioFile(setup));
  const known = LOADED.get(code + file);
  if (known !== undefined) return known;
  const folder = mkdtempSync(join(tmpdir(), "trapcheck-fact-"));
  try {
    writeFileSync(join(folder, "entry.S"), code);
    writeFileSync(join(folder, "scenario.yaml"), file);
    const scenario = loadScenario(folder);
    LOADED.set(code + file, scenario);
    return scenario;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function kernelText({ kernel = "", mode = 64 }: Setup): string {
  const given = new Set([...kernel.matchAll(/^\s*(\w+):/gm)].map(([, label]) => label));
  const lines = [kernel, ".text"];
  for (const [name, vector] of handlers()) {
    if (given.has(name)) continue;
    const drop = WITH_CODE.has(vector) ? (mode === 64 ? "add $8, %rsp;" : "add $4, %esp;") : "";
    lines.push(`${name}: nop; ${drop} ${mode === 64 ? "iretq" : "iretl"}`);
  }
  return `${lines.join("\n")}\n`;
}

function handlers(): ReadonlyMap<string, number> {
  return new Map([...[...VECTORS].map(([name, vector]) => [`on_${name}`, vector] as const), ["on_intr", INTR_VECTOR]]);
}

function scenarioFile(setup: Setup): unknown {
  const { mode = 64, cpl = 0 } = setup;
  const idt: Record<string, unknown> = {};
  for (const [name, vector] of handlers()) idt[vector === INTR_VECTOR ? `${vector}` : name.slice(3)] = { entry: name };
  for (const [key, gate] of Object.entries(setup.idt ?? {}))
    idt[key] = { ...(idt[key] as object | undefined), ...gate };
  const ist = mode === 64 ? [1, 2, 3] : [];
  return {
    mode,
    cpu: setup.cpu ?? "intel",
    code: "entry.S",
    programs: {
      program: {
        cpl,
        code: setup.program ?? "again: nop\nnop\njmp again\n",
        ...(setup.registers === undefined ? {} : { registers: setup.registers }),
      },
    },
    tables: { idt, ...setup.tables },
    stacks: {
      kernel: { size: 4096, rsp0: true },
      ...Object.fromEntries(ist.map((n) => [`ist${n}`, { size: 4096, ist: n }])),
      ...setup.stacks,
    },
    ...(setup.memory === undefined ? {} : { memory: setup.memory }),
    events: {
      nmi: "anywhere",
      mce: { "while-mcip": true },
      intr: { vector: INTR_VECTOR },
      bp: "anywhere",
      db: "anywhere",
      pf: { address: mode === 64 ? 0xffff_c900_0000_0000n : 0xf800_0000n, error: 2 },
    },
    "double-fault": "handled",
    ...setup.scenario,
  };
}

/** JSON is YAML; numbers beyond 2^53 are written in hexadecimal. */
function yaml(value: unknown): string {
  const text = JSON.stringify(
    value,
    (_, item) => (typeof item !== "bigint" ? item : item < 0n ? Number(item) : `@0x${item.toString(16)}@`),
    1,
  );
  return text.replace(/"@(0x[0-9a-f]+)@"/g, "$1");
}
