// Addresses as `label+0x4`.

import type { Image } from "./image.js";

/** Index of the first item, of items in ascending order, whose key is `least` or more; their number when there is none. */
export function firstAtOrAbove<T, K extends number | bigint>(
  items: readonly T[],
  least: K,
  key: (item: T) => K,
): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (key(items[middle] as T) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

export type Label = (address: bigint) => string;

/**
 * Names addresses by the nearest symbol below them in the same section; other addresses stay numbers. Absolute symbols
 * (a scenario's `define`) lie in no section and name nothing.
 */
export function labeller(image: Image): Label {
  const symbols = [...image.symbols].sort(([, a], [, b]) => (a < b ? -1 : a > b ? 1 : 0));
  const address = ([, value]: readonly [string, bigint]) => value;
  return (at) => {
    const section = image.sections.find((one) => one.address <= at && at < one.address + BigInt(one.bytes.length));
    const name = symbols[firstAtOrAbove(symbols, at + 1n, address) - 1];
    if (!section || !name || name[1] < section.address) return `0x${at.toString(16)}`;
    return name[1] === at ? name[0] : `${name[0]}+0x${(at - name[1]).toString(16)}`;
  };
}
