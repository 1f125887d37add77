/**
 * What one session has seen, group by group: as much as is needed to never show it less later.
 *
 *   to the primary ─▶ touched ─(no reply owed)─▶ seenMs = now        to a replica ─▶ current = its address
 */
import type { ReadPolicy } from "./read-policy.ts";
import { NEVER } from "./freshness.ts";

/** After a write, or after a replica that did not catch up, reads stay with the primary for so long. */
export const RETURN_AFTER_MS = 200;

export interface GroupPosition {
  /** Address of the replica that the last read went to; "" when the primary was asked since. */
  current: string;
  /** `life` of that replica when it was read; see offset-sampler.ts. */
  life: object | null;
  /** Not before this moment may another server's data end. */
  seenMs: number;
  /** The primary was sent something since the last look: what it will have answered is not known yet. */
  touched: boolean;
  /** Not before this moment it is tried to come back from the primary to a replica. */
  returnAtMs: number;
  /** Since when the session's next read waits for a replica; 0 when it does not. */
  waitsSinceMs: number;
}

export class ReadPosition {
  policy: ReadPolicy;
  readonly #groups = new Map<string, GroupPosition>();

  constructor(policy: ReadPolicy) {
    this.policy = policy;
  }

  of(group: string): GroupPosition {
    let position = this.#groups.get(group);
    if (position === undefined) {
      position = {
        current: "",
        life: null,
        seenMs: NEVER,
        touched: false,
        returnAtMs: NEVER,
        waitsSinceMs: 0,
      };
      this.#groups.set(group, position);
    }
    return position;
  }

  /** The primaries of all these groups were sent something. */
  touchAll(groups: readonly { readonly id: string }[], nowMs: number): void {
    for (const { id } of groups) this.wrote(this.of(id), nowMs);
  }

  /** What the session writes, it reads from the primary for a while: catching up costs a wait each time. */
  wrote(position: GroupPosition, nowMs: number): void {
    position.touched = true;
    position.returnAtMs = nowMs + RETURN_AFTER_MS;
  }

  /**
   * It can't be read on from `current`; wherever the session goes next, it has to be as new as this moment.
   */
  leave(position: GroupPosition): void {
    position.touched ||= position.current !== "";
  }

  /** No reply is owed: whatever was touched has been answered by now. */
  settle(position: GroupPosition, nowMs: number): void {
    if (!position.touched) return;
    position.touched = false;
    position.seenMs = nowMs;
    position.current = "";
  }
}
