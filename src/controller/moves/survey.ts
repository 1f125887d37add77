/**
 * What has to be known, and done, before slots are locked:
 *
 *   target  has no key of the slots: what is there is from an older life (a dump.rdb that somebody left
 *   behind),
 *           nobody can reach it, and it would be taken for the truth during the move: deleted, and said
 *   source  how many keys and bytes leave it, and which of them would block the servers for too long
 *
 * A key may still grow between the survey and the lock; the move then takes it all the same. After the lock
 * nobody writes the source, so that what was small stays small.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import type { MoveJob, RefusedKey } from "../../topology/move-record.ts";
import type { KeyCost } from "./key-cost.ts";
import type { MoveLinks } from "./move-links.ts";
import { type MoveParts, replicasWanted, topologyOf } from "./move-parts.ts";
import { lookAtServer, measureKeys, noErrors, scanPages } from "./scan-keys.ts";
import { SlotFilter, showKey } from "./slot-filter.ts";

/** Until the replicas of the target have deleted the strays too: one of them may be the primary next. */
const STRAYS_WAIT_MS = 1000;

export interface Survey {
  readonly keys: number;
  readonly bytes: number;
  readonly refused: readonly RefusedKey[];
}

/** Counts and measures what leaves the source. */
export async function surveySource(
  parts: MoveParts,
  job: MoveJob,
  links: MoveLinks,
  cost: KeyCost,
  wanted: () => boolean,
): Promise<Survey> {
  const filter = new SlotFilter(topologyOf(parts).slots, job.spans);
  const { reader } = links;
  let count = 0;
  let sum = 0;
  const refused: RefusedKey[] = [];
  const measure = async (database: number, keys: string[]): Promise<void> => {
    const leaving = keys.filter((key) => filter.targetOf(key) !== undefined);
    count += leaving.length;
    for (const { key, bytes, type } of await measureKeys(reader, database, leaving)) {
      sum += bytes;
      if (type === undefined) continue;
      const blocksMs = Math.round(cost.ofKey(bytes, type));
      if (blocksMs <= parts.options.blockLimitMs) continue;
      const target = filter.targetOf(key) as string;
      const slot = filter.slotOf(key);
      refused.push({ slot, source: job.source, target, key: showKey(key), bytes, blocksMs });
    }
  };
  const { databases } = await lookAtServer(reader);
  for (const database of databases) {
    for await (const _page of scanPages(reader, database, (keys) => measure(database, keys)))
      giveUpUnless(wanted);
  }
  return { keys: count, bytes: sum, refused };
}

/**
 * Deletes at `group`'s primary what is there of the slots that shall come to it; how many keys it were comes
 * back.
 */
export async function deleteStrays(
  parts: MoveParts,
  job: MoveJob,
  links: MoveLinks,
  group: string,
  wanted: () => boolean,
): Promise<number> {
  const link = links.targets.get(group);
  if (link === undefined) return 0;
  const spans = job.spans.filter((span) => span.target === group);
  const filter = new SlotFilter(topologyOf(parts).slots, spans);
  const { databases } = await lookAtServer(link.server);
  let deleted = 0;
  for (const database of databases) {
    const strays = async (keys: string[]): Promise<string[]> =>
      keys.filter((key) => filter.targetOf(key) !== undefined);
    for await (const keys of scanPages(link.server, database, strays)) {
      giveUpUnless(wanted);
      deleted += await unlinkKeys(link.server, database, keys);
    }
  }
  const replicas = replicasWanted(parts, group).count;
  if (deleted > 0 && replicas > 0) {
    await link.server.command(["WAIT", String(replicas), String(STRAYS_WAIT_MS)]);
  }
  return deleted;
}

/**
 * Before a cancelled move turns back: what stands on both sides is deleted where it would go to, because up
 * to now it is the other side's that counts. Usually there is nothing; after a failover of the group that
 * the keys have come from, those that its new primary still had. How many it were comes back.
 */
export async function deleteOutdated(
  parts: MoveParts,
  job: MoveJob,
  links: MoveLinks,
  wanted: () => boolean,
): Promise<number> {
  const filter = new SlotFilter(topologyOf(parts).slots, job.spans);
  let deleted = 0;
  for (const { server } of links.targets.values()) {
    const { databases } = await lookAtServer(server);
    for (const database of databases) {
      const onBothSides = async (keys: string[]): Promise<string[]> => {
        const candidates = keys.filter((key) => filter.targetOf(key) !== undefined);
        const ask = candidates.map((key) => ["EXISTS", key]);
        const replies = await links.reader.pipeline([["SELECT", String(database)], ...ask]);
        const counts = noErrors(links.reader, replies).slice(1);
        return candidates.filter((_, index) => counts[index] === 1);
      };
      for await (const keys of scanPages(server, database, onBothSides)) {
        giveUpUnless(wanted);
        deleted += await unlinkKeys(server, database, keys);
      }
    }
  }
  return deleted;
}

/** A look at a large server takes long: whoever stops or takes the move back does not wait for it. */
function giveUpUnless(wanted: () => boolean): void {
  if (!wanted())
    throw new ShoalError("CONFLICT", "Cannot go on with the survey: the move is not wanted any more");
}

/** How many of `keys` were there comes back. */
export async function unlinkKeys(
  server: RedisServer,
  database: number,
  keys: readonly string[],
): Promise<number> {
  if (keys.length === 0) return 0;
  const [, count] = await server.pipeline([
    ["SELECT", String(database)],
    ["UNLINK", ...keys],
  ]);
  return Number(count);
}
