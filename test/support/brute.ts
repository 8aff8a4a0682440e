// The search done the obvious way, for comparison: every state written out in full as a text, every state reached again
// from the initial one by the steps that lead to it. Events are counted first, then instructions (0-1 Dijkstra).

import { Ctx, Prop, Reg, Special, Status } from "../../src/engine/abi.js";
import { createMemory } from "../../src/machine/engine.js";
import { initialise, Machine } from "../../src/machine/machine.js";
import { engineModule } from "../../src/machine/wasm.js";
import type { Scenario } from "../../src/scenario/types.js";

export interface BruteResult {
  readonly verdict: "holds" | "violated" | "unsupported" | "too large";
  /** states reached with as many events as the verdict needs, or all */
  readonly states: number;
  /** greatest number of events after which a new state was found */
  readonly levels: number;
  /** events, and instructions among the violations with the fewest events; the properties of those violations */
  readonly events?: number;
  readonly instructions?: number;
  readonly properties?: ReadonlySet<Prop>;
  /** endless runs found with those events: instructions to the nearest state and once around */
  readonly circles: readonly number[];
}

type Action = "step" | number;

interface Node {
  readonly from: Node | undefined;
  readonly action: Action;
  readonly instructions: number;
  next: string | undefined;
  /** the step to `next` executes an instruction */
  executes: boolean;
  owed: boolean;
}

const PAGE = 4096;

/** Explores until the first level with a violation, or completely; gives up beyond `most` states. */
export function brute(scenario: Scenario, most = 20_000): BruteResult {
  return new Brute(scenario).run(most);
}

class Brute {
  readonly #machine: Machine;
  readonly #scenario: Scenario;
  readonly #ram: Buffer;
  readonly #undefined: Buffer;
  readonly #initialRam: Buffer;
  readonly #initialUndefined: Buffer;
  readonly #known = new Map<string, Node>();
  /** states to be looked at on this level and on the next, by instructions */
  #now: Array<Array<[string, Node]>> = [];
  #later: Array<Array<[string, Node]>> = [];
  #violations: Array<{ instructions: number; property: Prop }> = [];
  #laterViolations: Array<{ instructions: number; property: Prop }> = [];
  #unsupported = false;
  #laterUnsupported = false;

  constructor(scenario: Scenario) {
    const memory = createMemory(96 << 20);
    initialise(memory);
    this.#scenario = scenario;
    this.#machine = new Machine(engineModule(), scenario, { memory });
    // everything that is used later is allocated by now, so that the buffer stays the same for reading
    const { engine } = this.#machine;
    const { size } = scenario.memory;
    this.#ram = Buffer.from(memory.buffer, engine.ram(), size);
    this.#undefined = Buffer.from(memory.buffer, engine.undefinedBytes(), size / 8);
    this.#initialRam = Buffer.from(this.#ram);
    this.#initialUndefined = Buffer.from(this.#undefined);
  }

