// The search of one level, as a machine that can stop anywhere: take a parent chain, walk it again from its start, and at
// each boundary that it owns branch off one chain for each event that may strike there.

import { Chain, ChainFlag, Ctl, Result, Special, Status } from "../abi";
import { Config } from "../cpu/config";
import { M } from "../cpu/state";
import { hold, inject, mayHold, mayStrike, step, tagsAhead } from "../cpu/step";
import { chain, dropGrant, nextNumber, takeNumber } from "./chains";
import { fingerprint, MARK_BYTES, restore, save } from "./marks";
import { countStates, Found, lookup, Visit, visit } from "./table";

enum Phase {
  /** take the next parent */
  NEXT = 0,
  /** go to the parent's start: forward on the chain around it to where the next one branches off */
  APPROACH,
  /** walk the parent */
  WALK,
  /** branch off for the events that may strike at this boundary */
  BRANCH,
  /** go on to the parent's next boundary */
  ONWARD,
  /** run the branched chain: its state is to be entered, then a step taken */
  VISIT,
  STEP,
}

/** At most this many chains on the way from the initial state to a boundary. */
export const MAX_PATH: i32 = 512;

/** The chains on the way to where the machine is: number, start mark, and the last boundary at which one branched off. */
class Path {
  static entries: usize = 0;
  /** entries in use */
  static depth: i32 = 0;

  static entry(n: i32): usize {
    return Path.entries + <usize>n * PATH_ENTRY;
  }
}
const START: usize = 16;
const WALKED: usize = START + MARK_BYTES;
export const PATH_ENTRY: usize = WALKED + MARK_BYTES + 16;
/** u32 fields of an entry: chain number; boundaries at the walked mark (or NO_MARK) */
const NUMBER: usize = 0;
const WALKED_AT: usize = 4;
/** u32: instructions from the initial state at the walked mark */
const WALKED_DISTANCE: usize = 8;
const NO_MARK: u32 = 0xffffffff;
/** number of the first chain: that of the first grant */
const FIRST: u32 = 64;

class W {
  static phase: i32 = Phase.NEXT;
  /** only the choices of the running level are followed, not its events */
  static choices: bool = false;
  /** ancestors of the parent, outermost first (u32 chain numbers), and how many */
  static ancestors: usize = 0;
  static ancestorCount: i32 = 0;
  static parent: u32 = 0;
  /** boundaries and instructions to where the machine is on the chain being walked */
  static position: u32 = 0;
  static distance: u32 = 0;
  static rule: i32 = 0;
  static tags: u32 = 0;
  // the chain being run
  static number: u32 = 0;
  static event: u32 = 0;
  static length: u32 = 0;
  static childDistance: u32 = 0;
  static recorded: bool = false;
  /** the state before the step was new: its instruction counts */
  static fresh: bool = false;
  static results: usize = 0;
}

/** Address of the results of this worker (Result), zeroed at `beginLevel`. */
export function results(): usize {
  return W.results;
}

export function configureSearch(path: usize, ancestors: usize, resultBlock: usize): void {
  Path.entries = path;
  Path.depth = 0;
  W.ancestors = ancestors;
  W.results = resultBlock;
}

/** The path starts with the first chain. Marks beyond its start are given up: the host may have moved the machine. */
function resetPath(): void {
  const entry = Path.entry(0);
  if (Path.depth == 0) save(entry + START);
  store<u32>(entry, FIRST, NUMBER);
  store<u32>(entry, NO_MARK, WALKED_AT);
  Path.depth = 1;
}

/** Starts a level (or, with `choices`, one more round of it). The first time, the machine must be in its initial state. */
export function beginLevel(choices: bool): void {
  memory.fill(W.results, 0, Result.SIZEOF);
  resetPath();
  W.phase = Phase.NEXT;
  W.choices = choices;
  dropGrant();
}

/** Starts level 0: the first chain, from the initial state, which the machine must be in. */
export function beginFirst(): void {
  memory.fill(W.results, 0, Result.SIZEOF);
  resetPath();
  W.parent = 0;
  W.position = 0;
  W.distance = 0;
  branchOff(0);
}

function add(result: i32, by: u64): void {
  store<u64>(W.results + result, load<u64>(W.results + result) + by);
}

/** Works until the level is done, `budget` steps are used up, or the host is needed. */
export function work(budget: u32): Status {
  const status = workOn(budget);
  countStates();
  return status;
}

