// The registers that the machine starts with.

import { Attr, Reg } from "../engine/abi.js";
import type { Context } from "./context.js";
import { generalRegisters, OTHER_REGISTERS } from "./names.js";
import type { Path } from "./read.js";
import type { ProgramFile, ScenarioFile } from "./schema.js";
import { type Descriptor, SELECTORS, TSS_LIMIT } from "./tables.js";
import type { EventRule, Stack } from "./types.js";

const CR0 = { PE: 1n, WP: 0x1_0000n, PG: 0x8000_0000n } as const;
const CR4 = { PAE: 0x20n, LA57: 0x1000n } as const;
const EFER = { SCE: 1n, LME: 0x100n, LMA: 0x400n, NXE: 0x800n } as const;

const DEFAULT_CR0 = 0x8005_0033n;
/** 64: DE, PSE, PAE, MCE, PGE, FSGSBASE, SMEP, SMAP; 32: PSE, MCE, PGE. */
const DEFAULT_CR4 = { 64: 0x31_00f8n, 32: 0xd0n } as const;
const DEFAULT_EFER = { 64: EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE, 32: 0n } as const;
const STAR = 0x0023_0010_0000_0000n;
const FMASK = 0x4_7700n;
const PAT = 0x0007_0406_0007_0406n;
const APIC_BASE = 0xfee0_0900n;
const DR6 = 0xffff_0ff0n;
const DR7 = 0x400n;
const RFLAGS = 0x202n;
/** The program starts a little below the high end of its stack, as code in a function would. */
const STACK_USED = 64n;