  run(most: number): BruteResult {
    this.#put(this.#now, this.#state(), undefined, "step", 0);
    let levels = 0;
    for (let level = 0; ; level++) {
      const before = this.#known.size;
      const reached: Node[] = [];
      for (let cost = 0; cost < this.#now.length; cost++) {
        const bucket = this.#now[cost] ?? [];
        for (let n = 0; n < bucket.length; n++) {
          const [key, node] = bucket[n] as [string, Node];
          if (this.#known.has(key)) continue;
          this.#known.set(key, node);
          reached.push(node);
          this.#expand(node);
          if (this.#known.size > most) return this.#result("too large", levels, []);
        }
      }
      if (this.#known.size > before) levels = level;
      const circles = this.#scenario.properties.has(Prop.PROGRESS) ? this.#circles(reached) : [];
      const found = [
        ...this.#violations,
        ...circles.map((instructions) => ({ instructions, property: Prop.PROGRESS })),
      ];
      if (found.length > 0) {
        const instructions = Math.min(...found.map((one) => one.instructions));
        const properties = new Set(found.filter((one) => one.instructions === instructions).map((one) => one.property));
        return { ...this.#result("violated", level, circles), events: level, instructions, properties };
      }
      if (this.#unsupported) return this.#result("unsupported", levels, circles);
      if (this.#known.size === before) return this.#result("holds", levels, circles);
      this.#now = this.#later;
      this.#later = [];
      this.#violations = this.#laterViolations;
      this.#laterViolations = [];
      this.#unsupported = this.#laterUnsupported;
      this.#laterUnsupported = false;
    }
  }

  #result(verdict: BruteResult["verdict"], levels: number, circles: readonly number[]): BruteResult {
    return { verdict, states: this.#known.size, levels, circles };
  }

  #put(
    list: Array<Array<[string, Node]>>,
    key: string,
    from: Node | undefined,
    action: Action,
    instructions: number,
  ): void {
    list[instructions] ??= [];
    list[instructions]?.push([key, { from, action, instructions, next: undefined, executes: false, owed: false }]);
  }

  /** Everything that can happen in a state. */
  #expand(node: Node): void {
    const { engine } = this.#machine;
    this.#goTo(node);
    node.owed = this.#machine.register(Reg.DEPTH) !== 0n;
    const status = this.#machine.step();
    const executes = engine.executed() !== 0;
    const after = node.instructions + (executes ? 1 : 0);
    if (status === Status.OK) {
      node.next = this.#state();
      node.executes = executes;
      this.#put(this.#now, node.next, node, "step", after);
    } else if (status === Status.VIOLATION) {
      this.#violations.push({ instructions: after, property: engine.property() });
    } else if (status === Status.UNSUPPORTED) {
      this.#unsupported = true;
    }
    this.#scenario.events.forEach((_, rule) => {
      this.#goTo(node);
      if (!this.#machine.mayStrike(rule)) return;
      const status = this.#machine.inject(rule);
      if (status === Status.OK) this.#put(this.#later, this.#state(), node, rule, node.instructions);
      else if (status === Status.VIOLATION)
        this.#laterViolations.push({ instructions: node.instructions, property: engine.property() });
      else if (status === Status.UNSUPPORTED) this.#laterUnsupported = true;
    });
    this.#goTo(node);
    if (engine.mayHold()) {
      engine.hold();
      this.#put(this.#now, this.#state(), node, Special.HOLD, node.instructions);
    }
  }

  /** Plays a state's way from the initial state. */
  #goTo(node: Node): void {
    const actions: Action[] = [];
    for (let at: Node | undefined = node; at?.from; at = at.from) actions.push(at.action);
    const machine = this.#machine;
    machine.reset();
    if (this.#ram.compare(this.#initialRam) !== 0 || this.#undefined.compare(this.#initialUndefined) !== 0)
      throw new Error("going back to the initial state does not give the initial memory");
    for (const action of actions.reverse()) {
      let status: Status = Status.OK;
      if (action === "step") status = machine.step();
      else if (action === Special.HOLD) machine.engine.hold();
      else status = machine.inject(action);
      if (status !== Status.OK) throw new Error(`a step that was possible is no longer: ${Status[status]}`);
    }
  }

  /** The state in full: registers, contexts, memory and undefined bytes where they differ from the initial ones. */
  #state(): string {
    const machine = this.#machine;
    const parts: string[] = [];
    const registers = machine.registers();
    for (let word = 0; word < Reg.HASHED; word++)
      if (word !== Reg.CTXHASH) parts.push((registers[word] ?? 0n).toString(16));
    for (let at = Number(registers[Reg.CTX_TOP]); at !== 0; ) {
      for (let word: number = Ctx.BY; word < Ctx.COUNT; word++)
        parts.push(machine.view.getBigUint64(at + word * 8, true).toString(16));
      at = Number(machine.view.getBigUint64(at + Ctx.OUTER * 8, true));
    }
    for (let at = 0; at < this.#ram.length; at += PAGE) {
      if (this.#ram.compare(this.#initialRam, at, at + PAGE, at, at + PAGE) === 0) continue;
      for (let word = at; word < at + PAGE; word += 4)
        if (this.#ram.readUInt32LE(word) !== this.#initialRam.readUInt32LE(word))
          parts.push(`${word}=${this.#ram.readUInt32LE(word)}`);
    }
    for (let at = 0; at < this.#undefined.length; at += PAGE / 8) {
      const end = at + PAGE / 8;
      if (this.#undefined.compare(this.#initialUndefined, at, end, at, end) === 0) continue;
      for (let word = at; word < end; word++)
        if (this.#undefined[word] !== this.#initialUndefined[word]) parts.push(`${word}?${this.#undefined[word]}`);
    }
    return parts.join();
  }

  /** Endless runs through the states of one level in which something is always owed. */
  #circles(reached: readonly Node[]): number[] {
    const found: number[] = [];
    const colour = new Map<Node, number>();
    reached.forEach((start, number) => {
      let at: Node | undefined = start;
      while (at && !colour.has(at)) {
        colour.set(at, number);
        at = at.next === undefined ? undefined : this.#known.get(at.next);
      }
      if (!at || colour.get(at) !== number) return;
      const circle: Node[] = [];
      const first = at;
      do {
        circle.push(at);
        at = this.#known.get(at.next as string) as Node;
      } while (at !== first);
      if (circle.every(({ owed }) => owed))
        found.push(
          Math.min(...circle.map(({ instructions }) => instructions)) +
            circle.filter(({ executes }) => executes).length,
        );
    });
    return found;
  }
}
