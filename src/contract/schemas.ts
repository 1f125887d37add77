/**
 * What travels between controller, proxies, command line and page, as schemas: one definition for the check
 * and the type.
 *
 * Unknown fields are dropped, not refused: during an upgrade a newer proxy talks to an older controller and
 * the other way round. For the same reason a field, once it is here, keeps its meaning. Rejected:
 * hand-written types beside the checks (they drift apart), and refusing unknown fields (makes every upgrade a
 * flag day).
 */
import { z } from "zod";
import { ERROR_CODES, type ErrorCode } from "../base/shoal-error.ts";

/** Bounds of what a proxy may report, so that one broken proxy cannot fill the controller's memory. */
export const REPORT_LIMITS = {
  workersMax: 1024,
  serversMax: 16384,
  countersMax: 256,
  slotsMax: 16384,
  textCharsMax: 512,
} as const;

const address = z.string().min(3).max(300).describe("host:port");
const processId = z.number().int().positive();
const count = z.number().int().nonnegative();
const shortText = z.string().max(REPORT_LIMITS.textCharsMax);

const move = z.object({ to: z.string(), phase: z.enum(["locked", "moving"]) });

/** Slots `from` to `to`, both included. */
export const slotRangeSchema = z.object({ from: count, to: count, group: z.string(), move: move.optional() });

