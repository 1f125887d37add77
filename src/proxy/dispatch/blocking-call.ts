/**
 * A call that may make the server wait: BLPOP and its kind, XREAD BLOCK.
 *
 *   session ─▶ (no reply owed) ─▶ a connection of its own ─▶ server waits … ─▶ reply ─▶ session goes on
 *      │ client gone                     ▲        │
 *      │                                 │        └─ its slot is locked, or lives elsewhere now:
 *      │                                 │           CLIENT UNBLOCK ─▶ an element ─▶ to the client
 *      │                                 │                         └─▶ nil ─▶ sent again to the slot's new
 *      │                                 │                             home, with the time that is left
 *      └─▶ CLIENT UNBLOCK ─▶ the reply, nil or an element ─▶ an element is put back (L15)
 *
 * The session's further requests wait, as they would on a server. When its client goes away while the server
 * waits, or its slot does, the connection is not simply cut: an element could be popped in that very moment,
 * and would be lost with the reply. The server is told to give up instead; whatever it has popped by then
 * goes to the client, or back to where it came from. So does what was sent to a client that was gone without
 * our knowing (pop-receipt.ts).
 *
 * XREAD's "$" is the last entry at the time of the call. Before the wait is ended the server is asked which
 * one that is: what is added later would have ended the wait by itself, so nothing falls in between.
 */
import { type Bytes, ownCopy } from "../../base/bytes.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { writes } from "../acks/writes.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { WantedKey } from "../moving/wanted-keys.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { Lane } from "../slots/lane.ts";
import { SLOT_LOCKED } from "../slots/slot-states.ts";
import type { FenceEnded } from "../slots/slot-table.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { requestOf } from "./ask-groups.ts";
import { POPS, putBackRequest, timeoutMsOf, withTimeoutMs } from "./blocking-words.ts";
import { argument, type Call, fail } from "./call.ts";
import { pairsOf } from "./fleet-values.ts";
import { foundKeys, slotOfArgument } from "./locate.ts";
import { PopReceipt } from "./pop-receipt.ts";
import { ServerWait } from "./server-wait.ts";

/** What a session waits in. */
export interface Blocked {
  /**
   * Ends the wait as CLIENT UNBLOCK does; with `error`, the client gets -UNBLOCKED. How many were ended is
   * told to `told`.
   */
  unblock(error: boolean, told: (count: number) => void): void;
  /** The client is gone. */
  clientGone(): void;
  /** A map has come into force. */
  mapChanged?(): void;
}

const ARRAY = 42;
/** "*-1", "$-1", "_": the time was over, nothing was popped. */
const MINUS = 45;
const NULL = 95;
const UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
/** Pause before a wait is tried again at a home that can't be reached, and how often that is done. */
const HOME_PAUSE_MS = 100;
const HOME_TRIES_MAX = 100;

/** CLIENT UNBLOCK that came while the server had been told to let go already. */
interface Wish {
  readonly error: boolean;
  readonly told: (count: number) => void;
}

export class BlockingCall implements Blocked, ReplyOwner {
  readonly session: Session;
  readonly writes: boolean;
  readonly #plane: DataPlane;
  readonly #lane: Lane;
  readonly #place: Request;
  readonly #name: string;
  #words: string[];
  readonly #keys: readonly WantedKey[];
  /** Argument indexes of the keys. */
  readonly #keysAt: readonly number[];
  readonly #deadlineMs: number;
  /** Null between two homes. */
  #wait: ServerWait | null = null;
  /** The server has been told to let go, because the slot leaves: the map can't be acknowledged before. */
  #leaving: FenceEnded | null = null;
  #wish: Wish | null = null;
  /** CLIENT UNBLOCK is under way: the next nil is the client's. */
  #unblocking = false;
  /** The last nil, for a client that is unblocked between two homes. */
  #nil: Uint8Array = new Uint8Array(0);
  #ended = false;

