/**
 * The option `acks` as a worker uses it: which writes wait for replicas, and over which connections.
 *
 *   map option ─▶ rules ─▶ async: plain upstreams, one lane per database and protocol
 *                      └─▶ some write waits: every lane's upstreams are AckUpstreams, and a session changes
 *                          lanes as its requests need it
 *
 *   stripe 0             reads, and writes that wait for nothing: nobody stands behind a WAIT
 *   stripes 1 … 4        writes with the first need: "replica 1 500"; a session's number says which one
 *   stripes 5 … 8        writes with the second need …; the last four: the strictest, and what fits no other
 *
 * A session changes lanes when no reply is owed to it. While one is, what needs no more than its lane gives
 * stays there, behind what its own client has sent; what needs more waits until all is answered. So a
 * session's requests run in their order, and a slow replica is waited for by those only who asked for it.
 * Rejected: all requests of a session over one lane, where each read waits for the writes of others.
 *
 * While everything is async the way of a request is the same as without this folder. A change of the option
 * is a change of the map: the upstreams of the one kind are retired and those of the other made, with the
 * same care for order as when a group gets another server.
 */
import type { Bytes } from "../../base/bytes.ts";
import { readLatin1 } from "../../base/bytes.ts";
import { errorTextOf } from "../../base/shoal-error.ts";
import { type Command, ROUTE_KEY } from "../../commands/command.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";
import {
  type AckNeed,
  type AckRule,
  needOf,
  parseAcks,
  stricter,
  strictest,
} from "../../topology/acks-rule.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Call } from "../dispatch/call.ts";
import { HOLD_DRAIN } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import type { Lane } from "../slots/lane.ts";
import { Upstream } from "../upstream/upstream.ts";
import { AckUpstream } from "./ack-upstream.ts";
import { writes } from "./writes.ts";

/** Shared connections for writes with one need, per server, database and protocol: batches under way. */
export const ACK_STRIPES = 4;
/** Needs that have connections of their own; the writes of further ones go with the strictest. */
export const ACK_NEEDS_MAX = 4;

export class Acks {
  /** What fits every rule; null: no write waits. */
  strictest: AckNeed | null = null;
  /** The need of the call that is being dispatched. */
  placed: AckNeed | null = null;
  /** Those that have lanes of their own, the strictest last. */
  #needs: readonly AckNeed[] = [];
  #rules: readonly AckRule[] = [];
  /** All keys have the same need. */
  #uniform = true;
  #text = "";
  readonly #plane: DataPlane;
  readonly #scanner = new RequestScanner();
  readonly #keys = new KeyPositions();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Whether any write waits for replicas. */
  get on(): boolean {
    return this.strictest !== null;
  }

