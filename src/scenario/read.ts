// From YAML text to a checked ScenarioFile in which every value still knows its file, line and column.

import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import * as v from "valibot";
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { InputError, type Location } from "../diagnostic.js";
import { type ScenarioFile, scenarioSchema } from "./schema.js";

export type Path = ReadonlyArray<string | number>;

/** A value of the file with where it stands. */
interface Node {
  readonly at: Location;
  /** where its key stands, for entries of maps */
  readonly key?: Location;
  readonly content: bigint | number | string | boolean | null | readonly Node[] | ReadonlyMap<string, Node>;
  /** texts: file, line and indentation of their first line */
  readonly text?: { readonly line: number; readonly indent: number };
}

/** Assembly text in a scenario file, for the assembler: its lines and columns are those of the file. */
export interface EmbeddedText {
  readonly file: string;
  readonly text: string;
  readonly startLine: number;
}

/** A checked scenario file with the places of its values. */
export class ScenarioSource {
  constructor(
    readonly file: string,
    readonly value: ScenarioFile,
    private readonly root: Node,
  ) {}

  /** Where the value of that path stands, or the nearest enclosing one that exists. */
  locate(path: Path): Location {
    return find(this.root, path).at;
  }

  /** Where the key stands that the path ends in. */
  locateKey(path: Path): Location {
    const node = find(this.root, path);
    return node.key ?? node.at;
  }

  error(path: Path, text: string, notes: readonly string[] = []): InputError {
    return new InputError(`${pathText(path)}: ${text}`, this.locate(path), notes);
  }

  /** The assembly text at that path. */
  text(path: Path): EmbeddedText {
    const node = find(this.root, path);
    const value = String(node.content);
    if (node.text === undefined) return { file: node.at.file, text: value, startLine: node.at.line ?? 1 };
    const { line, indent } = node.text;
    const pad = " ".repeat(indent);
    return { file: node.at.file, text: value.replace(/^(?=.)/gm, pad), startLine: line };
  }
}

/**
 * Reads and checks a scenario file, with the files that it extends. InputError: a file that cannot be read, YAML errors,
 * and every key or value that the schema does not allow.
 */
export function readScenario(file: string): ScenarioSource {
  const root = readTree(file, undefined, []);
  const result = v.safeParse(scenarioSchema, plain(root));
  if (result.success) return new ScenarioSource(file, result.output, root);
  throw schemaError(root, result.issues);
}

/** A path as a scenario file writes it: relative to that file's folder, or absolute. */
export function beside(file: string, path: string): string {
  return isAbsolute(path) ? path : join(dirname(file), path);
}

/** `path` is a scenario file, or a folder with a scenario.yaml in it. InputError when there is none. */
export function scenarioPath(path: string, from?: Location): string {
  if (!existsSync(path))
    throw new InputError(`${path} does not exist; expected a scenario file or a folder with scenario.yaml`, from);
  const found = statSync(path);
  if (found.isCharacterDevice()) throw new InputError(`${path} is a device; expected a scenario file`, from);
  if (!found.isDirectory()) return path;
  const inside = join(path, "scenario.yaml");
  if (!existsSync(inside)) throw new InputError(`no scenario.yaml in folder ${path}`, from);
  return inside;
}

/** The folder's name; for another file than scenario.yaml, with the file's name after it. */
export function scenarioName(file: string): string {
  const folder = basename(dirname(resolve(file)));
  const stem = basename(file).replace(/\.ya?ml$/, "");
  return stem === "scenario" ? folder : `${folder}/${stem}`;
}

function readTree(file: string, from: Location | undefined, chain: readonly string[]): Node {
  if (chain.includes(file))
    throw new InputError(`extends: ${file} extends itself (${[...chain, file].join(" -> ")})`, from);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    throw new InputError(`cannot read ${file} (${code})`, from ?? { file });
  }
  const node = parse(file, text);
  if (!(node.content instanceof Map)) throw new InputError("expected a map of scenario keys", node.at);
  const entries: ReadonlyMap<string, Node> = node.content;
  const base = entries.get("extends");
  if (base === undefined) {
    rejectNulls(node, []);
    return node;
  }
  if (typeof base.content !== "string") throw new InputError("extends: expected the path of a scenario file", base.at);
  const path = scenarioPath(beside(file, base.content), base.at);
  return merge(readTree(path, base.at, [...chain, file]), node, []);
}

