/**
 * Groups, servers, slots, rebalance, options: these rows of the API. What a command line or a page shows is
 * in the answers, whole: no caller has to add up what it was told.
 */
import { z } from "zod";
import {
  assignBodySchema,
  drainBodySchema,
  groupAddBodySchema,
  groupAddedSchema,
  groupListSchema,
  groupRemovedSchema,
  optionListSchema,
  optionSetBodySchema,
  rebalanceAnswerSchema,
  rebalanceBodySchema,
  serverAddBodySchema,
  serverAddedSchema,
  serverListSchema,
  serverRemovedSchema,
  slotListSchema,
  slotMoveBodySchema,
  zoneBodySchema,
} from "./group-schemas.ts";
import { READ, type Route } from "./route.ts";

/** Writes go to any controller: one that does not lead passes them on. */
const WRITE = { ...READ, method: "POST" } as const;

/** Names as the commands have them: `shoal server add` is serverAdd. */
export const GROUP_ROUTES = {
  groups: {
    ...READ,
    path: "/api/v1/groups",
    summary: "Every group: share, keys, memory",
    answer: groupListSchema,
  },
  groupAdd: {
    ...WRITE,
    path: "/api/v1/groups",
    summary: "Adds a group, which owns no slots yet",
    body: groupAddBodySchema,
    answer: groupAddedSchema,
  },
  groupRemove: {
    ...WRITE,
    path: "/api/v1/groups/:id/remove",
    summary: "Takes a group out that owns no slots",
    answer: groupRemovedSchema,
  },
  groupDrain: {
    ...WRITE,
    path: "/api/v1/groups/:id/drain",
    summary: "Moves every slot of a group to the others; with dryRun, says what would move",
    body: drainBodySchema,
    answer: rebalanceAnswerSchema,
  },
  servers: { ...READ, path: "/api/v1/servers", summary: "Every server, asked now", answer: serverListSchema },
  serverAdd: {
    ...WRITE,
    path: "/api/v1/servers",
    summary: "Adds a replica to a group; it is wired up by itself",
    body: serverAddBodySchema,
    answer: serverAddedSchema,
  },
  serverRemove: {
    ...WRITE,
    path: "/api/v1/servers/remove",
    summary: "Takes a replica out of its group; it keeps its data",
    body: z.object({ addr: z.string().min(3).max(300) }),
    answer: serverRemovedSchema,
  },
  serverZone: {
    ...WRITE,
    path: "/api/v1/servers/zone",
    summary: "Says where a server stands; proxies that read from the nearest one go by it",
    body: zoneBodySchema,
    answer: zoneBodySchema,
  },
  slots: { ...READ, path: "/api/v1/slots", summary: "Who owns which slots", answer: slotListSchema },
  slotMove: {
    ...WRITE,
    path: "/api/v1/slots/move",
    summary: "Moves slots with their keys to a group",
    body: slotMoveBodySchema,
    answer: z.object({ id: z.string().nullable().describe("of the moves; null: all are there already") }),
  },
  slotAssign: {
    ...WRITE,
    path: "/api/v1/slots/assign",
    summary: "Hands slots over to a group without moving a key",
    body: assignBodySchema,
    answer: z.object({ slots: z.number(), map: z.object({ version: z.number(), term: z.number() }) }),
  },
  rebalance: {
    ...WRITE,
    path: "/api/v1/rebalance",
    summary: "Plans which slots move where, and starts it unless dryRun is true",
    body: rebalanceBodySchema,
    answer: rebalanceAnswerSchema,
  },
  options: {
    ...READ,
    path: "/api/v1/options",
    summary: "The cluster-wide options",
    answer: optionListSchema,
  },
  optionSet: {
    ...WRITE,
    path: "/api/v1/options",
    summary: "Sets options; null takes one away",
    body: optionSetBodySchema,
    answer: optionListSchema,
  },
} as const satisfies Record<string, Route>;