/** The shape only; that the ranges cover every slot once is what `validateMap` of topology checks. */
export const clusterMapSchema = z.object({
  cluster: z.string(),
  version: count,
  term: count,
  hash: z.literal("crc32"),
  slots: count,
  groups: z.array(
    z.object({
      id: z.string(),
      number: count,
      primary: address,
      replicas: z.array(address).readonly(),
      zones: z.record(z.string(), z.string()).optional(),
      held: z.boolean().optional(),
    }),
  ),
  ranges: z.array(slotRangeSchema),
  options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

/** Which map somebody means. */
export const mapIdentitySchema = z.object({ version: count, term: count });

/** serving: takes clients; draining: finishes the ones it has; lost: its lease has run out. */
export const proxyStateSchema = z.enum(["serving", "draining", "lost"]);

/**
 * How a replica is doing:
 *   online        follows its primary, link up
 *   syncing       copies the whole data set
 *   connecting    told to follow, link not up (yet)
 *   unwired       up, but does not follow the group's primary
 *   loading       reads its own files after a start
 *   suspect       does not answer, but not yet for `down_after_ms`
 *   down          does not answer
 *   unknown       not asked yet
 */
export const replicaStateSchema = z.enum([
  "online",
  "syncing",
  "connecting",
  "unwired",
  "loading",
  "suspect",
  "down",
  "unknown",
]);

export const groupStateSchema = z.enum(["ok", "degraded", "suspect", "down", "unknown"]);

/** `shoal status --json`. */
export const statusSchema = z.object({
  cluster: z.string(),
  map: mapIdentitySchema,
  controllers: z.array(z.object({ id: z.string(), addr: address, pid: processId, leader: z.boolean() })),
  proxies: z.array(
    z.object({
      id: z.string(),
      addr: address,
      pid: processId,
      state: proxyStateSchema,
      workers: z.array(z.object({ pid: processId })),
      map: mapIdentitySchema.nullable().describe("the map that it has acknowledged"),
    }),
  ),
  groups: z.array(
    z.object({
      id: z.string(),
      state: groupStateSchema,
      protected: z
        .boolean()
        .optional()
        .describe("whether a replica is in sync, so that the group would survive the loss of its primary"),
      switching: z.string().optional().describe("the switch that is under way, in words"),
      primary: z.object({ addr: address, pid: processId.nullable() }),
      replicas: z.array(
        z.object({
          addr: address,
          pid: processId.nullable(),
          state: replicaStateSchema,
          lagBytes: count.nullable().describe("primary's offset minus the replica's; null when not known"),
        }),
      ),
    }),
  ),
  slots: z.object({ count, ranges: z.array(slotRangeSchema) }),
  safeMode: z
    .array(z.string())
    .optional()
    .describe("why no primary is replaced automatically now, and what to do; empty: it would be"),
  problems: z.array(z.string()).describe("what a person should look at, one sentence each"),
});

/** What a proxy sees of one server. */
export const serverSightSchema = z.object({
  addr: address,
  state: z.enum(["up", "down", "unknown"]),
  sinceMs: count.describe("how long it has been so, in milliseconds"),
  detail: shortText,
});

/** Where an observer of the servers runs. */
export const machineSchema = z
  .string()
  .max(128)
  .optional()
  .describe("the same for all that run on one machine; those count as one when servers look dead");

/** A proxy's heartbeat: renews its lease, acknowledges the map, carries what it sees and counts. */
export const proxyReportSchema = z.object({
  addr: address.describe("where clients connect"),
  pid: processId,
  machine: machineSchema,
  state: z.enum(["serving", "draining"]),
  workers: z.array(z.object({ pid: processId })).max(REPORT_LIMITS.workersMax),
  map: mapIdentitySchema.nullable().describe("the map that every worker serves by; null before the first"),
  login: count
    .nullable()
    .optional()
    .describe("sinceVersion of the login that every worker has at the servers; null: not all have one"),
  servers: z.array(serverSightSchema).max(REPORT_LIMITS.serversMax),
  counters: z
    .record(z.string().max(64), z.number())
    .refine((all) => Object.keys(all).length <= REPORT_LIMITS.countersMax, "too many counters")
    .describe("totals since the proxy started, by name"),
  slotCalls: z
    .record(z.string().max(5), count)
    .refine((all) => Object.keys(all).length <= REPORT_LIMITS.slotsMax, "too many slots")
    .optional()
    .describe("calls by slot since the proxy started, from samples; slots without any are left out"),
});

/** The answer to a report. */
export const reportAnswerSchema = z.object({
  term: count,
  leader: z.string(),
  leaseMs: count.describe("how long the proxy counts as alive without another report"),
  map: mapIdentitySchema,
});

export const slotAnswerSchema = z.object({
  slot: count,
  group: z.string(),
  primary: address,
  move: move.optional(),
});

export const healthSchema = z.object({
  status: z.enum(["ok", "starting"]),
  id: z.string(),
  pid: processId,
  leader: z.boolean(),
  term: count,
  sentinel: address.optional().describe("where it answers Sentinel clients; absent: nowhere"),
});

const errorCodes = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];

/** The body of every answer with a status of 400 or more. */
export const errorAnswerSchema = z.object({
  error: z.object({ code: z.enum(errorCodes), message: z.string() }),
});

/** The user that a proxy is at the servers. Secret: only in the stream of that proxy. */
export const serverLoginSchema = z.object({
  user: z.string().min(1),
  password: z.string().min(1),
  sinceVersion: count.describe("to be used only by who serves by this version of the map or a later one"),
});

/** One line of the map stream. */
export const mapStreamLineSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("map"), term: count, leader: z.string().nullable(), map: clusterMapSchema }),
  z.object({
    type: z.literal("heartbeat"),
    term: count,
    leader: z.string().nullable(),
    map: mapIdentitySchema
      .nullable()
      .describe("the map in force; a proxy with an older one has missed something"),
  }),
  z.object({
    type: z.literal("login"),
    login: serverLoginSchema.nullable().describe("null: the proxy's own configuration says who it is"),
  }),
]);

export type ClusterStatus = z.infer<typeof statusSchema>;
export type ProxyReport = z.infer<typeof proxyReportSchema>;
export type ReportAnswer = z.infer<typeof reportAnswerSchema>;
export type SlotAnswer = z.infer<typeof slotAnswerSchema>;
export type Health = z.infer<typeof healthSchema>;
export type MapIdentity = z.infer<typeof mapIdentitySchema>;
export type ServerLogin = z.infer<typeof serverLoginSchema>;
export type MapStreamLine = z.infer<typeof mapStreamLineSchema>;
export type ReplicaState = z.infer<typeof replicaStateSchema>;
export type ProxyState = z.infer<typeof proxyStateSchema>;
export type ErrorAnswer = z.infer<typeof errorAnswerSchema>;
