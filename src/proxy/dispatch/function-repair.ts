/**
 * A group that came back without its functions (a new server, a restart without a file) gets them again.
 *
 *   first FCALL or FUNCTION … over a connection since that was made
 *     ─▶ hold the session ─▶ FUNCTION STATS at every group
 *           ├─ each has some, or none has any ─▶ go on
 *           └─ one has none, others have some ─▶ DUMP of the fullest ─▶ RESTORE there ─▶ go on
 *
 * It happens before the call is sent and not after "Function not found", because by then later requests of
 * the session may have run. The other groups are the source, not a registry in the proxy: a library that was
 * deleted through another proxy would come back to life from a registry that has not heard of it. A script
 * is named by its contents and has no such trouble, which is why script-registry.ts can be one.
 *
 * Only a group without any library is repaired: what differs otherwise is the trace of a FUNCTION command
 * that ran in part and said so. What remains: a FUNCTION FLUSH through another worker in the very
 * milliseconds between DUMP and RESTORE leaves the restored group full. A new FUNCTION FLUSH empties it.
 */
import type { Bytes } from "../../base/bytes.ts";
import type { Command } from "../../commands/command.ts";
import { decodeReply, ReplyError } from "../../resp/reply-decoder.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { Lane } from "../slots/lane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { requestOf } from "./ask-groups.ts";
import { pairsOf } from "./fleet-values.ts";

/** Calls that must find a group's libraries there. FLUSH needs none. */
const NEED_FUNCTIONS = new Set(["fcall", "fcall_ro", "function|delete", "function|load", "function|restore"]);

/** What a server has said of its libraries; null: it has none of the kind, or could not say. */
interface Count {
  readonly upstream: Upstream;
  readonly libraries: number | null;
}

export class FunctionRepair {
  readonly #plane: DataPlane;
  /** Sessions that wait for the lane's check. */
  readonly #waiting = new Map<Lane, Session[]>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Whether the call can go to its server now. False: its session is held, and looks at it again later. */
  ready(session: Session, command: Command): boolean {
    if (!NEED_FUNCTIONS.has(command.name)) return true;
    const { lane } = session;
    if (lane.groups.length === 1 || !lane.groups.some(isUnchecked)) return true;
    session.hold(HOLD_WAIT);
    const waiting = this.#waiting.get(lane);
    if (waiting !== undefined) waiting.push(session);
    else {
      this.#waiting.set(lane, [session]);
      this.#count(lane);
    }
    return false;
  }

  #count(lane: Lane): void {
    const asked = lane.groups.filter((upstream) => upstream.prepare());
    const counts: Count[] = [];
    for (const upstream of asked) {
      ask(upstream, requestOf("FUNCTION", "STATS"), (reply) => {
        const libraries = reply === null ? null : librariesOf(reply);
        // Known to be there, or known to know no functions: nothing to repair, whatever the others say.
        if (reply !== null) upstream.functions = libraries === 0 ? "counted" : "checked";
        counts.push({ upstream, libraries });
        if (counts.length === asked.length) this.#repair(lane, counts);
      });
    }
    if (asked.length === 0) this.#finish(lane);
  }

  #repair(lane: Lane, counts: readonly Count[]): void {
    // A connection that was lost in the meantime is another one by now, and is asked anew.
    const empty = counts
      .map(({ upstream }) => upstream)
      .filter((upstream) => upstream.functions === "counted");
    const fullest = counts.reduce((most, each) =>
      (each.libraries ?? 0) > (most.libraries ?? 0) ? each : most,
    );
    if (empty.length === 0 || (fullest.libraries ?? 0) === 0) {
      for (const upstream of empty) upstream.functions = "checked";
      this.#finish(lane);
      return;
    }
    ask(fullest.upstream, requestOf("FUNCTION", "DUMP"), (dump) => {
      if (typeof dump === "string") this.#restore(lane, empty, dump);
      else {
        // Refused: asking again would bring the same. Lost: the next look finds another source, or none.
        if (dump !== null) for (const upstream of empty) upstream.functions = "checked";
        this.#finish(lane);
      }
    });
  }

  #restore(lane: Lane, empty: readonly Upstream[], dump: string): void {
    let left = empty.length;
    for (const upstream of empty) {
      const { group, address } = upstream.target;
      ask(upstream, requestOf("FUNCTION", "RESTORE", dump), (reply) => {
        // "Already exists": somebody else was quicker.
        if (reply !== null) upstream.functions = "checked";
        const result = reply instanceof ReplyError ? reply.text : "done";
        this.#plane.env.log.info("functions restored", { group, server: address, result });
        if (--left === 0) this.#finish(lane);
      });
    }
  }

  #finish(lane: Lane): void {
    const sessions = this.#waiting.get(lane) ?? [];
    this.#waiting.delete(lane);
    for (const session of sessions) session.release(HOLD_WAIT);
  }
}

function isUnchecked(upstream: Upstream): boolean {
  return upstream.functions !== "checked" && upstream.prepare();
}

/** Sends a request; the decoded reply comes, or null when the connection is lost. */
function ask(upstream: Upstream, request: string, told: (reply: unknown) => void): void {
  if (!upstream.prepare()) {
    told(null);
    return;
  }
  upstream.begin(
    {
      onReply: (_request, bytes: Bytes, start, end) => told(decodeReply(bytes, start, end)),
      onFailure: () => told(null),
    },
    0,
  );
  upstream.output.appendLatin1(request);
  upstream.flushSoon();
}

/** Libraries of all engines in a reply to FUNCTION STATS; null for servers without functions. */
function librariesOf(reply: unknown): number | null {
  if (reply instanceof ReplyError) return null;
  const engines = new Map(pairsOf(reply)).get("engines");
  return pairsOf(engines).reduce(
    (sum, [, counts]) => sum + Number(new Map(pairsOf(counts)).get("libraries_count")),
    0,
  );
}
