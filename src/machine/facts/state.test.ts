import { describe, expect, it } from "vitest";
import { Prop, Status } from "../../engine/abi.js";
import { type Setup, type World, world } from "./harness.js";

const area: NonNullable<Setup["memory"]> = { area: { size: 4096n } };

/** A program with RBX at `area`. */
function about(program: string, setup: Setup = {}): World {
  const w = world({ program, memory: area, ...setup });
  w.set("rbx", w.symbol("area"));
  return w;
}

/** Makes words of `area` undefined. */
function forget(w: World, low: bigint, high: bigint): void {
  const at = w.machine.physical(w.symbol("area")) ?? 0;
  w.machine.engine.forgetBytes(at + Number(low), at + Number(high));
}

function mark(w: World): () => void {
  const place = w.machine.engine.newMark();
  w.machine.engine.save(place);
  return () => w.machine.engine.restore(place);
}

const print = (w: World) => w.machine.engine.fingerprint();

describe("undefined bytes", () => {
  it.each([
    ["mov (%rbx), %rax", true],
    ["mov 8(%rbx), %al", true],
    ["mov -4(%rbx), %rax", true],
    ["mov 12(%rbx), %rax", true],
    ["mov 16(%rbx), %rax", false],
    ["add %al, (%rbx)", true],
    ["cmpb $0, 15(%rbx)", true],
    ["mov %rax, (%rbx)", false],
  ])("`%s` of 16 undefined ones: stale read %s", (spelling, stale) => {
    const w = about(`go: ${spelling}\n`);
    w.set("rbx", w.symbol("area") + 16n);
    forget(w, 16n, 32n);
    expect(w.step()).toBe(stale ? Status.VIOLATION : Status.OK);
    if (stale) expect(w.machine.engine.property()).toBe(Prop.STALE_READ);
  });

  it("a write makes the bytes it covers defined, and no others", () => {
    const w = about("movw $0x1234, 2(%rbx)\nmov 2(%rbx), %ax\nmov 3(%rbx), %cl\nmov 1(%rbx), %al\n");
    forget(w, 0n, 8n);
    expect([w.step(), w.step(), w.step(), w.step()]).toEqual([Status.OK, Status.OK, Status.OK, Status.VIOLATION]);
    expect([w.reg("rax") & 0xffffn, w.reg("rcx") & 0xffn]).toEqual([0x1234n, 0x12n]);
  });

  it("also across two words", () => {
    const w = about("mov %rax, 5(%rbx)\nmov 5(%rbx), %rcx\nmov 4(%rbx), %al\n");
    forget(w, 0n, 16n);
    expect([w.step(), w.step(), w.step()]).toEqual([Status.OK, Status.OK, Status.VIOLATION]);
    expect(w.reg("rcx")).toBe(w.reg("rax"));
  });

  it("popping one is a stale read too, and so is returning through one", () => {
    for (const spelling of ["pop %rax", "iretq", "ret", "popf"]) {
      const w = about(`go: ${spelling}\n`);
      w.set("rsp", w.symbol("area"));
      forget(w, 0n, 64n);
      expect(w.step(), spelling).toBe(Status.VIOLATION);
    }
  });

  it("what they held does not tell states apart, and becoming undefined can be rolled back", () => {
    const w = about("go: mov %rax, (%rbx)\nthen: nop\n");
    const back = mark(w);
    const prints = [1n, 2n].map((value) => {
      back();
      w.set("rax", value);
      w.step();
      w.set("rax", 0n);
      const defined = print(w);
      forget(w, 0n, 8n);
      return [defined, print(w)];
    });
    expect(prints[0]?.[0]).not.toBe(prints[1]?.[0]);
    expect(prints[0]?.[1]).toBe(prints[1]?.[1]);
    expect(prints[0]?.[0]).not.toBe(prints[0]?.[1]);
    back();
    w.set("rip", w.symbol("go"));
    expect([w.read("area"), w.step()]).toEqual([0n, Status.OK]);
  });

  it("persistent slots of a stack stay defined", () => {
    const setup: Setup = {
      stacks: { keep: { size: 4096n, persistent: [[-16n, -8n]] } },
      properties: [Prop.STALE_READ],
    };
    const w = world({ ...setup, program: "go: mov -16(%rbx), %rax\nmov -8(%rbx), %rax\n" });
    w.set("rbx", w.symbol("keep_stack_top"));
    expect([w.step(), w.step()]).toEqual([Status.OK, Status.VIOLATION]);
  });

  it("discarded words read as zero and keep no write", () => {
    const w = about("incl (%rbx)\nmov (%rbx), %eax\nincl 8(%rbx)\n", { scenario: { discarded: [["area", 8]] } });
    w.step(3);
    expect([w.reg("rax"), w.read("area"), w.read("area+8")]).toEqual([0n, 0n, 1n]);
  });
});

