/** `shoal check`: these rows of the API, with their schemas. */
import { z } from "zod";
import { READ, type Route } from "./route.ts";

const count = z.number().int().nonnegative();

/**
 * What a check may find:
 *   slot      a slot that is not served by exactly one group
 *   server    a server that could not be looked at
 *   role      not what the map says: a primary that follows somebody, a replica that does not
 *   stray     a key outside its home, which exists only there
 *   double    a key outside its home, which exists at home as well: a person has to choose
 *   map       a proxy that works by another map
 */
export const checkProblemSchema = z.object({
  kind: z.enum(["slot", "server", "role", "stray", "double", "map"]),
  text: z.string(),
});

/** A key that is not where its slot is. */
export const strayKeySchema = z.object({
  key: z.string().describe("the key's bytes in base64url"),
  shown: z.string().describe("the key for reading: what is not printable ASCII as \\xHH"),
  db: count,
  slot: count,
  server: z.string().describe("who holds it"),
  home: z.string().describe("who should: the group"),
  state: z.enum(["alone", "both", "moved", "failed"]),
  detail: z.string(),
});

/** A check, while it runs and when it is over. */
export const checkSchema = z.object({
  id: z.string(),
  state: z.enum(["running", "done", "failed"]),
  fix: z.boolean(),
  /** Milliseconds since it began, or that it took. */
  elapsedMs: count,
  phase: z.string().describe("what it does now"),
  servers: count.describe("primaries to scan"),
  serversDone: count,
  keysScanned: count,
  /** As the servers said at the beginning; grows and shrinks meanwhile. */
  keysTotal: count,
  strays: count.describe("keys outside their home, the moved ones included"),
  moved: count.describe("strays that --fix has brought home"),
  clean: z.boolean().nullable().describe("null while it runs"),
  problems: z.array(checkProblemSchema),
  keys: z.array(strayKeySchema).describe("the first strays, one by one"),
  error: z.string().nullable(),
});

export type CheckProblem = z.infer<typeof checkProblemSchema>;
export type StrayKey = z.infer<typeof strayKeySchema>;
export type CheckStatus = z.infer<typeof checkSchema>;

/** Both are POST, because only the leader knows: a follower passes them on. */
export const CHECK_ROUTES = {
  checkStart: {
    ...READ,
    method: "POST",
    path: "/api/v1/check",
    summary: "Begins to look whether every slot, key, replica and map is where it should be; one at a time",
    body: z.object({ fix: z.boolean().default(false) }),
    answer: checkSchema,
  },
  checkProgress: {
    ...READ,
    method: "POST",
    path: "/api/v1/check/progress",
    summary: "The check that runs, or the last one",
    body: z.object({ id: z.string().describe("as checkStart answered") }),
    answer: checkSchema,
  },
} as const satisfies Record<string, Route>;
