// Values of options, checked as they are read.

import { InvalidArgumentError, Option } from "commander";

/** A whole number of at least 1. */
export function positiveInteger(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value < 1 || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("Expected a whole number of at least 1.");
  return value;
}

/** Seconds above 0, with or without a fraction. */
export function seconds(text: string): number {
  const value = /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : 0;
  if (value <= 0) throw new InvalidArgumentError("Expected a number of seconds above 0.");
  return value;
}

/** `512M` in bytes: a whole number and K, M or G (powers of 1024), or bytes. */
export function byteSize(text: string): number {
  const match = /^(\d+)([KMG]?)$/i.exec(text);
  const unit = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[(match?.[2] ?? "").toUpperCase()] ?? 1;
  const value = Number(match?.[1] ?? 0) * unit;
  if (value < 1 || !Number.isSafeInteger(value)) throw new InvalidArgumentError("Expected a size such as 512M or 2G.");
  return value;
}

/** 32 or 64. */
export function mode(text: string): 32 | 64 {
  if (text !== "32" && text !== "64") throw new InvalidArgumentError("Expected 32 or 64.");
  return text === "32" ? 32 : 64;
}

/** --mode, as its commands share it. */
export function modeOption(what: string): Option {
  return new Option("--mode <bits>", `bits ${what}`).choices(["32", "64"]).argParser(mode);
}

/** One more `NAME=NUMBER`. */
export function definition(text: string, before: ReadonlyMap<string, bigint>): Map<string, bigint> {
  const match = /^([A-Za-z_.$][\w.$]*)=(-?)(0x[0-9a-f]+|\d+)$/i.exec(text);
  if (!match?.[1] || !match[3]) throw new InvalidArgumentError("Expected NAME=NUMBER.");
  const value = BigInt(match[3].toLowerCase());
  return new Map(before).set(match[1], match[2] ? -value : value);
}

/** Bytes as hex digits, with or without spaces, commas and `0x`. */
export function hexBytes(text: string): Uint8Array {
  const digits = text.replace(/0x/gi, "").replace(/[\s,]/g, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits)) throw new InvalidArgumentError('Expected bytes in hex, such as "48 cf".');
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
