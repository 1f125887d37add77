/** The other workers, reached through the master; and what this one answers to them. */
import type { DataPlane } from "./data-plane.ts";
import { clientType, killClients, type KillFilter } from "./dispatch/client-kill.ts";
import { clientLine } from "./dispatch/client-line.ts";
import { clientCounts } from "./dispatch/info-command.ts";
import { pushInvalidation } from "./tracking/session-tracking.ts";
import { localReceivers } from "./pubsub/pubsub-commands.ts";
import { CHANNEL, SHARD } from "./pubsub/topic-kind.ts";
import type { PeerQuestion, Peers } from "./peers.ts";

export class MasterPeers implements Peers {
  readonly any: boolean;
  readonly #send: (id: number, question: PeerQuestion) => void;
  readonly #waiting = new Map<number, (answers: readonly unknown[]) => void>();
  #nextId = 1;

  /** `send` hands a question to the master, which comes back with `answered` within its bound. */
  constructor(any: boolean, send: (id: number, question: PeerQuestion) => void) {
    this.any = any;
    this.#send = send;
  }

  ask(question: PeerQuestion): Promise<readonly unknown[]> {
    const id = this.#nextId++;
    this.#send(id, question);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  answered(id: number, answers: readonly unknown[]): void {
    this.#waiting.get(id)?.(answers);
    this.#waiting.delete(id);
  }
}

/** This worker's answer to another one's question. */
export function answerPeer(plane: DataPlane, question: unknown): unknown {
  const asked = question as PeerQuestion;
  if (asked.kind === "client-unblock") {
    const { blocked } = plane.clients.get(asked.id) ?? { blocked: null };
    blocked?.unblock(asked.error, () => undefined);
    return blocked === null ? 0 : 1;
  }
  if (asked.kind === "users") {
    plane.users.merge(asked.records);
    return 1;
  }
  if (asked.kind === "acl-log") {
    const entries = plane.users.log.entries.slice(0, asked.count);
    if (asked.reset) plane.users.log.clear();
    return entries;
  }
  if (asked.kind === "invalidate") {
    const session = plane.clients.get(asked.id);
    if (session !== undefined) pushInvalidation(session, asked.keys);
    return session === undefined ? 0 : 1;
  }
  if (asked.kind === "tracked-keys") {
    plane.tracking.limitKeys(asked.max);
    return 1;
  }
  if (asked.kind === "client-pause") {
    plane.pause.order(asked.order);
    return 1;
  }
  if (asked.kind === "subscribers")
    return localReceivers(plane, asked.shard ? SHARD : CHANNEL, asked.channels);
  if (asked.kind === "client-kill") return killClients(plane, asked.filter as unknown as KillFilter, null);
  if (asked.kind === "client-counts") return clientCounts(plane);
  const { type, ids } = asked;
  const chosen = [...plane.clients.all()].filter(
    (each) =>
      (type === undefined || clientType(each) === type) &&
      (ids === undefined || ids.includes(String(each.id))),
  );
  return chosen.map((session) => `${clientLine(plane, session)}\n`).join("");
}
