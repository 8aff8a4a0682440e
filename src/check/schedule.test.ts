import { describe, expect, it } from "vitest";
import { small } from "../../test/support/small.js";
import { formatSchedule, parseSchedule } from "./schedule.js";
import { trace } from "./trace.js";

describe("schedules as text", () => {
  it.each([
    ["", []],
    ["  ", []],
    ["nmi@0", [{ event: "nmi", after: 0 }]],
    [
      "nmi@7,bp@+31,hold@+0",
      [
        { event: "nmi", after: 7 },
        { event: "bp", after: 31 },
        { event: "hold", after: 0 },
      ],
    ],
    [
      " late-nmi.2@7 , b_p@+1 ",
      [
        { event: "late-nmi.2", after: 7 },
        { event: "b_p", after: 1 },
      ],
    ],
  ])("%j", (text, schedule) => {
    expect(parseSchedule(text)).toEqual(schedule);
    expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
  });

  it.each([
    ["nmi", '"nmi" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@", '"nmi@" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@-1", '"nmi@-1" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@+7", '"nmi@+7" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@7,bp@3", '"bp@3" in the schedule is not event@+boundaries such as bp@+31'],
    ["nmi@7,", '"" in the schedule is not event@+boundaries such as bp@+31'],
    ["nmi@7;bp@+1", '"nmi@7;bp@+1" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@12345678901", '"nmi@12345678901" in the schedule is not event@boundary such as nmi@7'],
    ["nmi@0x10", '"nmi@0x10" in the schedule is not event@boundary such as nmi@7'],
  ])("refuses %j", (text, message) => {
    expect(() => parseSchedule(text)).toThrow(message);
  });
});

describe("a schedule that does not fit its scenario", () => {
  const scenario = small({
    kernel: "entry_nmi: nop\n iretq",
    cpl: 0,
    program: "nop\nnop\nhalt: hlt\njmp halt",
    events: { nmi: { in: ["halt", "halt+1"] } },
  });

  it.each([
    [
      "mce@0",
      'the schedule names the event "mce", which test has (it has nmi)'.replace(
        "test has",
        `${scenario.name} does not have`,
      ),
    ],
    ["nmi@1", `the schedule's "nmi" after 1 boundaries: the scenario does not let it strike there`],
    ["hold@0", `the schedule's "hold" after 0 boundaries: no NMI is pending in the shadow of STI there`],
    ["nmi@50", `the schedule's "nmi" comes after the run has ended (at boundary 4)`],
    ["nmi@2,nmi@+90", `the schedule's "nmi" comes after the run has ended`],
  ])("%s", (text, message) => {
    expect(() => trace(scenario, parseSchedule(text))).toThrow(message);
  });
});
