// Every scenario against every threat, as a table and as a document.

import type { CellResult, Matrix, MatrixCell, MatrixRow } from "../check/matrix.js";
import type { Outcome } from "../check/types.js";
import type { Palette } from "./colour.js";
import { duration, plural } from "./format.js";

const WIDTH = 120;
const GAP = 2;

/** `holds`, `resume@2`, `incomplete`, or `-` where the threat does not apply. */
export function cellText(cell: MatrixCell): string {
  if (!cell.applies) return "-";
  return cell.result ? resultText(cell.result) : "?";
}

/** True when the file says what is expected and something else came out. Parts that the file leaves out may be anything. */
export function differs({ applies, result, expected }: MatrixCell): boolean {
  if (!expected) return false;
  if (!applies) return true;
  if (!result) return false;
  const { verdict, property, events } = expected;
  return (
    result.verdict !== verdict ||
    (property !== undefined && result.property !== property) ||
    (events !== undefined && result.events !== events)
  );
}

/** 0: all as expected; 1: a cell differs; 3: a cell stayed open. */
export function matrixStatus(matrix: Matrix): 0 | 1 | 3 {
  const cells = allCells(matrix);
  if (cells.some(differs)) return 1;
  return matrix.interrupted || cells.some(isOpen) ? 3 : 0;
}

/** The table, the totals, and a note for each cell that is not as the file says. */
export function matrixText(matrix: Matrix, colours: Palette): string {
  const { threats, rows, seconds } = matrix;
  const columns = threats.map((threat, index) =>
    Math.max(threat.length, ...rows.map((row) => cellText(row.cells[index] as MatrixCell).length + 1)),
  );
  const program = Math.max("program".length, ...rows.map((row) => row.program.length));
  const taken = program + columns.reduce((sum, width) => sum + width + GAP, GAP);
  const room = Math.max(12, WIDTH - taken);
  const first = Math.min(room, Math.max("scenario".length, ...rows.map((row) => row.scenario.length)));
  const line = (scenario: string, name: string, cells: readonly string[]) =>
    [shorten(scenario, first), name.padEnd(program), ...cells].join(" ".repeat(GAP)).trimEnd();

  const head = line(
    "scenario",
    "program",
    threats.map((threat, index) => threat.padEnd(columns[index] ?? 0)),
  );
  const body = rows.map((row) =>
    line(
      row.scenario,
      row.program,
      row.cells.map((cell, index) => paint(cell, columns[index] ?? 0, colours)),
    ),
  );
  const cells = allCells(matrix);
  const wrong = rows.flatMap((row) => row.cells.filter(differs).map((cell) => colours.bad(note(row, cell))));
  const open = rows.flatMap((row) => row.cells.filter(isOpen).map((cell) => colours.warn(openNote(row, cell))));
  return `${[
    colours.strong(head),
    ...body,
    "",
    `${totals(cells)} in ${duration(seconds)}${matrix.interrupted ? " (interrupted)" : ""}`,
    ...wrong,
    ...open,
  ].join("\n")}\n`;
}

/** The document of `matrix --json`. */
export function matrixJson(matrix: Matrix) {
  return {
    threats: matrix.threats,
    rows: matrix.rows.map(({ scenario, program, cells }) => ({
      scenario,
      program,
      cells: cells.map((cell) => {
        const { result, ...rest } = cell;
        return { ...rest, ...result, differs: differs(cell) };
      }),
    })),
    seconds: matrix.seconds,
    interrupted: matrix.interrupted,
    differing: allCells(matrix).filter(differs).length,
  };
}

function allCells(matrix: Matrix): MatrixCell[] {
  return matrix.rows.flatMap((row) => row.cells);
}

function isOpen({ applies, result }: MatrixCell): boolean {
  return applies && (result === undefined || result.verdict === "incomplete" || result.verdict === "unsupported");
}

/** `holds`, `resume@2`, `incomplete` */
export function resultText({ verdict, property, events }: CellResult): string {
  if (verdict !== "violated") return verdict;
  return `${property ?? verdict}${events === undefined ? "" : `@${events}`}`;
}

function paint(cell: MatrixCell, width: number, { good, bad, warn, quiet, strong }: Palette): string {
  const text = `${cellText(cell)}${differs(cell) ? "!" : ""}`;
  return `${colour(text)}${" ".repeat(Math.max(0, width - text.length))}`;

  function colour(plain: string): string {
    if (differs(cell)) return strong(bad(plain));
    if (!cell.applies || !cell.result) return quiet(plain);
    if (cell.result.verdict === "holds") return good(plain);
    return (cell.result.verdict === "violated" ? bad : warn)(plain);
  }
}

function totals(cells: readonly MatrixCell[]): string {
  const checked = cells.filter((cell) => cell.result);
  const of = (verdict: Outcome) => checked.filter((cell) => cell.result?.verdict === verdict).length;
  const parts = (["holds", "violated", "incomplete", "unsupported"] as const)
    .map((verdict) => [of(verdict), verdict === "holds" ? "hold" : verdict] as const)
    .filter(([number], index) => index < 2 || number > 0)
    .map(([number, word]) => `${number} ${word}`);
  return `${plural(checked.length, "check")}: ${parts.join(", ")}`;
}

function note(row: MatrixRow, cell: MatrixCell): string {
  const expected = cell.expected ? resultText(cell.expected) : "";
  const found = cell.applies ? cellText(cell) : "the threat does not apply";
  return `differs: ${row.scenario}, ${row.program}, ${cell.threat}: expected ${expected}, found ${found}`;
}

function openNote(row: MatrixRow, cell: MatrixCell): string {
  const why = cell.result
    ? `${cell.result.verdict}${cell.reason === undefined ? "" : `: ${cell.reason}`}`
    : "not checked";
  return `open: ${row.scenario}, ${row.program}, ${cell.threat}: ${why}`;
}

/** Keeps the end of a long name: folders differ at the end. */
function shorten(text: string, width: number): string {
  return text.length > width ? `..${text.slice(text.length - width + 2)}` : text.padEnd(width);
}
