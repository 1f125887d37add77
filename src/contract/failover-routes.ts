/** Failover, switchover, events: these rows of the API, with their schemas. */
import { z } from "zod";
import { READ, type Route } from "./route.ts";
import { machineSchema, serverSightSchema } from "./schemas.ts";

const WRITE = { ...READ, method: "POST" } as const;

const address = z.string().min(3).max(300);
const bytes = z.number().int().nonnegative();

export const failoverBodySchema = z.object({
  to: address.optional().describe("the replica that shall take over; without it the best one does"),
  force: z
    .boolean()
    .optional()
    .describe("without asking other observers, and whatever the replica lacks: what it lacks is lost"),
  by: z.string().min(1).max(128).optional().describe("who asks, for the event"),
});

export const failoverAnswerSchema = z.object({
  group: z.string(),
  kind: z.enum(["failover", "switchover"]),
  from: address,
  to: address,
  durationMs: z.number().nonnegative().describe("from the decision until the new map was out"),
  heldMs: z.number().nonnegative().nullable().describe("of that, how long proxies held the group's requests"),
  lostBytesMax: bytes
    .nullable()
    .describe("bytes of the replication stream that may be lost; null: not known"),
});

export const eventSchema = z.object({
  id: z.number().int().describe("grows; to be handed back as ?since"),
  atMs: z.number().describe("milliseconds since 1970 UTC"),
  kind: z.string(),
  meaning: z.string(),
  fields: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

export const eventListSchema = z.object({ controller: z.string(), events: z.array(eventSchema) });

/** What a following controller tells the leader. */
export const sightsBodySchema = z.object({
  sights: z.array(serverSightSchema).max(16384),
  machine: machineSchema,
});

export const FAILOVER_ROUTES = {
  failover: {
    ...WRITE,
    path: "/api/v1/groups/:id/failover",
    summary: "Has a replica take over: as planned while the primary lives, at once when it is dead",
    body: failoverBodySchema,
    answer: failoverAnswerSchema,
  },
  events: {
    ...READ,
    path: "/api/v1/events",
    summary: "What happened, oldest first, as far as this controller remembers",
    query: { since: "the id of the last event that is known already" },
    answer: eventListSchema,
  },
  eventStream: {
    ...READ,
    path: "/api/v1/events/stream",
    summary: "The same, one JSON text per line, and then each event as it happens; an empty line each second",
    query: { since: "the id of the last event that is known already" },
    answerType: "application/x-ndjson",
    answer: eventSchema,
  },
  controllerSights: {
    ...WRITE,
    path: "/api/v1/controllers/:id/sights",
    summary: "What a following controller sees of the servers, for the leader",
    body: sightsBodySchema,
    answer: z.object({}),
  },
} as const satisfies Record<string, Route>;

export type FailoverBody = z.infer<typeof failoverBodySchema>;
export type FailoverAnswer = z.infer<typeof failoverAnswerSchema>;
export type EventLine = z.infer<typeof eventSchema>;
export type EventList = z.infer<typeof eventListSchema>;
export type SightsBody = z.infer<typeof sightsBodySchema>;