function parse(file: string, text: string): Node {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, intAsBigInt: true, prettyErrors: false });
  const lines = text.split("\n");
  const at = (offset: number): Location => {
    const { line, col } = counter.linePos(offset);
    return { file, line, column: col };
  };
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const offset = problem.pos[0];
    if (problem.code === "DUPLICATE_KEY") {
      const key = /^[^\s:]*/.exec(text.slice(offset))?.[0] ?? "";
      throw new InputError(`duplicate key ${JSON.stringify(key)}`, at(offset));
    }
    if (problem.code === "MULTIPLE_DOCS") {
      throw new InputError("expected one YAML document; here a second one begins", at(offset));
    }
    throw new InputError(`YAML: ${problem.message}`, at(offset));
  }
  if (document.contents === null)
    throw new InputError("the file is empty; expected a map of scenario keys", { file, line: 1, column: 1 });

  const build = (node: unknown, parent: Location, key?: Location): Node => {
    const keyed = key === undefined ? {} : { key };
    if (isAlias(node)) {
      throw new InputError(
        "YAML aliases are not supported; write the value out, or use `extends`",
        at(node.range?.[0] ?? 0),
      );
    }
    if (isMap(node)) {
      const here = at(node.range?.[0] ?? 0);
      const entries = new Map<string, Node>();
      for (const pair of node.items) {
        if (!isScalar(pair.key)) throw new InputError("a key must be a single word or number", here);
        const keyAt = at(pair.key.range?.[0] ?? 0);
        entries.set(String(pair.key.value), build(pair.value, keyAt, keyAt));
      }
      return { at: here, content: entries, ...keyed };
    }
    if (isSeq(node)) {
      const here = at(node.range?.[0] ?? 0);
      return { at: here, content: node.items.map((item) => build(item, here)), ...keyed };
    }
    if (!isScalar(node)) return { at: parent, content: null, ...keyed };
    const here = node.range == null ? parent : at(node.range[0]);
    const content = node.value as bigint | number | string | boolean | null;
    if (typeof content !== "string" || here.line === undefined) return { at: here, content, ...keyed };
    const block = node.type === "BLOCK_LITERAL" || node.type === "BLOCK_FOLDED";
    return {
      at: here,
      content,
      text: block ? blockStart(lines, here.line, content) : { line: here.line, indent: 0 },
      ...keyed,
    };
  };
  return build(document.contents, { file, line: 1, column: 1 });
}

/** A block scalar's text begins on the line after its header, and YAML has removed its indentation. */
function blockStart(lines: readonly string[], header: number, content: string): { line: number; indent: number } {
  const texts = content.split("\n");
  const first = texts.findIndex((line) => line.trim() !== "");
  const spaces = (line: string) => line.length - line.trimStart().length;
  const indent = first < 0 ? 0 : spaces(lines[header + first] ?? "") - spaces(texts[first] ?? "");
  return { line: header + 1, indent: Math.max(0, indent) };
}

/** Maps are merged key by key; everything else is replaced; null removes an inherited key. */
function merge(base: Node, over: Node, path: Path): Node {
  if (!(base.content instanceof Map) || !(over.content instanceof Map)) {
    rejectNulls(over, path);
    return over;
  }
  const below: ReadonlyMap<string, Node> = base.content;
  const above: ReadonlyMap<string, Node> = over.content;
  const entries = new Map(below);
  for (const [key, node] of above) {
    const inherited = below.get(key);
    if (node.content === null) {
      if (inherited === undefined)
        throw new InputError(`${pathText([...path, key])}: null removes an inherited key, but there is none`, node.at);
      entries.delete(key);
    } else if (inherited !== undefined) {
      entries.set(key, merge(inherited, node, [...path, key]));
    } else {
      rejectNulls(node, [...path, key]);
      entries.set(key, node);
    }
  }
  return { ...over, content: entries };
}

