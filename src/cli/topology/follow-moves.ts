/**
 * Watches moves until they are over. They are the controller's and go on by themselves: whoever watches may
 * leave, and a controller that is replaced meanwhile is only waited for.
 */
import { ShoalError, errorCodeOf } from "../../base/shoal-error.ts";
import type { ControllerTarget } from "../../contract/client.ts";
import { fetchSlots } from "../../contract/group-client.ts";
import { fetchMoves } from "../../contract/move-client.ts";
import type { Move, Moves } from "../../contract/move-routes.ts";
import type { OptionValues, World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { Progress } from "../progress.ts";
import { pause } from "../up/poll.ts";

/** Often enough for a bar that seems to move by itself, and nothing for the controller. */
const POLL_PERIOD_MS = 250;

/** How long no controller may answer: another one leads long before. */
const SILENCE_MS_MAX = 30_000;

/** What shall come about, and what it is estimated to take. */
export interface FollowedPlan {
  /** "m3"; null: whatever moves. */
  readonly id: string | null;
  readonly spans: ReadonlyArray<{ readonly from: number; readonly to: number; readonly target: string }>;
  readonly keysEstimated: number;
}

export interface FollowResult {
  /** Slots that are where they shall be. */
  readonly arrived: number;
  readonly missing: number;
  readonly refused: Moves["refused"];
  readonly seconds: number;
}

/** Comes back when no move of the plan is left. @throws ShoalError UNREACHABLE, TIMEOUT, UNAUTHORIZED */
export async function followMoves(
  world: World,
  target: ControllerTarget,
  options: OptionValues,
  plan: FollowedPlan,
): Promise<FollowResult> {
  const progress = new Progress(world, "moving", options);
  const tally = new Tally(plan);
  let problem: string | null = null;
  try {
    for (;;) {
      const moves = await patiently(() => fetchMoves(world.http, target));
      const own = moves.moves.filter((move) => plan.id === null || isOf(move, plan.id));
      tally.take(own);
      const stuck = own.find((move) => move.problem !== null)?.problem ?? null;
      if (stuck !== null && stuck !== problem) progress.note(`moving: ${stuck}`);
      problem = stuck;
      if (own.length === 0) return await resultOf(world, target, plan, moves, progress.elapsedMs);
      progress.update(tally.step(own, moves));
      await pause(POLL_PERIOD_MS);
    }
  } finally {
    progress.end();
  }
}

/** Says what did not arrive and why; nothing when all did. @throws ShoalError LIMIT, CONFLICT */
export function checkArrived(result: FollowResult): void {
  if (result.missing === 0) return;
  const { refused, missing } = result;
  if (refused.length > 0) {
    const [first] = refused;
    const slots = [...new Set(refused.map((key) => key.slot))].join(",");
    const size = `slot ${first.slot}, ${first.bytes} bytes`;
    const which = `key ${first.key} (${size}) would block its servers for ${first.blocksMs} ms`;
    throw new HintedError(
      "LIMIT",
      `Cannot move ${missing} slots: ${refused.length} keys are too large, for instance ${which}`,
      `\`shoal slot move ${slots} --to ${first.target} --force\` moves them all the same.`,
    );
  }
  throw new ShoalError("CONFLICT", `Cannot move ${missing} slots: their moves were cancelled`);
}

/** What has been seen so far: a move that is over is not in the list any more. */
class Tally {
  readonly #plan: FollowedPlan;
  readonly #seen = new Map<string, Move>();

  /** What was estimated for the plan is the total until the moves have counted for themselves. */
  constructor(plan: FollowedPlan) {
    this.#plan = plan;
  }

  /** A move that has gone from the list has moved all that it had to. */
  take(moves: readonly Move[]): void {
    const now = new Set(moves.map((move) => move.id));
    for (const [id, move] of this.#seen) {
      if (!now.has(id)) this.#seen.set(id, { ...move, keysMoved: Math.max(move.keysMoved, move.keysTotal) });
    }
    for (const move of moves) this.#seen.set(move.id, move);
  }

  /** How far all of it is: keys over every move that was ever seen. */
  step(moves: readonly Move[], { paused, limits }: Moves): Parameters<Progress["update"]>[0] {
    const all = [...this.#seen.values()];
    const sum = (pick: (move: Move) => number): number => all.reduce((total, move) => total + pick(move), 0);
    const over = all.length - moves.length;
    const phases = [...new Set(moves.map((move) => (move.back ? "going back" : move.phase)))].join(", ");
    const limited = limits.keysPerSecond !== null || limits.bytesPerSecond !== null;
    const running = limited ? `${phases}, slowed by \`shoal moves limit\`` : phases;
    const state = paused ? "paused, `shoal moves resume` goes on" : running;
    const detail = all.length > 1 ? `${over} of ${all.length} moves done, ${state}` : state;
    const done = sum((move) => move.keysMoved);
    const total = Math.max(
      this.#plan.keysEstimated,
      sum((move) => move.keysTotal),
      done,
    );
    return { done, total, unit: "keys", detail };
  }
}

/**
 * By who owns the slots now, and not by what was reported: a move may have been cancelled by somebody else.
 */
async function resultOf(
  world: World,
  target: ControllerTarget,
  plan: FollowedPlan,
  moves: Moves,
  elapsedMs: number,
): Promise<FollowResult> {
  const { ranges } = await patiently(() => fetchSlots(world.http, target));
  let arrived = 0;
  let missing = 0;
  for (const span of plan.spans) {
    for (const range of ranges) {
      const slots = Math.min(range.to, span.to) - Math.max(range.from, span.from) + 1;
      if (slots <= 0) continue;
      if (range.group === span.target && range.move === undefined) arrived += slots;
      else missing += slots;
    }
  }
  const isOurs = (slot: number): boolean => plan.spans.some(({ from, to }) => from <= slot && slot <= to);
  const refused = moves.refused.filter((key) => isOurs(key.slot));
  return { arrived, missing, refused, seconds: elapsedMs / 1000 };
}

/** "m3.g1.g2" is of the plan "m3", "m30.g1.g2" is not. */
function isOf(move: Move, plan: string): boolean {
  return move.id === plan || move.id.startsWith(`${plan}.`);
}

/** While leadership changes hands there is no answer for a few seconds: that is no failure. */
async function patiently<Result>(call: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + SILENCE_MS_MAX;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const passing = ["UNREACHABLE", "TIMEOUT", "NOT_LEADER"].includes(errorCodeOf(error) ?? "");
      if (!passing || performance.now() > deadline) throw error;
      await pause(POLL_PERIOD_MS);
    }
  }
}
