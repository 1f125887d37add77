/** What rebalance, drain and `slot move` need of the mover; controller/moves implements it. */
import type { PlannedMove } from "../../topology/move-changes.ts";

export interface MoveStarter {
  /**
   * Stores the moves and begins them; they go on by themselves, also after a restart.
   * `force`: also keys that block their servers for long.
   * @throws ShoalError CONFLICT when slots of them are moving already, NOT_FOUND for a group
   */
  start(moves: readonly PlannedMove[], force?: boolean): Promise<{ readonly id: string }>;
}
