/** Moving slots: these rows of the API, with their schemas. */
import { z } from "zod";
import { READ, type Route } from "./route.ts";

const count = z.number().int().nonnegative();

/** Moves of one plan at most: a plan of a whole cluster names each slot once. */
const PLANNED_MOVES_MAX = 16_384;

const span = z.object({ from: count, to: count });

const limit = z.number().int().positive().nullable().describe("null: none");

/** A key that would block its servers for longer than `move_block_limit_ms`; its slot stays where it is. */
export const refusedKeySchema = z.object({
  slot: count,
  source: z.string(),
  target: z.string(),
  key: z.string().describe("as shown: what is not printable is escaped, a long one is cut"),
  bytes: count,
  blocksMs: count.describe("how long source and target would serve nobody, as estimated"),
});

/** Slots on their way from one group to another. */
export const moveSchema = z.object({
  id: z.string().describe("the plan and the groups: m3.g1.g2"),
  source: z.string(),
  target: z.string(),
  ranges: z.array(span),
  phase: z.enum(["planned", "strays", "locking", "moving", "finishing"]),
  back: z.boolean().describe("it takes back what a cancelled move has moved"),
  keysTotal: count,
  keysMoved: count,
  bytesMoved: count,
  keysPerSecond: count,
  secondsLeft: count.nullable().describe("null while it can't be told"),
  refused: z.array(refusedKeySchema),
  problem: z.string().nullable().describe("why it does not get on"),
});

export const movesSchema = z.object({
  moves: z.array(moveSchema),
  paused: z.boolean(),
  limits: z.object({ keysPerSecond: limit, bytesPerSecond: limit }),
  refused: z.array(refusedKeySchema).describe("of all plans, until their slots are moved after all"),
});

/** What GET answers. */
export type Moves = z.infer<typeof movesSchema>;
export type Move = z.infer<typeof moveSchema>;

const WRITE = { ...READ, method: "POST", answer: movesSchema } as const;

export const MOVE_ROUTES = {
  moves: { ...READ, path: "/api/v1/moves", summary: "The moves under way", answer: movesSchema },
  startMoves: {
    ...WRITE,
    path: "/api/v1/moves",
    summary: "Begins to move slots to other groups",
    body: z.object({
      moves: z.array(span.extend({ target: z.string() })).max(PLANNED_MOVES_MAX),
      force: z.boolean().optional().describe("also keys that block their servers for long"),
    }),
    answer: z.object({ id: z.string().describe("of the plan: m3; empty when nothing has to be moved") }),
  },
  pauseMoves: { ...WRITE, path: "/api/v1/moves/pause", summary: "Moves no further keys" },
  resumeMoves: { ...WRITE, path: "/api/v1/moves/resume", summary: "Ends the pause" },
  cancelMoves: {
    ...WRITE,
    path: "/api/v1/moves/cancel",
    summary: "Takes moves back: what has begun returns, the rest is dropped",
    query: { id: "a plan or a move of it; all when it is not given" },
  },
  limitMoves: {
    ...WRITE,
    path: "/api/v1/moves/limit",
    summary: "Bounds the speed of all moves together",
    body: z.object({ keysPerSecond: limit.optional(), bytesPerSecond: limit.optional() }),
  },
  forgetProxy: {
    ...WRITE,
    path: "/api/v1/proxies/:id/forget",
    summary: "A person vouches that this silent proxy will never send anything again; moves go on without it",
    answer: z.object({ forgotten: z.boolean() }),
  },
} as const satisfies Record<string, Route>;
