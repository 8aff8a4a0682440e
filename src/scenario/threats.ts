// Built-in threats: sets of events that replace a scenario's own, so that designs can be compared under the same attack.

import type { EventFile } from "./schema.js";

export interface Threat {
  readonly name: string;
  readonly sentence: string;
  readonly events: Readonly<Record<string, EventFile>>;
}

export const THREATS: readonly Threat[] = [
  { name: "nmi", sentence: "NMIs anywhere", events: { nmi: "anywhere" } },
  {
    name: "bp",
    sentence: "NMIs anywhere, breakpoints in the handler's body",
    events: { nmi: "anywhere", bp: { in: "body" } },
  },
  {
    name: "pf",
    sentence: "NMIs anywhere, page faults in the handler's body",
    events: { nmi: "anywhere", pf: { in: "body" } },
  },
  {
    name: "mc",
    sentence: "NMIs anywhere, machine checks in the handler's body",
    events: { nmi: "anywhere", mce: { in: "body" } },
  },
  {
    name: "mc-anywhere",
    sentence: "NMIs and machine checks anywhere",
    events: { nmi: "anywhere", mce: "anywhere" },
  },
];

export const THREAT_NAMES: readonly string[] = THREATS.map((threat) => threat.name);

export function threatByName(name: string): Threat | undefined {
  return THREATS.find((threat) => threat.name === name);
}
