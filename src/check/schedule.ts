// Schedules as text: `nmi@7,bp@+31,nmi@+4`. The first number counts boundaries from the start, the others from the event before.

import { InputError } from "../diagnostic.js";
import type { Choice, Schedule } from "./types.js";

export function formatSchedule(schedule: Schedule): string {
  return schedule.map(({ event, after }, n) => `${event}@${n === 0 ? "" : "+"}${after}`).join(",");
}

/** Reads a schedule; the empty text is the schedule without events. InputError: which part is wrong, and what was expected. */
export function parseSchedule(text: string): Schedule {
  const trimmed = text.trim();
  if (trimmed === "") return [];
  return trimmed.split(",").map((part, n): Choice => {
    const match = /^([A-Za-z_][\w.-]*)@(\+?)(\d{1,9})$/.exec(part.trim());
    const wanted = n === 0 ? "event@boundary such as nmi@7" : "event@+boundaries such as bp@+31";
    if (!match) throw new InputError(`"${part.trim()}" in the schedule is not ${wanted}`);
    const [, event = "", plus = "", after = ""] = match;
    if ((plus === "+") !== n > 0) throw new InputError(`"${part.trim()}" in the schedule is not ${wanted}`);
    return { event, after: Number(after) };
  });
}
