// A violation in words: one sentence, and its diagnosis.

import { Prop, Reg } from "../engine/abi.js";
import { labeller } from "../image/labels.js";
import type { Machine } from "../machine/machine.js";
import type { ContextList } from "./contexts.js";
import { inMode, owedName, placer, registerName, vectorName } from "./words.js";

const NOWHERE = 64;
const FRAME = 65;
const STALE = 66;
const SHUTDOWN = 67;

function hex(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}

/** What the engine found, as one sentence. The machine is still in the violating state. */
export function violationMessage(machine: Machine, contexts: ContextList): { property: Prop; message: string } {
  const { engine } = machine;
  const property = engine.property() as Prop;
  const detail = BigInt.asUintN(64, engine.detail());
  const detail2 = BigInt.asUintN(64, engine.detail2());
  return { property, message: sentence(machine, contexts, property, detail, detail2) };
}

function sentence(machine: Machine, contexts: ContextList, property: Prop, detail: bigint, detail2: bigint): string {
  const label = labeller(machine.scenario.image);
  const place = placer(machine.scenario);
  const at = label(machine.register(Reg.RIP));
  const here = label(BigInt.asUintN(64, machine.engine.lastRip()));
  const where = (address: bigint) => place(address) || hex(address);
  const exactly = (address: bigint) => (place(address) ? `${place(address)} (${hex(address)})` : hex(address));
  const top = contexts.innermost;
  const owed = top ? `${top.name} (interrupted by ${top.by} at ${label(top.rip)})` : "nothing";
  switch (property) {
    case Prop.RESUME:
      return resumeSentence(machine, contexts, Number(detail), detail2, here);
    case Prop.GS_BASE:
      // a resume of user code is complete when it is found wrong; accesses are those of CPL 0
      if ((machine.register(Reg.STATE) & 3n) === 3n)
        return `${owed} is resumed with GS.base ${hex(detail2)}, which is not its own`;
      return `CPL 0 accesses memory through GS at ${here} while GS.base is ${hex(detail)}, not the kernel's ${hex(machine.scenario.kernelGs ?? 0n)}`;
    case Prop.PROGRESS:
      if (detail2 === 2n) return `the CPU has shut down at ${at} and does nothing more, with ${owed} owed`;
      return `the machine halts at ${at} with ${owed} still owed its resumption, and nothing to wake it`;
    case Prop.NMI_SERVED:
      return `an NMI arrived, but everything is resumed at ${at} and the handler's body has not run since`;
    case Prop.NMI_REENTRY:
      return `the NMI handler's body is entered at ${at} while an earlier run of it has not finished`;
    case Prop.HANDLER_REGS:
      return `the register frame of the NMI handler no longer describes ${owed}: its ${inMode(registerName(Number(detail) as Reg), machine.scenario.mode)} at ${where(detail2)} is wrong (at ${at})`;
    case Prop.NMI_UNMASKED:
      return `everything is resumed at ${at}, but NMIs are still blocked`;
    case Prop.NO_NESTING:
      return `an NMI is delivered at ${at} while the frame of another is live`;
    case Prop.STACK_BOUNDS:
      return `${detail2} bytes are pushed at ${exactly(detail)}, outside every stack of the scenario (at ${here})`;
    case Prop.NO_SHUTDOWN:
      if (detail === 3n) return `triple fault at ${here}: the CPU shuts down`;
      if (detail === 2n)
        return `double fault at ${here}: ${vectorName(Number(detail2 & 0xffn))} while ${vectorName(Number(detail2 >> 8n))} was being delivered`;
      return `a machine check at ${at} ${(detail2 & 4n) !== 0n ? "while MCG_STATUS.MCIP is set" : "with CR4.MCE clear"} shuts the CPU down`;
    case Prop.TEXT_ONLY:
      return `CPL 0 executes at ${hex(detail)}, which is not the scenario's text`;
    case Prop.USER_STACK:
      return `CPL 0 ${detail2 !== 0n ? "pushes to" : "pops from"} ${exactly(detail)}, a stack that user code chose (at ${here})`;
    case Prop.STALE_READ:
      return `${here} reads ${detail2} undefined byte${detail2 === 1n ? "" : "s"}: what an activity that is over has left behind`;
    case Prop.CR2:
      return `the page-fault handler reads CR2 = ${hex(detail)} at ${here}, but its own fault was at ${hex(detail2)}`;
    case Prop.FLAGS_ENTRY:
      return `the handler's body runs at ${at} with ${[(detail & 0x400n) !== 0n && "DF", (detail & 0x40000n) !== 0n && "AC"].filter(Boolean).join(" and ")} set`;
    default:
      return `${at} must not be reached`;
  }
}

function resumeSentence(machine: Machine, contexts: ContextList, what: number, actual: bigint, here: string): string {
  const label = labeller(machine.scenario.image);
  const place = placer(machine.scenario);
  const top = contexts.innermost;
  const owed = top ? `${top.name}, which ${top.by} interrupted at ${label(top.rip)},` : "no context";
  const at = label(machine.register(Reg.RIP));
  if (what === NOWHERE) return `${here} gives control to user code at ${at}, but ${owed} is what is owed`;
  if (what === FRAME) {
    return `${here} pops the frame at ${place(actual) || hex(actual)} that was pushed for a context, and control goes to ${at}; ${owed} is never resumed there`;
  }
  if (what === STALE) {
    return `${here} pops the frame at ${place(actual) || hex(actual)} that was pushed for a context, but what stands there is left of a nested run that is over; ${owed} is never resumed`;
  }
  if (what === SHUTDOWN) return `the CPU has shut down at ${at}; ${owed} is never resumed`;
  const name = inMode(owedName(what), machine.scenario.mode);
  const wanted = top && owedWord(machine, top.record, what);
  return `${owed} is resumed with ${name} = ${hex(actual)}${wanted === undefined ? "" : ` instead of ${hex(wanted)}`}`;
}

function owedWord(machine: Machine, record: number, word: number): bigint {
  return machine.view.getBigUint64(record + word * 8, true);
}

/** Which bytes of which live frame were overwritten by what, how many instructions before. */
export function diagnosis(contexts: ContextList, instructionsAt: readonly number[], now: number): string[] {
  const size = contexts.wordSize;
  return contexts.damage().map(({ context, slots }) => {
    const groups = new Map<string, { slots: string[]; low: bigint; high: bigint; step: number }>();
    for (const { slot, address, step, by } of slots) {
      const key = `${step} ${by}`;
      const group = groups.get(key) ?? { slots: [], low: address, high: address, step };
      group.slots.push(slot);
      if (address < group.low) group.low = address;
      if (address > group.high) group.high = address;
      groups.set(key, group);
    }
    const parts = [...groups].map(([key, { slots: names, low, high, step }]) => {
      const by = key.slice(key.indexOf(" ") + 1);
      const ago = now - (instructionsAt[step] ?? now);
      return `${names.join(", ")} (bytes ${hex(low)} to ${hex(high + size - 1n)}) by ${by}, ${ago} instruction${ago === 1 ? "" : "s"} before`;
    });
    return `the frame of context ${context.number} (${context.name}, interrupted by ${context.by} at ${context.label}) was overwritten: ${parts.join("; ")}`;
  });
}
