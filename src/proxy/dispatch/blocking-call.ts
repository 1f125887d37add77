/**
 * A call that may make the server wait: BLPOP and its kind, XREAD BLOCK, WAIT.
 *
 *   session ─▶ (no reply owed) ─▶ a connection of its own ─▶ server waits … ─▶ reply ─▶ session goes on
 *      │ client gone                     ▲
 *      └─▶ CLIENT UNBLOCK over the shared connection ─▶ the reply, nil or an element ─▶ an element is put
 *      back (L15)
 *
 * The session's further requests wait, as they would on a server. When its client goes away while the server
 * waits, the connection is not simply cut: an element could be popped in that very moment, and would be lost
 * with the reply. The server is told to give up instead, and whatever it has popped by then goes back to
 * where it came from. So does what was sent to a client that was gone without our knowing (pop-receipt.ts).
 */
import { type Bytes, ownCopy } from "../../base/bytes.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { bulk, errorReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { PrivatePool } from "../upstream/private-pool.ts";
import { type Call, fail } from "./call.ts";
import { PopReceipt } from "./pop-receipt.ts";

/** What a session waits in. */
export interface Blocked {
  /**
   * Ends the wait as CLIENT UNBLOCK does; with `error`, the client gets -UNBLOCKED. How many were ended is
   * told to `told`.
   */
  unblock(error: boolean, told: (count: number) => void): void;
  /** The client is gone. */
  clientGone(): void;
}

const ARRAY = 42;
/** "*-1": nothing was popped. */
const MINUS = 45;
/** Commands whose reply is all that is left of what they took. */
const POPS = new Set(["blpop", "brpop", "blmpop", "bzpopmin", "bzpopmax", "bzmpop"]);

/**
 * A server that was told to let go, and has not yet, is told again after this time, which doubles up to the
 * bound.
 */
const GIVE_UP_MS_MIN = 5;
const GIVE_UP_MS_MAX = 500;

export class BlockingCall implements Blocked, ReplyOwner {
  readonly #plane: DataPlane;
  readonly #session: Session;
  readonly #shared: Upstream;
  readonly #upstream: Upstream;
  readonly #place: Request;
  readonly #name: string;
  readonly #direction: string;
  /** The server has answered, or never will. */
  #ended = false;

  private constructor(plane: DataPlane, call: Call, shared: Upstream, upstream: Upstream) {
    this.#plane = plane;
    this.#session = call.session;
    this.#shared = shared;
    this.#upstream = upstream;
    this.#place = call.session.reserve();
    this.#name = call.command.name;
    // BLMPOP timeout numkeys key … LEFT|RIGHT: only the word matters, and keys can't be told from it by
    // position.
    this.#direction = readWord(call, "right") ? "right" : "left";
  }

  /**
   * Sends the call over a connection of its own to where `shared` leads. False: not now, replies are owed.
   */
  static start(plane: DataPlane, call: Call, shared: Upstream): boolean {
    const { session } = call;
    if (session.inFlight > 0) {
      session.hold(HOLD_DRAIN);
      return false;
    }
    const upstream = plane.privates.take(shared);
    if (upstream === null)
      return fail(session, plane.privates.full && shared.open ? PrivatePool.FULL : shared.refusal);
    const blocked = new BlockingCall(plane, call, shared, upstream);
    upstream.patient = true;
    session.tracking?.announce(upstream);
    upstream.begin(blocked, 0);
    upstream.output.append(call.bytes, call.start, call.end);
    upstream.flushSoon();
    session.blocked = blocked;
    session.hold(HOLD_WAIT);
    // Read on, although requests wait: the client's end must be seen at once.
    session.connection.setReading(true);
    return true;
  }

  /**
   * Tells the server to let go; with `error`, the client gets -UNBLOCKED. Whether it did is told to `told`.
   */
  unblock(error: boolean, told: (count: number) => void): void {
    const id = this.#upstream.clientId;
    if (id === "" || !this.#shared.prepare()) {
      told(0);
      return;
    }
    const owner: ReplyOwner = {
      onReply: (_request, bytes, start, end) => told(Number(decodeReply(bytes, start, end))),
      onFailure: () => told(0),
    };
    const words = ["CLIENT", "UNBLOCK", id, error ? "ERROR" : "TIMEOUT"].map(bulk);
    this.#shared.begin(owner, 0);
    this.#shared.output.appendLatin1(`*4\r\n${words.join("")}`);
    this.#shared.flushSoon();
  }

