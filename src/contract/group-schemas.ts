/** What the routes of group-routes.ts take and answer, as schemas; see schemas.ts for the rules. */
import { z } from "zod";
import { groupStateSchema, replicaStateSchema, slotRangeSchema } from "./schemas.ts";

/** Bounds of what a caller may hand in. */
const SPANS_MAX = 16_384;
const REPLICAS_MAX = 100;

const address = z.string().min(3).max(300).describe("host:port");
const count = z.number().int().nonnegative();
const amount = z.number().nonnegative();
const groupId = z.string().min(1).max(64);
const flag = z.boolean().default(false);

/** Slots `from` to `to`, both included. */
const spanSchema = z.object({ from: count, to: count });
const spans = z.array(spanSchema).max(SPANS_MAX);

/**
 * `source`, when given, must own the slots still: a plan that somebody looked at is carried out or refused.
 */
export const plannedMoveSchema = spanSchema.extend({ source: groupId.optional(), target: groupId });

export const groupAddBodySchema = z.object({
  primary: address,
  replicas: z.array(address).max(REPLICAS_MAX).default([]),
  adopt: flag.describe("take servers that hold keys: the primary's are served, the replicas' are replaced"),
  slots: spans.default([]).describe("slots that it serves at once: those of the keys that its primary holds"),
});

/** The id is the controller's to choose. */
export const groupAddedSchema = z.object({ id: groupId, primary: address, replicas: z.array(address) });

/** What is left behind, so that somebody can stop or reuse it. */
export const groupRemovedSchema = z.object({
  id: groupId,
  servers: z.array(address).describe("they run on; nobody speaks to them any more"),
  keysLeft: count.nullable().describe("what its primary still held; null when it did not answer"),
});

/** Stored facts, and what the primaries say at that moment. */
export const groupListSchema = z.object({
  groups: z.array(
    z.object({
      id: groupId,
      number: count,
      state: groupStateSchema,
      draining: z.boolean(),
      primary: address,
      replicas: z.array(address),
      slots: count,
      ranges: z.array(slotRangeSchema),
      keys: count.nullable().describe("null: its primary does not answer"),
      memoryBytes: count.nullable().describe("of the keys, without what the server needs for itself"),
    }),
  ),
  nextGroup: groupId.describe("the id that the next group gets"),
});

/** A new server is always a replica: a primary comes with a group, or by a switch. */
export const serverAddBodySchema = z.object({
  group: groupId,
  addr: address,
  adopt: flag.describe("the keys that it holds may be replaced by the group's"),
});

/** `keysReplaced`: what it held, and will not any more. */
export const serverAddedSchema = z.object({
  group: groupId,
  addr: address,
  primary: address,
  version: z.string(),
  keysReplaced: count,
});

/** `notes`: what a person should know now, a sentence each. */
export const serverRemovedSchema = z.object({
  group: groupId,
  addr: address,
  detached: z.boolean().describe("it follows its primary no more"),
  notes: z.array(z.string()),
});

/** An empty zone: it is not known. */
export const zoneBodySchema = z.object({ addr: address, zone: z.string().max(64) });

/** `problems`: servers that the controller does not wire, and why. */
export const serverListSchema = z.object({
  servers: z.array(
    z.object({
      addr: address,
      group: groupId,
      role: z.enum(["primary", "replica"]),
      zone: z.string().describe("where it stands; empty: not known"),
      state: replicaStateSchema.describe("a primary that serves is online"),
      version: z.string().nullable(),
      keys: count.nullable(),
      memoryBytes: count.nullable(),
      lagBytes: count.nullable(),
      sync: z
        .object({ readBytes: count, totalBytes: count.nullable() })
        .nullable()
        .describe("while it copies its primary; the total is not always known"),
    }),
  ),
  problems: z.array(z.object({ addr: address, message: z.string() })),
});

export const slotListSchema = z.object({ count, ranges: z.array(slotRangeSchema) });

export const slotMoveBodySchema = z.object({
  moves: z.array(plannedMoveSchema).min(1).max(SPANS_MAX),
  force: flag.describe("also keys that block their servers for long"),
});