function rejectNulls(node: Node, path: Path): void {
  if (node.content === null) throw new InputError(`${pathText(path)}: expected a value, found none`, node.at);
  if (node.content instanceof Map) {
    for (const [key, item] of node.content as ReadonlyMap<string, Node>) rejectNulls(item, [...path, key]);
  } else if (Array.isArray(node.content)) {
    (node.content as readonly Node[]).forEach((item, index) => {
      rejectNulls(item, [...path, index]);
    });
  }
}

function plain(node: Node): unknown {
  if (node.content instanceof Map) {
    const entries = [...(node.content as ReadonlyMap<string, Node>)].map(([key, item]) => [key, plain(item)] as const);
    return Object.fromEntries(entries);
  }
  if (Array.isArray(node.content)) return (node.content as readonly Node[]).map(plain);
  return node.content;
}

function child(node: Node, key: string | number): Node | undefined {
  if (node.content instanceof Map) return (node.content as ReadonlyMap<string, Node>).get(String(key));
  if (Array.isArray(node.content)) return (node.content as readonly Node[])[Number(key)];
  return undefined;
}

function find(root: Node, path: Path): Node {
  let node = root;
  for (const key of path) {
    const next = child(node, key);
    if (next === undefined) return node;
    node = next;
  }
  return node;
}

/** Keys only: which item of a list it is, the place tells. */
export function pathText(path: Path): string {
  return path.filter((part) => typeof part === "string").join(".");
}

interface Finding {
  readonly path: Path;
  readonly message: string;
  readonly key: boolean;
  readonly rank: number;
}

/** The first error of the file; an unknown key before the missing key that it was meant to be. */
function schemaError(root: Node, issues: readonly v.BaseIssue<unknown>[]): InputError {
  const findings = issues.map((issue) => finding(issue, []));
  const line = (entry: Finding) => {
    const { at } = find(root, entry.path);
    return [at.line ?? 0, at.column ?? 0] as const;
  };
  findings.sort((a, b) => {
    const [la, ca] = line(a);
    const [lb, cb] = line(b);
    return a.rank - b.rank || la - lb || ca - cb;
  });
  const first = findings[0] as Finding;
  const node = find(root, first.path);
  const missing = first.message.startsWith("missing key");
  const path = missing || first.key ? first.path.slice(0, -1) : first.path;
  const where = first.key && node.key !== undefined ? node.key : node.at;
  const found = first.message.startsWith("expected")
    ? `, found ${first.key ? JSON.stringify(first.path.at(-1)) : describe(node)}`
    : "";
  const prefix = path.length === 0 ? "" : `${pathText(path)}: `;
  return new InputError(`${prefix}${first.message}${found}`, where);
}

/** Of a union's failures the one that got furthest into the value says most; on a draw the union's own message does. */
function finding(issue: v.BaseIssue<unknown>, above: Path): Finding {
  const items = issue.path ?? [];
  const path = [...above, ...items.map((item) => item.key as string | number)];
  const last = items.at(-1) as { origin?: string } | undefined;
  const isKey = last?.origin === "key";
  if (issue.type === "union" && issue.issues !== undefined) {
    const inner = issue.issues.map((sub) => finding(sub, path)).filter((sub) => sub.path.length > path.length);
    inner.sort((a, b) => b.path.length - a.path.length || a.rank - b.rank);
    if (inner[0] !== undefined) return inner[0];
  }
  const unknown = issue.message.startsWith("unknown key");
  const missing = issue.message.startsWith("missing key");
  return { path, message: issue.message, key: isKey, rank: missing ? 2 : unknown ? 0 : 1 };
}

function describe(node: Node): string {
  if (node.content instanceof Map) return "a map";
  if (Array.isArray(node.content)) return "a list";
  if (typeof node.content === "string") {
    const text = node.content.length > 40 ? `${node.content.slice(0, 37)}...` : node.content;
    return JSON.stringify(text);
  }
  return String(node.content);
}