describe("marks and fingerprints", () => {
  const PROGRAM = `go: mov %rax, (%rbx)
    push %rax
    mov %rax, %cr2
    swapgs
    int3
    nop`;

  it("after a restore everything is as it was", () => {
    const w = about(PROGRAM);
    const back = mark(w);
    const before = print(w);
    const registers = w.machine.registers();
    const seen = new Set([before]);
    for (let i = 0; i < 7; i++) {
      w.step();
      seen.add(print(w));
    }
    expect(seen.size).toBe(8); // each step leads to another state
    back();
    expect(print(w)).toBe(before);
    expect(w.machine.registers()).toEqual(registers);
    expect(w.read("area")).toBe(0n);
  });

  it("a second run gives the same states in the same order", () => {
    const w = about(PROGRAM);
    const back = mark(w);
    const run = () =>
      Array.from({ length: 7 }, () => {
        w.step();
        return print(w);
      });
    const first = run();
    back();
    expect(run()).toEqual(first);
  });

  it("marks nest", () => {
    const w = about(PROGRAM);
    const outer = mark(w);
    const start = print(w);
    w.step(2);
    const inner = mark(w);
    const middle = print(w);
    w.step(4);
    inner();
    expect(print(w)).toBe(middle);
    outer();
    expect(print(w)).toBe(start);
  });

  it.each([
    [
      "two ways to the same memory",
      "movl $1, (%rbx)\nmovl $2, 4(%rbx)\nend: nop\n",
      "movl $2, 4(%rbx)\nmovl $1, (%rbx)\nend: nop\n",
    ],
    [
      "bytes one by one, or a word",
      "movw $0x0201, (%rbx)\nnop\nend: nop\n",
      "movb $1, (%rbx)\nmovb $2, 1(%rbx)\nend: nop\n",
    ],
    ["a write that is undone", "nop\nend: nop\n", "movb $1, (%rbx)\nmovb $0, (%rbx)\nend: nop\n"],
    ["registers moved about", "xchg %rcx, %rdx\nxchg %rcx, %rdx\nend: nop\n", "nop\nend: nop\n"],
    [
      "a cold register set and set back",
      "mov %cr2, %rcx\nmov %rdx, %cr2\nmov %rcx, %cr2\nend: nop\n",
      "mov $0, %ecx\nend: nop\n",
    ],
  ])("equal states have equal fingerprints: %s", (_, one, other) => {
    // both texts stand in one machine, so that memory is the same but for what they write
    const stretch = (text: string, n: number) => text.replace("end: nop\n", `jmp end\n`).replace(/^/, `way${n}: `);
    const w = about(`${stretch(one, 1)}${stretch(other, 2)}end: nop\n`);
    const back = mark(w);
    const prints = [1, 2].map((n) => {
      back();
      w.set("rip", w.symbol(`way${n}`));
      w.run("end");
      return print(w);
    });
    expect(prints[0]).toBe(prints[1]);
  });

  it.each([
    ["a general register", (w: World) => w.set("r15", 1n)],
    ["RIP", (w: World) => w.set("rip", w.rip + 1n)],
    ["a flag", (w: World) => w.set("rflags", w.flags | 1n)],
    ["a blocked NMI", (w: World) => w.set("state", w.reg("state") | 4n)],
    ["a segment base", (w: World) => w.set("gs_base", 1n)],
    ["CR2", (w: World) => w.set("cr2", 1n)],
    ["DR7", (w: World) => w.set("dr7", 0x401n)],
    ["an MSR", (w: World) => w.set("lstar", 1n)],
    ["a pending debug trap", (w: World) => w.set("pending_db", 1n << 32n)],
  ])("%s tells states apart", (_, change) => {
    const w = about("nop\n");
    const before = print(w);
    change(w);
    expect(print(w)).not.toBe(before);
  });

  it("the same value at another address is another state", () => {
    const w = about("way1: movb $1, (%rbx)\njmp end\nway2: movb $1, 8(%rbx)\njmp end\nend: nop\n");
    const back = mark(w);
    const prints = ["way1", "way2"].map((label) => {
      back();
      w.set("rip", w.symbol(label));
      w.run("end");
      return print(w);
    });
    expect(prints[0]).not.toBe(prints[1]);
  });

  it("the list of contexts is part of the state", () => {
    const w = about("one: nop\ntwo: nop\n", { kernel: "on_nmi: mov $0, %ebx\nend: hlt\n" });
    const back = mark(w);
    const prints = ["one", "two"].map((label) => {
      back();
      w.set("rip", w.symbol(label));
      w.inject("nmi");
      w.step();
      w.write(w.rsp, 0n); // the frames differ in RIP only: make memory the same
      w.set("mem_hash", 0n);
      return print(w);
    });
    expect(prints[0]).not.toBe(prints[1]);
  });
});
