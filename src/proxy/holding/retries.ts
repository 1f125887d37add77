/**
 * Reads that were under way on a connection that broke: they wait here until their group has a primary that
 * answers, and are sent to it, once.
 *
 *   connection breaks ─▶ repeatable-reads.ts: which ─▶ take ─┬─ sent at once, where a server is there
 *                                                            └─ waits
 *   a server answers, a map is in force ─▶ sendReady ─┬─ its slot's home is open ─▶ sent, in the old order
 *                                                     ├─ it refuses, the keys are apart ─▶ the error
 *                                                     └─ locked, moving, no server ─▶ waits on
 *   `hold_timeout_ms` since the break ─▶ the error
 *
 * The record of the request stays in its session's queue all the time, so the order of the replies needs no
 * care. The order of requests does: what waits is sent before its session is let go (`Holding.back`,
 * `applyMap`) and before it can send to a server that has just become open.
 *
 * A read is sent again only once. One that kills its server would otherwise kill each server of the group
 * that takes over.
 */
import type { Block } from "../../base/block-pool.ts";
import { FINDER_SORT } from "../../commands/command.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call } from "../dispatch/call.ts";
import { slotOfArgument } from "../dispatch/locate.ts";
import type { WantedKey } from "../moving/wanted-keys.ts";
import { KIND_OWNED, type Request } from "../request.ts";
import { SLOT_SERVING } from "../slots/slot-states.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import type { Unanswered } from "../upstream/sent-requests.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { keysOf, type LostRead, readCall, repeatableReads, sessionOf } from "./repeatable-reads.ts";

/** Memory of one worker for requests that wait to be sent again. */
export const RETRY_BYTES_MAX = 64 << 20;

/** The bytes of all reads of one connection, given back with the last of them. */
interface Batch {
  readonly block: Block;
  readonly group: string;
  readonly deadlineMs: number;
  left: number;
}

interface Retry extends LostRead {
  readonly batch: Batch;
  /** Sent, failed or dropped. */
  over: boolean;
  /** Its keys are asked for. */
  asks: boolean;
  /** Version of the map under which its keys can be used; 0: of none. */
  usableAt: number;
}

