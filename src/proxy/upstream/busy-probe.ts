/**
 * Tells a server that runs a long script from one that hangs.
 *
 *   owes replies, none comes ─▶ PING over another connection ─┬─ -BUSY: it lives, and says so to everybody
 *   but the script
 *                                                             ├─ +PONG: it is there, only slow
 *                                                             └─ nothing: the progress watch will find it
 *                                                             hung
 *
 * A server answers -BUSY to others while a script has run for longer than its `busy-reply-threshold`.
 * Through the shared connection nobody would see that: requests stand behind the script, and after
 * `server_timeout_ms` the connection would be cut as hung, though nothing is wrong with the server.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { UpstreamTarget } from "./handshake.ts";
import type { Upstream } from "./upstream.ts";

const BUSY = "-BUSY ";

/** What a probe finds. */
export interface ProbeFindings {
  /** The server's words, without "-" and line end. */
  busy(text: string): void;
  /** The server answers, whatever the shared connection waits for. */
  alive(): void;
}

export class BusyProbe implements ReplyOwner {
  readonly #plane: DataPlane;
  readonly #target: UpstreamTarget;
  readonly #findings: ProbeFindings;
  #asked: Upstream | null = null;

  constructor(plane: DataPlane, like: UpstreamTarget, findings: ProbeFindings) {
    this.#plane = plane;
    // Database 0 and RESP2: a busy server takes no SELECT.
    this.#target = { ...like, database: 0, protocol: 2 };
    this.#findings = findings;
  }

  /** Asks, unless an answer is still to come. */
  ask(): void {
    if (this.#asked !== null) return;
    const upstream = this.#plane.privates.open(this.#target);
    if (upstream === null) return;
    this.#asked = upstream;
    upstream.patient = true;
    upstream.begin(this, 0);
    upstream.output.appendLatin1("*1\r\n$4\r\nPING\r\n");
    upstream.flushSoon();
  }

  /** The answer is not wanted any more. */
  cancel(): void {
    const upstream = this.#asked;
    this.#asked = null;
    if (upstream !== null) this.#plane.privates.discard(upstream);
  }

  onReply(_request: Request, bytes: Bytes, start: number, end: number): void {
    const upstream = this.#asked;
    this.#asked = null;
    if (upstream === null) return;
    upstream.patient = false;
    upstream.whenIdle(() => this.#plane.privates.give(upstream));
    const text = readLatin1(bytes, start, end - 2);
    if (text.startsWith(BUSY)) this.#findings.busy(text.slice(1));
    else this.#findings.alive();
  }

  onFailure(): void {
    this.cancel();
  }
}