/** Without `abandonKeys` every key of the present owners is looked at first. */
export const assignBodySchema = z.object({
  slots: spans.min(1),
  to: groupId,
  abandonKeys: flag.describe("also when the keys of these slots are elsewhere: nobody sees them any more"),
});

/** memory: bytes as MEMORY USAGE says; ops: calls of the last minutes, as the proxies report them. */
const byMeasure = z.enum(["slots", "memory", "ops"]);

export const rebalanceBodySchema = z.object({
  by: byMeasure.default("slots"),
  weights: z
    .record(groupId, z.number().min(0).max(1000))
    .default({})
    .describe("by group: how many times the share of one that is not named; 0 empties it"),
  dryRun: flag,
  moves: z
    .array(plannedMoveSchema)
    .max(SPANS_MAX)
    .optional()
    .describe("the moves of an earlier dry run, to be carried out as they were shown"),
});

/** `moves` as with a rebalance. */
export const drainBodySchema = z.object({
  dryRun: flag,
  undo: flag.describe("it shall stay: it gets slots again by the next rebalance"),
  moves: rebalanceBodySchema.shape.moves,
});

/** Over the groups with a share. */
const spreadSchema = z.object({ min: amount, max: amount, mean: amount });

/** One group before or after; `load` in the unit of what is balanced. */
const sideSchema = z.object({ slots: count, keys: count, bytes: count, load: amount });

/** A plan with everything that a person wants to see before it is begun; keys and bytes are whole numbers. */
export const rebalanceAnswerSchema = z.object({
  by: byMeasure,
  moves: z.array(spanSchema.extend({ source: groupId, target: groupId, keys: count, bytes: count })),
  total: z.object({ slots: count, keys: count, bytes: count }).describe("what moves"),
  groups: z.array(
    z.object({ id: groupId, share: amount, draining: z.boolean(), before: sideSchema, after: sideSchema }),
  ),
  spread: z
    .object({ before: spreadSchema, after: spreadSchema })
    .describe("load per share over the groups that have one, in the unit of `by`"),
  measured: z.object({
    exact: z.boolean().describe("every key was looked at; otherwise keys and bytes are estimates"),
    keysSampled: count,
    notes: z.array(z.string()),
  }),
  id: z.string().nullable().describe("of the moves that have begun; null: none have"),
});

/** Numbers may come as texts: a command line has nothing else. */
export const optionSetBodySchema = z.object({
  options: z.record(z.string().max(64), z.union([z.string().max(4096), z.number(), z.boolean(), z.null()])),
});

const optionValue = z.union([z.string(), z.number(), z.boolean()]);

/** Every option there is, in the order of topology/cluster-options.ts. */
export const optionListSchema = z.object({
  options: z.array(
    z.object({
      name: z.string(),
      value: optionValue,
      set: z.boolean().describe("false: the default"),
      default: optionValue,
      doc: z.string(),
    }),
  ),
});

export type GroupAddBody = z.infer<typeof groupAddBodySchema>;
export type GroupAdded = z.infer<typeof groupAddedSchema>;
export type GroupRemoved = z.infer<typeof groupRemovedSchema>;
export type GroupList = z.infer<typeof groupListSchema>;
export type ServerAddBody = z.infer<typeof serverAddBodySchema>;
export type ServerAdded = z.infer<typeof serverAddedSchema>;
export type ServerRemoved = z.infer<typeof serverRemovedSchema>;
export type ServerList = z.infer<typeof serverListSchema>;
export type SlotList = z.infer<typeof slotListSchema>;
export type SlotMoveBody = z.infer<typeof slotMoveBodySchema>;
export type AssignBody = z.infer<typeof assignBodySchema>;
export type RebalanceBody = z.infer<typeof rebalanceBodySchema>;
export type DrainBody = z.infer<typeof drainBodySchema>;
export type RebalanceAnswer = z.infer<typeof rebalanceAnswerSchema>;
export type OptionList = z.infer<typeof optionListSchema>;