function workOn(budget: u32): Status {
  while (true) {
    if (budget-- == 0) return Status.PAUSED;
    if ((budget & 255) == 0 && atomic.load<u32>(Ctl.STOP) != 0) return Status.PAUSED;
    switch (W.phase) {
      case Phase.NEXT:
        if (!nextParent()) return Status.DONE;
        break;
      case Phase.APPROACH: {
        const status = approach();
        if (status != Status.OK) return status;
        break;
      }
      case Phase.WALK: {
        const status = walk();
        if (status != Status.OK) return status;
        break;
      }
      case Phase.BRANCH:
        branch();
        break;
      case Phase.ONWARD: {
        const status = onward();
        if (status != Status.OK) return status;
        break;
      }
      case Phase.VISIT:
        if (enter() == Visit.FULL) return Status.TABLE_FULL;
        break;
      default: {
        const status = advance();
        if (status != Status.OK) return status;
        break;
      }
    }
  }
}

function nextParent(): bool {
  const place = atomic.add<u32>(Ctl.NEXT_PARENT, 1);
  if (place >= load<u32>(Ctl.PARENT_COUNT)) return false;
  W.parent = load<u32>(<usize>load<u32>(Ctl.PARENTS) + ((<usize>place) << 2));
  let count = 0;
  for (let number = W.parent; number != 0; number = load<u32>(chain(number), Chain.PARENT)) count++;
  W.ancestorCount = count;
  let at = count;
  for (let number = W.parent; number != 0; number = load<u32>(chain(number), Chain.PARENT)) {
    at--;
    store<u32>(W.ancestors + ((<usize>at) << 2), number);
  }
  let shared = 0;
  while (shared < Path.depth && shared < count && load<u32>(Path.entry(shared), NUMBER) == ancestor(shared)) shared++;
  // the first chain is always on the path
  Path.depth = shared;
  resumeEntry(shared - 1);
  W.phase = Phase.APPROACH;
  return true;
}

function ancestor(n: i32): u32 {
  return load<u32>(W.ancestors + ((<usize>n) << 2));
}

/** Puts the machine on chain n of the path, as far along as the next branching allows. */
function resumeEntry(n: i32): void {
  const entry = Path.entry(n);
  const last = Path.depth == W.ancestorCount;
  const wanted: u32 = last ? 0 : load<u32>(chain(ancestor(n + 1)), Chain.POSITION);
  const walkedAt = load<u32>(entry, WALKED_AT);
  if (walkedAt != NO_MARK && walkedAt <= wanted) {
    restore(entry + WALKED);
    W.position = walkedAt;
    W.distance = load<u32>(entry, WALKED_DISTANCE);
  } else {
    restore(entry + START);
    W.position = 0;
    W.distance = load<u32>(chain(load<u32>(entry, NUMBER)), Chain.DISTANCE);
    store<u32>(entry, NO_MARK, WALKED_AT);
  }
}

function markWalked(): void {
  const entry = Path.entry(Path.depth - 1);
  save(entry + WALKED);
  store<u32>(entry, W.position, WALKED_AT);
  store<u32>(entry, W.distance, WALKED_DISTANCE);
}

/** One step further on the chain being walked. */
function walkStep(): Status {
  const status = step();
  if (status != Status.OK) return status;
  W.position++;
  if (M.executed) W.distance++;
  return Status.OK;
}

function approach(): Status {
  if (Path.depth == W.ancestorCount) {
    W.phase = Phase.WALK;
    return Status.OK;
  }
  const next = ancestor(Path.depth);
  const record = chain(next);
  if (W.position < load<u32>(record, Chain.POSITION)) return walkStep();
  markWalked();
  strike(load<u32>(record, Chain.EVENT));
  const entry = Path.entry(Path.depth);
  store<u32>(entry, next, NUMBER);
  store<u32>(entry, NO_MARK, WALKED_AT);
  save(entry + START);
  Path.depth++;
  W.position = 0;
  return Status.OK;
}

function strike(event: u32): Status {
  if (event != Special.HOLD) return inject(<i32>event);
  hold();
  M.fault = -1;
  return Status.OK;
}

/** Is the state at this boundary of the parent still its own? All are, unless another chain took some over. */
function ownsState(): bool {
  if ((load<u32>(chain(W.parent), Chain.FLAGS) & ChainFlag.ROBBED) == 0) return true;
  return <u32>lookup(fingerprint()) == W.parent;
}

/** At a boundary of the parent: branch off if it is the parent's own, else go on. */
function walk(): Status {
  if (ownsState()) {
    const tags = aheadTags();
    if (M.request != 0) return Status.DECODE;
    W.tags = tags;
    W.rule = 0;
    markWalked();
    W.phase = Phase.BRANCH;
    return Status.OK;
  }
  W.phase = Phase.ONWARD;
  return Status.OK;
}

