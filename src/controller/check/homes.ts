/** Where a key belongs: pure, from the map and the bytes of the key. */
import { writeLatin1 } from "../../base/bytes.ts";
import { encodeBase64Url } from "../../contract/key-encoding.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { ClusterMap, SlotRange } from "../../topology/cluster-map.ts";

/** A slot's place: `to` is where its keys are going, while they move. */
export interface Home {
  readonly slot: number;
  readonly group: string;
  readonly to: string | null;
}

export class Homes {
  readonly #slotMask: number;
  /** By slot. */
  readonly #ranges: SlotRange[] = [];
  #scratch = new Uint8Array(1024);

  constructor(map: ClusterMap) {
    this.#slotMask = map.slots - 1;
    for (const range of map.ranges) {
      for (let slot = range.from; slot <= range.to; slot++) this.#ranges[slot] = range;
    }
  }

  /** `key`: one character per byte, as replies are decoded. */
  of(key: string): Home {
    if (key.length > this.#scratch.length) this.#scratch = new Uint8Array(key.length * 2);
    writeLatin1(this.#scratch, 0, key);
    const slot = slotOf(this.#scratch, 0, key.length, this.#slotMask);
    const range = this.#ranges[slot];
    return { slot, group: range.group, to: range.move?.to ?? null };
  }

  /** Whether a key may be in `group`: of a slot that moves, at both ends. */
  fits(home: Home, group: string): boolean {
    return home.group === group || home.to === group;
  }
}

/** Slots that no group serves, or more than one; empty in every map that passed its checks. */
export function badSlots(map: ClusterMap): string[] {
  const owners: string[][] = Array.from({ length: map.slots }, () => []);
  const known = new Set(map.groups.map((group) => group.id));
  for (const range of map.ranges) {
    for (let slot = range.from; slot <= range.to && slot < map.slots; slot++) owners[slot].push(range.group);
  }
  return owners.flatMap((groups, slot) => {
    if (groups.length === 0) return [`slot ${slot} is served by no group`];
    if (groups.length > 1) return [`slot ${slot} is served by ${groups.join(" and ")}`];
    return known.has(groups[0]) ? [] : [`slot ${slot} belongs to ${groups[0]}, which does not exist`];
  });
}

/** A key for reading: everything but printable ASCII as \xHH. */
export function showKey(key: string): string {
  return key.replace(/[^\x21-\x7e]|\\/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** A key's bytes in base64url, for JSON. */
export function encodeKey(key: string): string {
  const bytes = new Uint8Array(key.length);
  writeLatin1(bytes, 0, key);
  return encodeBase64Url(bytes);
}
