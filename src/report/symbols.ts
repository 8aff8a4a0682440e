// Addresses as `label+0x4`.

import type { Image } from "../scenario/types.js";
import { hex } from "./format.js";

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
    const name = section?.names.findLast(([, start]) => start <= address);
    if (!name) return hex(address);
    return name[1] === address ? name[0] : `${name[0]}+${hex(address - name[1])}`;
  };
}