export class Retries {
  readonly #plane: DataPlane;
  #waiting: Retry[] = [];
  #bytes = 0;
  /** What the slots' homes are known to be by; see `applyMap`. */
  #map: ClusterMap | null = null;

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Clients whose reads wait, but for those that are held as well. */
  get clientsNotHeld(): number {
    const sessions = new Set(this.#waiting.map(({ request }) => sessionOf(request)));
    return [...sessions].filter((session) => session?.held === false).length;
  }

  /**
   * A connection to `target` is lost; `unanswered` are the bytes of all that it owed replies for. Those that
   * come back are taken over, the others are to fail. `sendReady` must follow.
   */
  take(
    target: UpstreamTarget,
    head: Request | null,
    unanswered: Unanswered,
    repeated: number,
  ): ReadonlySet<Request> {
    const { holding, env } = this.#plane;
    const { block } = unanswered;
    const taken = new Set<Request>();
    const room = this.#bytes + block.bytes.length <= RETRY_BYTES_MAX;
    const reads = room ? repeatableReads(this.#plane, target, head, unanswered, repeated) : [];
    const deadlineMs = env.clock.nowMs() + holding.timeoutMs;
    const batch: Batch = { block, group: target.group, deadlineMs, left: 0 };
    for (const { request, start, end } of reads) {
      const retry = { request, start, end, batch, over: false, asks: false, usableAt: 0 };
      if (!this.#mayWait(retry)) continue;
      // From here on its client's next reads must see at least as much.
      if (target.anyRole === true)
        sessionOf(request)?.reads?.touchAll([{ id: target.group }], env.clock.nowMs());
      batch.left++;
      taken.add(request);
      this.#waiting.push(retry);
    }
    if (batch.left === 0) env.net.blocks.give(block);
    else this.#bytes += block.bytes.length;
    return taken;
  }

  /** A map is in force everywhere: all look again. */
  applyMap(map: ClusterMap): void {
    this.#map = map;
    this.sendReady();
  }

  /** Sends what can be sent. Not in the middle of a map's coming into force: homes are of two kinds then. */
  sendReady(): void {
    if (this.#waiting.length === 0 || this.#map !== this.#plane.slots.map) return;
    for (const retry of this.#waiting) if (!retry.over) this.#attempt(retry);
    this.#waiting = this.#waiting.filter(({ over }) => !over);
  }

  /** Ends what has waited long enough; to be called again and again. */
  check(): void {
    if (this.#waiting.length === 0) return;
    const nowMs = this.#plane.env.clock.nowMs();
    for (const retry of this.#waiting) {
      if (retry.over) continue;
      if (sessionOf(retry.request) === null) this.#drop(retry);
      else if (nowMs >= retry.batch.deadlineMs) this.#fail(retry, this.#refusalOf(retry));
    }
    this.#waiting = this.#waiting.filter(({ over }) => !over);
  }

  #mayWait(retry: Retry): boolean {
    const { holding } = this.#plane;
    const call = this.#callOf(retry);
    const home = call === null ? null : this.#homeOf(call, retry);
    if (home === null) return false;
    return takes(home) || (holding.timeoutMs > 0 && holding.mayWait(home));
  }

  #attempt(retry: Retry): void {
    const { request, start, end, batch } = retry;
    const call = this.#callOf(retry);
    if (call === null) {
      this.#drop(retry);
      return;
    }
    const home = this.#homeOf(call, retry);
    if (home === null) {
      this.#fail(retry, "ERR The keys of a read that is sent again are on several servers now");
      return;
    }
    if (!this.#usable(call, retry)) return;
    if (takes(home)) {
      this.#plane.counters.readsSentAgain++;
      home.sendAgain(request, batch.block.bytes, start, end);
      this.#end(retry);
    } else if (!this.#plane.holding.mayWait(home)) this.#fail(retry, home.refusal);
  }

  /** Whether the keys are where they belong; if not, they are asked for. */
  #usable(call: Call, retry: Retry): boolean {
    const { moving, slots } = this.#plane;
    const version = slots.map?.version ?? 0;
    if (!slots.states.unsettled || retry.usableAt === version) return true;
    if (retry.asks) return false;
    const keys = this.#unsettledKeys(call);
    if (keys.length === 0) return true;
    if (call.command.finder === FINDER_SORT) {
      this.#fail(retry, "TRYAGAIN A sort by other keys can't be sent again while its slot moves");
      return false;
    }
    let atOnce = true;
    retry.asks = true;
    moving.whenUsable(keys, (error) => {
      retry.asks = false;
      retry.usableAt = version;
      if (retry.over) return;
      if (error !== null) this.#fail(retry, error);
      else if (!atOnce) this.sendReady();
    });
    atOnce = false;
    return !retry.asks && !retry.over;
  }

  #unsettledKeys(call: Call): WantedKey[] {
    const { states } = this.#plane.slots;
    const { database } = call.session.lane;
    return keysOf(call)
      .map((index) => ({ slot: slotOfArgument(this.#plane, call, index), key: argument(call, index) }))
      .filter(({ slot }) => states.of(slot) !== SLOT_SERVING)
      .map(({ slot, key }) => ({ slot, database, key }));
  }

  /** Null when nobody waits for it any more. */
  #callOf({ request, start, end, batch }: Retry): Call | null {
    const session = sessionOf(request);
    return session === null ? null : readCall(session, batch.block.bytes, start, end);
  }

  /** The server that has all its keys, or has taken the place of the one that was asked; null: none. */
  #homeOf(call: Call, { batch }: Retry): Upstream | null {
    const { homes, groups } = call.session.lane;
    const all = keysOf(call).map((index) => homes[slotOfArgument(this.#plane, call, index)]);
    if (all.length === 0) {
      const sameGroup = groups.find(({ target }) => target.group === batch.group) ?? null;
      return this.#plane.slots.states.unsettled ? null : sameGroup;
    }
    return all.every((home) => home === all[0]) ? all[0] : null;
  }

  #refusalOf(retry: Retry): string {
    const call = this.#callOf(retry);
    const home = call === null ? null : this.#homeOf(call, retry);
    return home?.refusal ?? `ERR Cannot reach group ${retry.batch.group}`;
  }

  #fail(retry: Retry, text: string): void {
    this.#plane.failRequest(retry.request, text);
    this.#end(retry);
  }

  /** The client is gone. */
  #drop(retry: Retry): void {
    const { request } = retry;
    if (request.kind === KIND_OWNED) this.#plane.failRequest(request, "ERR the client is gone");
    else this.#plane.requests.give(request);
    this.#end(retry);
  }

  #end(retry: Retry): void {
    const { batch } = retry;
    retry.over = true;
    if (--batch.left > 0) return;
    this.#bytes -= batch.block.bytes.length;
    this.#plane.env.net.blocks.give(batch.block);
  }
}

function takes(home: Upstream): boolean {
  return home.open && !home.heldByMap;
}
