/**
 * PUBSUB: what is subscribed to, by all clients of all proxies, as far as the servers know.
 *
 *   CHANNELS, SHARDCHANNELS ─▶ every group, each name once
 *   NUMPAT                  ─▶ every group, the largest: each pattern is at every group
 *   NUMSUB, SHARDNUMSUB     ─▶ every group, of which the channel's own is taken; then, for each worker of
 *                              this proxy, the one connection that the server has counted becomes the
 *                              number of its sessions
 *
 * Workers of other proxies count as one subscriber each.
 */
import { writeLatin1 } from "../../base/bytes.ts";
import { array, bulk, integer } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call } from "../dispatch/call.ts";
import { askEveryGroup } from "../dispatch/ask-groups.ts";
import type { Gather, Part } from "../dispatch/gather.ts";
import { valueOf } from "../dispatch/merges.ts";
import type { Receivers } from "./pubsub-hub.ts";
import { CHANNEL, SHARD, type TopicKind } from "./topic-kind.ts";

type Handler = (plane: DataPlane, call: Call) => boolean;

function channels(plane: DataPlane, call: Call): boolean {
  return askEveryGroup(plane, call, (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const names = new Set(gather.parts.flatMap((part) => valueOf(part) as string[]));
    return array([...names].map(bulk));
  });
}

function numPat(plane: DataPlane, call: Call): boolean {
  return askEveryGroup(plane, call, (gather) => {
    const error = gather.errorText(false);
    return error ?? integer(Math.max(...gather.parts.map((part) => valueOf(part) as number)));
  });
}

function numSub(kind: TopicKind): Handler {
  return (plane, call) => {
    const names = Array.from({ length: call.request.argc - 2 }, (_, i) => argument(call, i + 2));
    // The gather comes as an argument: with every group down, the merge runs before the call returns.
    return askEveryGroup(plane, call, (gather) => {
      const error = gather.errorText(false);
      if (error !== null) return error;
      const counts = ownCounts(plane, names, gather.parts);
      if (!plane.peers.any) return countsReply(plane, kind, names, counts, []);
      const question = { kind: "subscribers", shard: kind === SHARD, channels: names } as const;
      void plane.peers.ask(question).then((answers) => {
        const peers = answers as readonly (readonly Receivers[])[];
        finishWithText(plane, gather, countsReply(plane, kind, names, counts, peers));
      });
      return null;
    });
  };
}

/** For each channel the number of subscribers that its own group says. */
function ownCounts(plane: DataPlane, names: readonly string[], parts: readonly Part[]): number[] {
  const byGroup = new Map(parts.map((part) => [part.group, valueOf(part) as (string | number)[]]));
  return names.map((name, i) => Number(byGroup.get(plane.pubsub.groupOf(name))?.[i * 2 + 1] ?? 0));
}

/** Replaces what each worker of this proxy is at the server by what it is in truth. */
function countsReply(
  plane: DataPlane,
  kind: TopicKind,
  names: readonly string[],
  counts: readonly number[],
  peers: readonly (readonly Receivers[])[],
): string {
  const workers = [localReceivers(plane, kind, names), ...peers];
  const pairs = names.flatMap((name, i) => {
    const counted = workers.reduce((sum, each) => sum + each[i].counted, 0);
    const sessions = workers.reduce((sum, each) => sum + each[i].sessions, 0);
    return [bulk(name), integer(Math.max(0, counts[i] - counted) + sessions)];
  });
  return array(pairs);
}

/** What this worker has of each channel; its answer to the other workers too. */
export function localReceivers(plane: DataPlane, kind: TopicKind, names: readonly string[]): Receivers[] {
  return names.map((name) => plane.pubsub.subscribers(kind, name));
}

function finishWithText(plane: DataPlane, gather: Gather, text: string): void {
  const block = plane.env.net.blocks.take(text.length);
  writeLatin1(block.bytes, 0, text);
  gather.finishWithBlock(block, text.length);
}

export const PUBSUB_COMMANDS: readonly (readonly [string, Handler])[] = [
  ["pubsub|channels", channels],
  ["pubsub|shardchannels", channels],
  ["pubsub|numpat", numPat],
  ["pubsub|numsub", numSub(CHANNEL)],
  ["pubsub|shardnumsub", numSub(SHARD)],
];