  /** Takes the option of a map that is about to be put in force. */
  configure(map: ClusterMap): void {
    const text = String(map.options["acks"] ?? "async");
    if (text === this.#text) return;
    try {
      this.#use(parseAcks(text));
      this.#text = text;
      this.#plane.env.net.atTurnEnd(() => this.#restripe());
    } catch (error) {
      // Checked where it is set; whatever got past that must not stop a map.
      this.#plane.env.log.error("option refused", { option: "acks", reason: errorTextOf(error) });
    }
  }

  /** The stripe of a new session; `oneWay`: all that it sends takes one way, as it tracks keys. */
  stripeOf(sessionId: number, oneWay = false): number {
    return this.#stripe(sessionId, oneWay ? this.#needs.length : 0);
  }

  /** Whether a request with `need` may go over the session's lane. On the way of every request while `on`. */
  suits(session: Session, need: AckNeed | null): boolean {
    const at = levelOf(session.lane);
    if (at === this.#level(need) || session.tracking !== null) return true;
    // What its own client has sent is before it in any case.
    return session.inFlight > 0 && (need === null || covers(this.#needs[at - 1], need));
  }

  /**
   * Brings the session to the lane for requests with `need`. False: not now; the request is to be looked at
   * again when no reply is owed.
   */
  enter(session: Session, need: AckNeed | null): boolean {
    if (this.suits(session, need)) return true;
    if (session.inFlight > 0) {
      session.hold(HOLD_DRAIN);
      return false;
    }
    const { database, protocol } = session.lane;
    const stripe = this.#stripe(session.id, this.#level(need));
    session.lane = this.#plane.slots.lane(database, protocol, stripe);
    return true;
  }

  /** As `enter`, for a call that the dispatcher is about to route. */
  place(call: Call): boolean {
    const { session, command } = call;
    const { transaction } = session;
    // Until EXEC nothing of a transaction is sent.
    if (transaction !== null && command.name !== "exec") return true;
    this.placed = transaction?.mayWrite === true ? this.strictest : this.#needOfCall(call);
    return this.enter(session, this.placed);
  }

  makeUpstream(target: UpstreamTarget, reconnects: boolean): Upstream {
    return this.on
      ? new AckUpstream(this.#plane, target, reconnects)
      : new Upstream(this.#plane, target, reconnects);
  }

  /** Whether an upstream is of the kind that the option wants. */
  fits(upstream: Upstream): boolean {
    return this.on === upstream instanceof AckUpstream;
  }

  /** The need of `bytes[start, end)`, one whole request. */
  needOfRequest(command: Command | null, bytes: Bytes, start: number, end: number): AckNeed | null {
    if (command === null || !writes(command)) return null;
    return this.#uniform ? this.strictest : this.#needOfKeys(command, bytes, start, end);
  }

  /** The need of a request whose keys are not at hand: the strictest, if it may write. */
  needOfCommand(command: Command | null): AckNeed | null {
    return command !== null && writes(command) ? this.strictest : null;
  }

  #needOfCall({ command, bytes, start, end }: Call): AckNeed | null {
    // What is cut by server, or goes to all of them, waits as a whole (`ReplyOwner.writes`).
    return command.route === ROUTE_KEY
      ? this.needOfRequest(command, bytes, start, end)
      : this.needOfCommand(command);
  }

  /** Which lanes are a need's: 0 for none, then by their order. */
  #level(need: AckNeed | null): number {
    if (need === null) return 0;
    const { length } = this.#needs;
    for (let i = 0; i < length; i++) if (isSame(this.#needs[i], need)) return i + 1;
    return length;
  }

  #stripe(sessionId: number, level: number): number {
    return level === 0 ? 0 : (level - 1) * ACK_STRIPES + 1 + (sessionId % ACK_STRIPES);
  }

  #restripe(): void {
    for (const session of this.#plane.clients.all()) session.followStripes();
  }

  #needOfKeys(command: Command, bytes: Bytes, start: number, end: number): AckNeed | null {
    const scanner = this.#scanner;
    if (scanner.scan(bytes, start, end) < 0) return this.strictest;
    scanner.bytes = bytes;
    const count = findKeys(command, scanner, this.#keys);
    if (count <= 0) return this.strictest;
    let need: AckNeed | null = null;
    for (let i = 0; i < count; i++) {
      const index = this.#keys.at[i];
      const key = readLatin1(bytes, scanner.argStart[index], scanner.argEnd[index]);
      need = stricter(need, needOf(this.#rules, key));
    }
    return need;
  }

  #use(rules: readonly AckRule[]): void {
    this.#rules = rules.map((rule) => ({ ...rule, prefix: inBytes(rule.prefix) }));
    this.strictest = strictest(rules);
    this.#uniform = rules.length === 1 && rules[0].prefix === "" && !rules[0].whole;
    this.#needs = lanesOf(rules, this.strictest);
  }
}

/** The needs that get lanes of their own: those of the first rules, and the strictest. */
function lanesOf(rules: readonly AckRule[], most: AckNeed | null): AckNeed[] {
  if (most === null) return [];
  const needs: AckNeed[] = [];
  for (const { need } of rules) {
    const known = need === null || isSame(need, most) || needs.some((each) => isSame(each, need));
    if (!known && needs.length < ACK_NEEDS_MAX - 1) needs.push(need);
  }
  return [...needs, most];
}

/** Which need a lane is for; see `Acks.#level`. */
function levelOf({ stripe }: Lane): number {
  return Math.ceil(stripe / ACK_STRIPES);
}

function isSame(a: AckNeed, b: AckNeed): boolean {
  return a === b || (a.replicas === b.replicas && a.timeoutMs === b.timeoutMs);
}

/** Whether what waits as `most` says waits for no less than `need` says, and for as long. */
function covers(most: AckNeed | undefined, need: AckNeed): boolean {
  return most !== undefined && most.replicas >= need.replicas && most.timeoutMs >= need.timeoutMs;
}

/** A text as its UTF-8 bytes, a character for each: keys are compared as bytes. */
function inBytes(text: string): string {
  return encodeURIComponent(text).replace(/%([0-9A-F]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}