  private constructor(plane: DataPlane, call: Call) {
    const { session, request, command } = call;
    this.#plane = plane;
    this.session = session;
    this.writes = writes(command);
    this.#lane = session.lane;
    this.#place = session.reserve();
    this.#name = command.name;
    this.#words = Array.from({ length: request.argc }, (_, i) => argument(call, i));
    this.#keysAt = [...foundKeys.at.subarray(0, foundKeys.count)];
    const { database } = session.lane;
    this.#keys = this.#keysAt.map((at) => {
      return { slot: slotOfArgument(plane, call, at), database, key: this.#words[at] };
    });
    this.#deadlineMs = plane.env.clock.nowMs() + timeoutMsOf(command.name, this.#words);
  }

  /**
   * Sends the call over a connection of its own to where `shared` leads; its keys are `foundKeys`. False: not
   * now, replies are owed.
   */
  static start(plane: DataPlane, call: Call, shared: Upstream): boolean {
    const { session } = call;
    if (session.inFlight > 0) {
      session.hold(HOLD_DRAIN);
      return false;
    }
    // As if it had ended a moment later, in the wait: an element that it would be sent may reach nobody.
    if (session.ended) {
      session.closeWhenAnswered();
      return true;
    }
    if (plane.holding.enter(session, shared)) return false;
    if (!shared.prepare()) return fail(session, shared.refusal);
    const upstream = plane.privates.takeReady(session, shared);
    if (typeof upstream === "string") return fail(session, upstream);
    // Read on, although requests wait: the client's end must be seen at once.
    if (upstream === null) {
      session.held = true;
      session.connection.setReading(true);
      return false;
    }
    const blocked = new BlockingCall(plane, call);
    session.blocked = blocked;
    session.hold(HOLD_WAIT);
    session.connection.setReading(true);
    blocked.#send(shared, upstream, blocked.#words);
    return true;
  }

  #send(shared: Upstream, upstream: Upstream, words: readonly string[]): void {
    this.#wait = ServerWait.begin(this.#plane, shared, upstream, this);
    upstream.output.appendLatin1(requestOf(...words));
    upstream.flushSoon();
  }

  unblock(error: boolean, told: (count: number) => void): void {
    if (this.#ended) told(0);
    else if (this.#wait === null) {
      this.#answerUnblocked(error);
      told(1);
    } else if (this.#leaving !== null) this.#wish = { error, told };
    else {
      this.#unblocking = true;
      this.#wait.unblock(error, (count) => {
        this.#unblocking &&= count > 0;
        told(count);
      });
    }
  }

  /** The client is gone. The reply is still wanted, for what may be in it. */
  clientGone(): void {
    if (this.#wait !== null) this.#wait.release();
    else if (!this.#ended) this.#answer("");
  }

  /** Where its slots are may have changed: whoever waits at the wrong place is called back. */
  mapChanged(): void {
    const wait = this.#wait;
    if (wait === null || this.#leaving !== null) return;
    const { states } = this.#plane.slots;
    const stays = this.#keys.every(
      ({ slot }) => states.of(slot) !== SLOT_LOCKED && this.#lane.homes[slot] === wait.shared,
    );
    if (stays) return;
    this.#leaving = this.#plane.slots.fence();
    this.#pinLastEntries(wait, () => wait.release());
  }

  /** Puts the stream's last entry in the place of each "$". */
  #pinLastEntries(wait: ServerWait, done: () => void): void {
    const count = this.#keysAt.length;
    const open = this.#name === "xread" ? this.#keysAt.filter((at) => this.#words[at + count] === "$") : [];
    if (open.length === 0 || !wait.shared.prepare()) {
      done();
      return;
    }
    let left = open.length;
    for (const at of open) {
      wait.shared.begin(
        {
          onReply: (_request, bytes, start, end) => {
            const last = new Map(pairsOf(decodeReply(bytes, start, end))).get("last-generated-id");
            // No stream: whatever comes is new.
            this.#words[at + count] = String(last ?? "0-0");
            if (--left === 0) done();
          },
          onFailure: () => {
            if (--left === 0) done();
          },
        },
        0,
      );
      wait.shared.output.appendLatin1(requestOf("XINFO", "STREAM", this.#words[at]));
      wait.shared.flushSoon();
    }
  }

  onReply(_request: Request, bytes: Bytes, start: number, end: number): void {
    const { session } = this;
    const isNil = bytes[start] === NULL || bytes[start + 1] === MINUS;
    const [leaving, wish] = [this.#leaving, this.#wish];
    this.#endWait();
    if (leaving !== null && isNil && !session.closed && !this.#unblocking) {
      this.#nil = ownCopy(bytes, start, end);
      if (wish !== null) this.#answerUnblocked(wish.error);
      wish?.told(1);
      this.#goHome(HOME_TRIES_MAX);
      leaving();
      return;
    }
    wish?.told(0);
    if (session.closed) this.#putBack(bytes, start, end);
    else if (POPS.has(this.#name) && bytes[start] === ARRAY && !isNil) {
      const kept = ownCopy(bytes, start, end);
      PopReceipt.watch(this.#plane, session, () => this.#putBack(kept, 0, kept.length));
    }
    const block = this.#plane.env.net.blocks.take(end - start);
    bytes.copy(block.bytes, 0, start, end);
    this.#finish();
    session.completeWithBlock(this.#place, block, end - start);
    leaving?.();
  }

  onFailure(_request: Request, text: string): void {
    const leaving = this.#leaving;
    this.#wish?.told(0);
    this.#endWait();
    this.#answer(errorReply(text));
    leaving?.();
  }

  #endWait(): void {
    this.#leaving = null;
    this.#wish = null;
    this.#wait?.end();
    this.#wait = null;
  }

  /** Waits on where the slot is usable, and then for the time that is left. */
  #goHome(tries: number): void {
    if (this.#ended) return;
    this.#plane.moving.whenUsable(this.#keys, (error) => {
      if (this.#ended) return;
      const leftMs = this.#deadlineMs - this.#plane.env.clock.nowMs();
      const homes = new Set(this.#keys.map(({ slot }) => this.#lane.homes[slot]));
      const [home] = homes;
      if (error !== null) this.#answer(errorReply(error));
      else if (leftMs <= 0) this.#answerUnblocked(false);
      else if (homes.size > 1) this.#answer(errorReply(PARTED));
      else {
        const upstream = this.#plane.privates.take(home);
        const words = withTimeoutMs(this.#name, this.#words, leftMs);
        if (upstream !== null) this.#send(home, upstream, words);
        else if (tries === 0) this.#answer(errorReply(home.refusal));
        else this.#plane.env.timers.after(HOME_PAUSE_MS, () => this.#goHome(tries - 1));
      }
    });
  }

  /** As a server answers whom CLIENT UNBLOCK ends, or whose time is over. */
  #answerUnblocked(error: boolean): void {
    if (error) {
      this.#answer(errorReply(UNBLOCKED));
      return;
    }
    this.#finish();
    const block = this.#plane.env.net.blocks.take(this.#nil.length);
    block.bytes.set(this.#nil);
    this.session.completeWithBlock(this.#place, block, this.#nil.length);
  }

  #answer(text: string): void {
    this.#finish();
    this.session.complete(this.#place, text);
  }

  #finish(): void {
    this.#ended = true;
    this.session.blocked = null;
    this.session.release(HOLD_WAIT);
  }

  /** What was popped for a client that is gone goes back to its key, wherever that is by now. */
  #putBack(bytes: Uint8Array, start: number, end: number): void {
    // BLMPOP timeout numkeys key … LEFT|RIGHT: only the word matters, keys can't be told from it by position.
    const right = this.#words.some((word) => word.toLowerCase() === "right");
    const reply = decodeReply(bytes, start, end);
    const request = putBackRequest(this.#name, right ? "right" : "left", reply);
    if (request === null) return;
    const wanted = this.#keys.filter(({ key }) => key === String((reply as unknown[])[0]));
    this.#plane.moving.whenUsable(wanted, (error) => {
      const home = this.#lane.homes[wanted[0].slot];
      if (error !== null || !home.prepare()) return;
      this.#plane.counters.putBack++;
      this.#plane.env.log.info("element put back", { command: this.#name, reason: "its client was gone" });
      home.begin({ onReply: () => undefined, onFailure: () => undefined }, 0);
      home.output.appendLatin1(request);
      home.flushSoon();
    });
  }
}

const PARTED = "CROSSSLOT its keys have come to be in several groups while the call waited";
