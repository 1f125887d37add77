/**
 * Which groups have been given slots, and when, in versions of the map: what SCAN asks before it says that it
 * has seen everything.
 *
 * A lock counts as the beginning: a worker that has acknowledged it may be the last to hear that the slot
 * moves. What was before the first map is not known, so every group counts as given something then.
 */
import type { ClusterMap } from "../../topology/cluster-map.ts";

interface Gain {
  /** The latest move to the group began with this version. */
  begun: number;
  /** A move to the group was under way until this version; infinite while one is. */
  until: number;
}

/** By slot: who has it, and who will. */
interface Places {
  readonly owners: readonly string[];
  readonly targets: readonly (string | undefined)[];
}

export class MoveHistory {
  readonly #gains = new Map<string, Gain>();
  #last: Places | null = null;
  #version = 0;

  /** A map comes into force. */
  apply(map: ClusterMap): void {
    const now = placesOf(map);
    const last = this.#last;
    for (const { id } of map.groups) {
      const gain = this.#gains.get(id);
      if (gain === undefined) this.#gains.set(id, { begun: last === null ? map.version : 0, until: 0 });
      if (last === null) this.#ended(id, map.version);
      else if (gain?.until === Number.POSITIVE_INFINITY) this.#ended(id, map.version);
    }
    for (let slot = 0; slot < map.slots; slot++) this.#look(slot, now, last, map.version);
    this.#last = now;
    this.#version = map.version;
  }

  /** Groups that were the target of a move at any time since `version` was in force. */
  gainedSince(version: number): ReadonlySet<string> {
    return new Set([...this.#gains].filter(([, gain]) => gain.until > version).map(([id]) => id));
  }

  /** Whether a move has begun since `version` was in force. */
  begunSince(version: number): boolean {
    return [...this.#gains.values()].some((gain) => gain.begun > version);
  }

  /** The version in force. */
  get version(): number {
    return this.#version;
  }

  #look(slot: number, now: Places, last: Places | null, version: number): void {
    const target = now.targets[slot];
    if (target !== undefined) {
      const gain = this.#gains.get(target) as Gain;
      gain.until = Number.POSITIVE_INFINITY;
      if (last?.targets[slot] !== target) gain.begun = version;
    }
    // A move of which this worker has seen the end only.
    const owner = now.owners[slot];
    if (last === null || last.owners[slot] === owner || last.targets[slot] === owner) return;
    const gain = this.#gains.get(owner) as Gain;
    gain.begun = version;
    gain.until = Math.max(gain.until, version);
  }

  #ended(group: string, version: number): void {
    (this.#gains.get(group) as Gain).until = version;
  }
}

function placesOf(map: ClusterMap): Places {
  const owners: string[] = Array.from({ length: map.slots });
  const targets: (string | undefined)[] = Array.from({ length: map.slots });
  for (const range of map.ranges) {
    owners.fill(range.group, range.from, range.to + 1);
    if (range.move !== undefined) targets.fill(range.move.to, range.from, range.to + 1);
  }
  return { owners, targets };
}