  /** The client is gone. The reply is still wanted, for what may be in it. */
  clientGone(): void {
    this.#giveUp(GIVE_UP_MS_MIN);
  }

  /**
   * Tells the server to let go, until it has. Once is not enough: the two requests go over two connections,
   * and the server may see the second before the first; nor is the connection's id known before its
   * handshake is through.
   */
  #giveUp(retryMs: number): void {
    if (this.#ended) return;
    if (!this.#shared.prepare()) {
      this.#upstream.close();
      return;
    }
    this.unblock(false, (count) => {
      if (count > 0 || this.#ended) return;
      this.#plane.env.timers.after(retryMs, () => this.#giveUp(Math.min(retryMs * 2, GIVE_UP_MS_MAX)));
    });
  }

  onReply(_request: Request, bytes: Bytes, start: number, end: number): void {
    const session = this.#session;
    if (session.closed) this.#putBack(bytes, start, end);
    else if (POPS.has(this.#name) && bytes[start] === ARRAY && bytes[start + 1] !== MINUS) {
      const kept = ownCopy(bytes, start, end);
      PopReceipt.watch(this.#plane, session, () => this.#putBack(kept, 0, kept.length));
    }
    const block = this.#plane.env.net.blocks.take(end - start);
    bytes.copy(block.bytes, 0, start, end);
    this.#finish();
    session.completeWithBlock(this.#place, block, end - start);
  }

  onFailure(_request: Request, text: string): void {
    this.#finish();
    this.#session.complete(this.#place, errorReply(text));
  }

  #finish(): void {
    this.#ended = true;
    this.#upstream.patient = false;
    this.#upstream.whenIdle(() => this.#plane.privates.give(this.#upstream));
    this.#session.blocked = null;
    this.#session.release(HOLD_WAIT);
  }

  /** What was popped for a client that is gone goes back where it was. */
  #putBack(bytes: Uint8Array, start: number, end: number): void {
    const request = putBackRequest(this.#name, this.#direction, decodeReply(bytes, start, end));
    if (request === null || !this.#shared.prepare()) return;
    this.#plane.counters.putBack++;
    this.#plane.env.log.info("element put back", { command: this.#name, reason: "its client was gone" });
    this.#shared.begin({ onReply: () => undefined, onFailure: () => undefined }, 0);
    this.#shared.output.appendLatin1(request);
    this.#shared.flushSoon();
  }
}

function readWord(call: Call, word: string): boolean {
  const { request, bytes } = call;
  for (let i = 2; i < request.argc; i++) {
    if (request.argEnd[i] - request.argStart[i] !== word.length) continue;
    let same = true;
    for (let k = 0; k < word.length; k++)
      same &&= (bytes[request.argStart[i] + k] | 32) === word.charCodeAt(k);
    if (same) return true;
  }
  return false;
}

/** The request that undoes a pop; null when there is nothing to undo. Encoded, a character per byte. */
export function putBackRequest(name: string, direction: string, reply: unknown): string | null {
  if (!Array.isArray(reply) || reply.length < 2) return null;
  const key = String(reply[0]);
  switch (name) {
    case "blpop":
      return words("LPUSH", key, String(reply[1]));
    case "brpop":
      return words("RPUSH", key, String(reply[1]));
    case "bzpopmin":
    case "bzpopmax":
      return words("ZADD", key, "NX", String(reply[2]), String(reply[1]));
    case "blmpop": {
      const elements = (reply[1] as unknown[]).map(String).reverse();
      return words(direction === "right" ? "RPUSH" : "LPUSH", key, ...elements);
    }
    case "bzmpop": {
      const pairs = (reply[1] as unknown[]).flatMap((pair) => {
        const [member, score] = pair as unknown[];
        return [String(score), String(member)];
      });
      return words("ZADD", key, "NX", ...pairs);
    }
    default:
      return null;
  }
}

function words(...list: readonly string[]): string {
  return `*${list.length}\r\n${list.map(bulk).join("")}`;
}