export interface ControlRegisters {
  readonly cr0: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

/** CR0, CR4 and EFER with the file's overrides. InputError: values that leave the modes that the model has. */
export function controlRegisters(context: Context, file: ScenarioFile): ControlRegisters {
  const { mode } = context;
  const result = {
    cr0: file.cr0 ?? DEFAULT_CR0,
    cr4: file.cr4 ?? DEFAULT_CR4[mode],
    efer: file.efer ?? DEFAULT_EFER[mode],
  };
  const demand = (path: Path, condition: boolean, text: string) => {
    if (!condition) throw context.error(path, text);
  };
  const has = (value: bigint, bits: bigint) => (value & bits) === bits;
  demand(
    ["cr0"],
    has(result.cr0, CR0.PE | CR0.PG),
    "expected PE (bit 0) and PG (bit 31) to be set: the model has protected mode with paging",
  );
  if (mode === 64) {
    demand(["cr4"], has(result.cr4, CR4.PAE), "expected PAE (bit 5) to be set in 64-bit mode");
    demand(["cr4"], !has(result.cr4, CR4.LA57), "expected LA57 (bit 12) to be clear: the page tables have 4 levels");
    demand(
      ["efer"],
      has(result.efer, EFER.LME | EFER.LMA),
      "expected LME (bit 8) and LMA (bit 10) to be set in 64-bit mode",
    );
    result.efer |= EFER.SCE;
  } else {
    demand(
      ["cr4"],
      !has(result.cr4, CR4.PAE),
      "expected PAE (bit 5) to be clear: the 32-bit page tables have 2 levels",
    );
    demand(
      ["efer"],
      (result.efer & (EFER.LME | EFER.LMA)) === 0n,
      "expected LME (bit 8) and LMA (bit 10) to be clear in 32-bit mode",
    );
  }
  return result;
}

export interface StartRequest {
  readonly program: ProgramFile;
  readonly programPath: Path;
  readonly cpl: 0 | 3;
  readonly start: bigint;
  readonly stack: Stack;
  readonly control: ControlRegisters;
  readonly cr3: bigint;
  readonly tables: { readonly idt: bigint; readonly gdt: bigint; readonly tss: bigint };
  readonly idtLimit: number;
  readonly gdtLimit: number;
  readonly descriptors: ReadonlyMap<number, Descriptor>;
  readonly gs: { readonly kernel: bigint; readonly user: bigint };
  readonly stacks: readonly Stack[];
  readonly rules: readonly EventRule[];
}

/** All register words that are not zero. */
export function startRegisters(context: Context, request: StartRequest): Map<Reg, bigint> {
  const { mode } = context;
  const { cpl, control, gs } = request;
  const registers = new Map<Reg, bigint>([
    [Reg.RIP, request.start],
    [Reg.RFLAGS, RFLAGS],
    [Reg.STATE, BigInt(cpl)],
    [Reg.CR0, control.cr0],
    [Reg.CR3, request.cr3],
    [Reg.CR4, control.cr4],
    [Reg.EFER, control.efer],
    [Reg.GDTR_BASE, request.tables.gdt],
    [Reg.GDTR_LIMIT, BigInt(request.gdtLimit)],
    [Reg.IDTR_BASE, request.tables.idt],
    [Reg.IDTR_LIMIT, BigInt(request.idtLimit)],
    [Reg.PAT, PAT],
    [Reg.APIC_BASE, APIC_BASE],
    [Reg.DR6, DR6],
    [Reg.DR7, DR7],
  ]);
  // Each general register repeats a byte of its own, so that a mix-up shows in any width.
  for (const [, reg] of generalRegisters(mode))
    registers.set(reg, BigInt(reg + 1) * (mode === 64 ? 0x0101_0101_0101_0101n : 0x0101_0101n));
  registers.set(Reg.RSP, request.stack.high - STACK_USED);
  segments(registers, mode, request);
  systemCalls(registers, context, request);
  if (mode === 64) {
    registers.set(Reg.GS_BASE, cpl === 3 ? gs.user : gs.kernel);
    registers.set(Reg.KERNEL_GS_BASE, cpl === 3 ? gs.kernel : gs.user);
  }
  programRegisters(registers, context, request);
  let budget = 0n;
  request.rules.forEach(({ limit }, index) => {
    budget |= BigInt(limit ?? 0) << BigInt(8 * index);
  });
  registers.set(Reg.BUDGET, budget);
  for (const [reg, value] of registers) if (value === 0n) registers.delete(reg);
  return registers;
}

/** Segment registers as Linux has them: in 64-bit mode only CS and SS hold descriptors. */
function segments(registers: Map<Reg, bigint>, mode: 32 | 64, { cpl, descriptors, tables }: StartRequest): void {
  const load = (first: Reg, selector: number) => {
    const descriptor = descriptors.get(selector & ~3);
    registers.set(first, BigInt(selector));
    registers.set(first + 1, descriptor?.base ?? 0n);
    registers.set(first + 2, descriptor?.limit ?? 0n);
    registers.set(first + 3, BigInt(descriptor?.attr ?? Attr.NULL));
  };
  const names = SELECTORS[mode];
  load(Reg.CS_SEL, cpl === 3 ? names.userCode : names.kernelCode);
  load(Reg.SS_SEL, cpl === 3 ? names.userData : names.kernelData);
  const data = mode === 64 ? 0 : names.userData;
  load(Reg.DS_SEL, data);
  load(Reg.ES_SEL, data);
  load(Reg.FS_SEL, mode === 32 && cpl === 0 ? SELECTORS[32].percpu : 0);
  load(Reg.GS_SEL, 0);
  load(Reg.LDTR_SEL, 0);
  registers.set(Reg.TR_SEL, BigInt(names.tss));
  registers.set(Reg.TR_BASE, tables.tss);
  registers.set(Reg.TR_LIMIT, TSS_LIMIT);
  registers.set(Reg.TR_ATTR, BigInt(descriptors.get(names.tss)?.attr ?? 0));
}

function systemCalls(registers: Map<Reg, bigint>, context: Context, { stacks }: StartRequest): void {
  const { mode, source } = context;
  const tables = source.value.tables ?? {};
  if (mode === 64) {
    registers.set(Reg.STAR, STAR);
    registers.set(Reg.FMASK, tables.fmask ?? FMASK);
    if (tables.syscall !== undefined) registers.set(Reg.LSTAR, context.address(tables.syscall, ["tables", "syscall"]));
  } else {
    for (const key of ["syscall", "fmask", "gs.user"] as const) {
      const path = ["tables", ...key.split(".")];
      const given = key === "gs.user" ? tables.gs?.user : tables[key];
      if (given !== undefined) throw context.error(path, "belongs to 64-bit mode; expected `mode: 64`");
    }
  }
  const name = tables["sysenter-stack"];
  if (tables.sysenter === undefined) {
    if (name !== undefined) throw context.error(["tables", "sysenter-stack"], "expected `sysenter` beside it");
    return;
  }
  if (name === undefined)
    throw context.error(
      ["tables", "sysenter"],
      'missing key "sysenter-stack": the name of the stack that SYSENTER loads',
    );
  const stack = stacks.find((entry) => entry.name === name && entry.user !== true);
  if (stack === undefined) throw context.error(["tables", "sysenter-stack"], `no stack "${name}" under stacks`);
  registers.set(Reg.SYSENTER_CS, BigInt(SELECTORS[mode].sysenter));
  registers.set(Reg.SYSENTER_ESP, stack.high);
  registers.set(Reg.SYSENTER_EIP, context.address(tables.sysenter, ["tables", "sysenter"]));
}

function programRegisters(registers: Map<Reg, bigint>, context: Context, { program, programPath }: StartRequest): void {
  const { mode } = context;
  const known = new Map([...generalRegisters(mode), ...OTHER_REGISTERS]);
  known.set("eflags", Reg.RFLAGS);
  const seen = new Map<Reg, string>();
  for (const [name, value] of Object.entries(program.registers ?? {})) {
    if (value === undefined) continue;
    const path = [...programPath, "registers", name];
    const reg = known.get(name);
    const wide = reg === Reg.FS_BASE || reg === Reg.GS_BASE || reg === Reg.KERNEL_GS_BASE || reg === Reg.CR8;
    if (reg === undefined || (wide && mode === 32))
      throw context.error(path, `no register ${name} in ${mode}-bit mode`);
    const other = seen.get(reg);
    if (other !== undefined) throw context.error(path, `is the same register as ${other}, which has a value already`);
    seen.set(reg, name);
    const number = context.address(value, path);
    if (reg === Reg.RFLAGS) checkFlags(context, path, number);
    registers.set(reg, number);
  }
}

/** Bit 1 is always set, bits 3, 5, 15 and from 22 on are clear, and VM is a mode that the model does not have. */
function checkFlags(context: Context, path: Path, flags: bigint): void {
  if ((flags & 2n) === 0n || (flags & ~0x3d_7fd7n) !== 0n) {
    throw context.error(
      path,
      `0x${flags.toString(16)} is no valid value: expected bit 1 set, and VM and the reserved bits clear`,
    );
  }
}

export function noExecute(control: ControlRegisters): boolean {
  return (control.efer & EFER.NXE) !== 0n;
}
