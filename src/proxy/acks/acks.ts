/**
 * The option `acks` as a worker uses it: which writes wait for replicas, and over which connections.
 *
 *   map option ─▶ rules ─▶ async: plain upstreams, nothing is asked of anybody
 *                      └─▶ some write waits: every lane's upstreams are AckUpstreams, and there are
 *                      `stripes` lanes
 *                          per database and protocol; a session's number says which one is its own
 *
 * While everything is async the way of a request is the same as without this folder. A change of the option
 * is a change of the map: the upstreams of the one kind are retired and those of the other made, with the
 * same care for order as when a group gets another server.
 */
import type { Bytes } from "../../base/bytes.ts";
import { readLatin1 } from "../../base/bytes.ts";
import { errorTextOf } from "../../base/shoal-error.ts";
import type { Command } from "../../commands/command.ts";
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
import type { UpstreamTarget } from "../upstream/handshake.ts";
import { Upstream } from "../upstream/upstream.ts";
import { AckUpstream } from "./ack-upstream.ts";
import { writes } from "./writes.ts";

/** Shared connections per server, database and protocol while writes wait: batches under way at a time. */
export const ACK_STRIPES = 4;

export class Acks {
  /** Lanes per database and protocol. */
  stripes = 1;
  /** What fits every rule; null: no write waits. */
  strictest: AckNeed | null = null;
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
    const { stripes } = this;
    try {
      this.#use(parseAcks(text));
      this.#text = text;
      if (this.stripes !== stripes) this.#plane.env.net.atTurnEnd(() => this.#restripe());
    } catch (error) {
      // Checked where it is set; whatever got past that must not stop a map.
      this.#plane.env.log.error("option refused", { option: "acks", reason: errorTextOf(error) });
    }
  }

  /** The lane that is a session's own. */
  stripeOf(sessionId: number): number {
    return sessionId % this.stripes;
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
    this.stripes = this.on ? ACK_STRIPES : 1;
  }
}

/** A text as its UTF-8 bytes, a character for each: keys are compared as bytes. */
function inBytes(text: string): string {
  return encodeURIComponent(text).replace(/%([0-9A-F]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}
