/**
 * A connection of the puller's own to one server: opened when it is needed, and again after it was lost.
 *
 *   ask(requests) ─▶ all of them at once, in order ─┬─▶ told(replies, "")
 *                                                   └─▶ told(the first few, why no more came)
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { type MapGroup, parseAddress } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import { PrivatePool } from "../upstream/private-pool.ts";
import type { Upstream } from "../upstream/upstream.ts";

export class Steps {
  readonly #plane: DataPlane;
  readonly #target: UpstreamTarget;
  #upstream: Upstream | null = null;

  constructor(plane: DataPlane, group: MapGroup, database: number) {
    this.#plane = plane;
    const { host, port } = parseAddress(group.primary);
    this.#target = { group: group.id, address: group.primary, host, port, database, protocol: 2 };
  }

  /** Replies come as text without line end; only for requests that answer in one line. */
  ask(requests: readonly string[], told: (replies: readonly string[], lost: string) => void): void {
    const upstream = this.#open();
    if (upstream === null) {
      // Not at once: who asks has not finished what he is doing.
      this.#plane.env.net.atTurnEnd(() => told([], PrivatePool.FULL));
      return;
    }
    const replies: string[] = [];
    let over = false;
    for (const request of requests) {
      upstream.begin(
        {
          onReply: (_request, bytes: Bytes, start, end) => {
            replies.push(readLatin1(bytes, start, end - 2));
            if (replies.length === requests.length) told(replies, "");
          },
          onFailure: (_request, text) => {
            if (over) return;
            over = true;
            told(replies, text);
          },
        },
        0,
      );
      upstream.output.appendLatin1(request);
    }
    upstream.flushSoon();
  }

  close(): void {
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream === null) return;
    if (upstream.state === "ready" && upstream.pending === 0) this.#plane.privates.give(upstream);
    else this.#plane.privates.discard(upstream);
  }

  #open(): Upstream | null {
    if (this.#upstream !== null && !this.#upstream.prepare()) this.close();
    this.#upstream ??= this.#plane.privates.open(this.#target);
    return this.#upstream;
  }
}
