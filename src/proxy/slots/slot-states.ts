/**
 * What a map says of slots that are not simply served, slot by slot.
 *
 *   serving ──▶ requests go to the slot's group
 *   locked  ──▶ requests wait: the slot is about to move, or a group that it needs is held for a switchover
 *   moving  ──▶ requests go to the target, once the key has been pulled from the source (../moving/)
 *
 * Pure. A map without moves makes a table that says `unsettled: false`, and nobody asks further.
 */
import type { ClusterMap, MapGroup, SlotRange } from "../../topology/cluster-map.ts";

export const SLOT_SERVING = 0;
export const SLOT_LOCKED = 1;
export const SLOT_MOVING = 2;

/** From where to where keys are on their way. Slots that share both share the object. */
export interface SlotMove {
  readonly source: MapGroup;
  readonly target: MapGroup;
}

export class SlotStates {
  /** Whether any slot is not simply served. */
  readonly unsettled: boolean;
  /** The moves that are under way: source and target, each pair once. */
  readonly moves: readonly SlotMove[];
  /** Groups that slots leave, or are about to. */
  readonly sources: ReadonlySet<string>;
  readonly #states: Uint8Array;
  readonly #moveOf: (SlotMove | null)[] = [];

  constructor(map: ClusterMap | null) {
    const groups = new Map((map?.groups ?? []).map((group) => [group.id, group]));
    this.#states = new Uint8Array(map?.slots ?? 0);
    const moves = new Map<string, SlotMove>();
    this.sources = new Set(
      (map?.ranges ?? []).filter(({ move }) => move !== undefined).map(({ group }) => group),
    );
    for (const range of map?.ranges ?? []) {
      const state = stateOf(range, groups);
      if (state === SLOT_SERVING) continue;
      this.#states.fill(state, range.from, range.to + 1);
      if (range.move?.phase !== "moving") continue;
      const key = `${range.group} ${range.move.to}`;
      const move = moves.get(key) ?? {
        source: groups.get(range.group) as MapGroup,
        target: groups.get(range.move.to) as MapGroup,
      };
      moves.set(key, move);
      for (let slot = range.from; slot <= range.to; slot++) this.#moveOf[slot] = move;
    }
    this.moves = [...moves.values()];
    this.unsettled = this.#states.some((state) => state !== SLOT_SERVING);
  }

  /** SLOT_SERVING, SLOT_LOCKED or SLOT_MOVING. */
  of(slot: number): number {
    return this.#states[slot];
  }

  /** The move that the slot is part of; null while it is locked before it, or simply served. */
  moveOf(slot: number): SlotMove | null {
    return this.#moveOf[slot] ?? null;
  }
}

/** The group that serves a range: the target as soon as the range moves. */
export function homeOf(range: SlotRange): string {
  return range.move?.phase === "moving" ? range.move.to : range.group;
}

function stateOf(range: SlotRange, groups: ReadonlyMap<string, MapGroup>): number {
  const held = (id: string): boolean => groups.get(id)?.held === true;
  if (range.move?.phase === "locked" || held(homeOf(range))) return SLOT_LOCKED;
  if (range.move === undefined) return SLOT_SERVING;
  // A key that is still at a held source can't be pulled.
  return held(range.group) ? SLOT_LOCKED : SLOT_MOVING;
}
