/**
 * Carries one batch of keys from the source to a target, by MIGRATE, without REPLACE.
 *
 *   target has replicas    MIGRATE COPY ─▶ target: WAIT ─▶ source: UNLINK ─▶ source: WAIT
 *   it has none            MIGRATE                                        ─▶ source: WAIT
 *
 * A key leaves the source only when a replica of the target has it: a target that dies right after takes
 * nothing with it that was safe before. And the next batch but a few does not begin before a replica of the
 * source knows of the deletion, so that a failover of the source brings back few keys, or, with `acks =
 * replica`, none that anybody has used (loss-modes L8b).
 *
 *   OK, NOKEY   go on: a proxy has pulled it, or it has expired
 *   BUSYKEY     both have it: the target's is the truth, because nobody writes the source after the lock, and
 *               nobody uses the key at the target before it has left the source; the source's is deleted
 *   IOERR       not known: what was sent and not read is dropped at the target, and the key is tried again
 *   OOM, …      the move stops with a problem and is tried again later (L9)
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { type Reply, ReplyError } from "../../redis/reply-decoder.ts";
import type { MoveLinks, TargetLink } from "./move-links.ts";
import { unlinkKeys } from "./survey.ts";

/** One key on its way. */
export interface Candidate {
  readonly key: string;
  readonly bytes: number;
}

export interface Batch {
  readonly database: number;
  readonly keys: readonly Candidate[];
  readonly target: TargetLink;
  /** Milliseconds that the call is expected to take. */
  readonly estimatedMs: number;
  /** The target's replicas that shall have the keys first; 0: it has none. */
  readonly targetReplicas: number;
}

/** What MIGRATE did with a batch. */
export interface Migrated {
  /** Keys that the source still has and shall not have any more. */
  readonly toUnlink: readonly string[];
  /** How many of them both sides had before. */
  readonly duplicates: number;
}

/** A target that says nothing for so long ends the call: the source serves nobody meanwhile. */
const MIGRATE_TIMEOUT_MS = 1000;
/** Of a call that takes long by itself: so many times what it is expected to take. */
const TIMEOUT_FACTOR = 10;

export async function migrate(links: MoveLinks, batch: Batch): Promise<Migrated> {
  const copy = batch.targetReplicas > 0;
  const keys = batch.keys.map(({ key }) => key);
  const [reply] = await send(links, batch, [keys]);
  if (!(reply instanceof ReplyError)) return { toUnlink: copy ? keys : [], duplicates: 0 };
  if (keys.length > 1 || isBusy(reply)) return migrateOneByOne(links, batch, keys);
  throw await failure(links, batch, reply);
}

/** After an error for some of the keys, each by itself: the errors then say which ones. */
async function migrateOneByOne(links: MoveLinks, batch: Batch, keys: readonly string[]): Promise<Migrated> {
  const copy = batch.targetReplicas > 0;
  const toUnlink: string[] = [];
  let duplicates = 0;
  const replies = await send(
    links,
    batch,
    keys.map((key) => [key]),
  );
  let failed: ReplyError | null = null;
  for (let index = 0; index < keys.length; index++) {
    const reply = replies[index];
    const busy = reply instanceof ReplyError && isBusy(reply);
    if (busy) duplicates++;
    if (busy || (copy && reply === "OK")) toUnlink.push(keys[index]);
    if (reply instanceof ReplyError && !busy) failed ??= reply;
  }
  // What has been copied stays on both sides until it is tried again: BUSYKEY then, and the source's goes.
  if (failed !== null) throw await failure(links, batch, failed);
  return { toUnlink, duplicates };
}

/** One MIGRATE for each list of keys; their replies. */
async function send(
  links: MoveLinks,
  batch: Batch,
  lists: ReadonlyArray<readonly string[]>,
): Promise<Reply[]> {
  const { target, database } = batch;
  const timeoutMs = Math.ceil(Math.max(MIGRATE_TIMEOUT_MS, TIMEOUT_FACTOR * batch.estimatedMs));
  const options = batch.targetReplicas > 0 ? ["COPY"] : [];
  const head = [
    "MIGRATE",
    ...target.where,
    "",
    String(database),
    String(timeoutMs),
    ...options,
    ...target.auth,
  ];
  const calls = lists.map((keys) => [...head, "KEYS", ...keys]);
  // Connecting, each write and each read have that time; all of a call's together hardly ever need it.
  const boundMs = (3 * timeoutMs + 1000) * Math.min(calls.length, 10);
  const replies = await links.mover.pipeline([["SELECT", String(database)], ...calls], boundMs);
  return replies.slice(1);
}

function isBusy(error: ReplyError): boolean {
  return error.text.includes("BUSYKEY");
}

async function failure(links: MoveLinks, batch: Batch, error: ReplyError): Promise<ShoalError> {
  if (error.text.startsWith("IOERR")) await links.dropHalfSent(batch.target);
  const what = `${batch.keys.length} keys of database ${batch.database}`;
  const where = `from ${links.sourceAddr} to ${batch.target.addr}`;
  return new ShoalError("SERVER_REPLY", `Cannot move ${what} ${where}: ${error.text}`);
}

/** How long a replica may take to confirm before it is asked again, or passed over. */
const CONFIRM_MS = 500;

/**
 * What follows MIGRATE for a batch: see the drawing on top. `strict`: confirmations are waited for however
 * long they take, otherwise once. Whether all were given comes back.
 */
export async function settle(
  links: MoveLinks,
  batch: Batch,
  migrated: Migrated,
  sourceReplicas: number,
  strict: boolean,
): Promise<boolean> {
  let confirmed = true;
  if (batch.targetReplicas > 0) {
    confirmed = await confirm(batch.target.server, batch.targetReplicas, strict);
  }
  await unlinkKeys(links.confirmer, batch.database, migrated.toUnlink);
  if (sourceReplicas > 0) confirmed = (await confirm(links.confirmer, sourceReplicas, strict)) && confirmed;
  return confirmed;
}

/** WAIT looks at what the connection has last seen: PING lets it see everything up to now. */
async function confirm(server: TargetLink["server"], replicas: number, strict: boolean): Promise<boolean> {
  const wait = ["WAIT", String(replicas), String(CONFIRM_MS)];
  const [, have] = await server.pipeline([["PING"], wait], CONFIRM_MS + 2000);
  if (have instanceof ReplyError) {
    throw new ShoalError("SERVER_REPLY", `Cannot have a move confirmed by ${server.address}: ${have.text}`);
  }
  if (Number(have) >= replicas) return true;
  if (!strict) return false;
  const shown = `${replicas} replicas of ${server.address} shall confirm, ${String(have)} do`;
  throw new ShoalError("TIMEOUT", `Cannot go on moving keys: ${shown} (option acks)`);
}
