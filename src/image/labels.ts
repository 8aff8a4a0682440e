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
  const sections = image.sections.map((section) => {
    const high = section.address + BigInt(section.bytes.length);
    const names = [...image.symbols]
      .filter(([, address]) => section.address <= address && address < high)
      .sort(([, a], [, b]) => (a < b ? -1 : a > b ? 1 : 0));
    return { low: section.address, high, names };
  });
  return (address) => {
    const section = sections.find(({ low, high }) => low <= address && address < high);
    const after = section ? firstAtOrAbove(section.names, address + 1n, ([, start]) => start) : 0;
    const name = section?.names[after - 1];
    if (!name) return `0x${address.toString(16)}`;
    return name[1] === address ? name[0] : `${name[0]}+0x${(address - name[1]).toString(16)}`;
  };
}