/** Tags of the boundary; where no instruction can be fetched, events that may strike anywhere still do. */
function aheadTags(): u32 {
  const tags = tagsAhead();
  return tags == 0 ? Config.anywhere : tags;
}

function onward(): Status {
  if (W.position >= load<u32>(chain(W.parent), Chain.LENGTH)) {
    W.phase = Phase.NEXT;
    return Status.OK;
  }
  const status = walkStep();
  if (status == Status.OK) W.phase = Phase.WALK;
  else if (status != Status.DECODE) {
    W.phase = Phase.NEXT; // the chain ended here when it was run
    return Status.OK;
  }
  return status;
}

/** Branches off the next chain at this boundary, or goes on along the parent. */
function branch(): void {
  if (W.choices) {
    if (W.rule == 0 && mayHold()) {
      W.rule = 1;
      start(Special.HOLD);
      return;
    }
  } else {
    while (W.rule < Config.ruleCount) {
      const rule = W.rule++;
      if (mayStrike(rule, W.tags)) {
        add(Result.CHAINS, 1);
        start(rule);
        return;
      }
    }
  }
  W.phase = Phase.ONWARD;
}

function branchOff(event: u32): void {
  W.number = nextNumber();
  W.event = event;
  W.length = 0;
  W.childDistance = W.distance;
  W.recorded = false;
  W.fresh = false;
  W.phase = Phase.VISIT;
}

function start(event: u32): void {
  branchOff(event);
  const status = strike(event);
  if (status == Status.VIOLATION) violation();
  else if (status == Status.UNSUPPORTED) cannot();
}

/** The chain is over: back to where it branched off. */
function finish(): void {
  if (W.parent == 0) {
    W.phase = Phase.NEXT; // the first chain: there is nothing to go back to
    return;
  }
  restore(Path.entry(Path.depth - 1) + WALKED);
  W.phase = Phase.BRANCH;
}

function enter(): Visit {
  if (W.number == 0) return Visit.FULL;
  const found = visit(fingerprint(), W.childDistance, W.number);
  if (found == Visit.FULL) return found;
  if (found == Visit.KNOWN) {
    if (W.recorded) store<u32>(chain(W.number), Found.owner, Chain.NEXT);
    finish();
    return found;
  }
  if (!W.recorded) {
    const record = chain(W.number);
    takeNumber();
    W.recorded = true;
    store<u32>(record, W.parent, Chain.PARENT);
    store<u32>(record, W.position, Chain.POSITION);
    store<u32>(record, W.event, Chain.EVENT);
    store<u32>(record, W.distance, Chain.DISTANCE);
    store<u32>(record, 0, Chain.NEXT);
    atomic.or<u32>(record + Chain.FLAGS, ChainFlag.USED);
  }
  store<u32>(chain(W.number), W.length, Chain.LENGTH);
  W.fresh = found == Visit.NEW;
  if (W.fresh) add(Result.STATES, 1);
  if (mayHold()) atomic.or<u32>(chain(W.number) + Chain.FLAGS, ChainFlag.CHOICE);
  W.phase = Phase.STEP;
  return found;
}

/** One step of the chain being run. */
function advance(): Status {
  const status = step();
  if (status == Status.DECODE) return status;
  if (M.executed) {
    W.childDistance++;
    if (W.fresh) add(Result.INSTRUCTIONS, 1);
  }
  W.length++;
  if (status == Status.OK) W.phase = Phase.VISIT;
  else if (status == Status.VIOLATION) violation();
  else if (status == Status.UNSUPPORTED) cannot();
  else finish();
  return Status.OK;
}

/** Keeps the shortest violation of the level. */
function violation(): void {
  const known = load<u64>(W.results + Result.VIOLATED) != 0;
  if (!known || <u64>W.childDistance < load<u64>(W.results + Result.DISTANCE)) {
    store<u64>(W.results + Result.VIOLATED, 1);
    store<u64>(W.results + Result.DISTANCE, W.childDistance);
    store<u64>(W.results + Result.PARENT, W.parent);
    store<u64>(W.results + Result.POSITION, W.position);
    store<u64>(W.results + Result.EVENT, W.event);
  }
  finish();
}

function cannot(): void {
  if (load<u64>(W.results + Result.UNSUPPORTED) == 0) {
    store<u64>(W.results + Result.UNSUPPORTED, 1);
    store<u64>(W.results + Result.U_PARENT, W.parent);
    store<u64>(W.results + Result.U_POSITION, W.position);
    store<u64>(W.results + Result.U_EVENT, W.event);
  }
  finish();
}
