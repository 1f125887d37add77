/**
 * What the proxy says first on a server connection: who it is, in which protocol it wants to be answered,
 * which database.
 *
 *   [AUTH] ─▶ [HELLO 3] ─▶ [SELECT n] ─▶ [ROLE] ─▶ PING          all sent at once; the reply to PING says
 *   that the server serves
 *
 * Requests of clients stand right behind it in the same queue. PING comes last even if nothing else is
 * needed, because a connection to a stopped process opens all the same: only a reply shows life.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import type { Protocol } from "../../resp/reply-writer.ts";
import type { ProxyConfig } from "../proxy-config.ts";
import type { ReplyOwner, Request } from "../request.ts";
import type { Upstream } from "./upstream.ts";

/** What a connection is to. */
export interface UpstreamTarget {
  readonly group: string;
  /** "host:port" */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly protocol: Protocol;
  /** Whether it matters that the server is a primary: not to those who read from replicas. */
  readonly anyRole?: boolean;
}

const ERROR = 45;
const ARRAY = 42;
/** How ROLE answers at a replica, after the array's header. */
const REPLICA = "$5\r\nslave";
/** Longest piece of a server's error that is passed on. */
const ERROR_TEXT_MAX = 200;

export class Handshake implements ReplyOwner {
  readonly #upstream: Upstream;
  #steps: string[] = [];

  constructor(upstream: Upstream) {
    this.#upstream = upstream;
  }

  /**
   * Queues the whole handshake on the upstream's new connection. `again`: it was lost before. A primary that
   * comes back as a replica is none any more: the map will name the new one, and until then nothing is sent.
   */
  start(config: ProxyConfig, isPrivate: boolean, again: boolean): void {
    const { database, protocol, anyRole = false } = this.#upstream.target;
    const { server_username: user, server_password: password } = config;
    if (password !== "") this.#step("AUTH", ...(user === "" ? [password] : [user, password]));
    if (protocol === 3) this.#step("HELLO", "3");
    if (database !== 0) this.#step("SELECT", String(database));
    // To be able to end a wait of this connection, its name at the server must be known.
    if (isPrivate) this.#step("CLIENT", "ID");
    if (again && !anyRole) this.#step("ROLE");
    this.#step("PING");
    this.#upstream.flushSoon();
  }

  #step(...words: string[]): void {
    this.#upstream.begin(this, this.#steps.length);
    this.#steps.push(words[0]);
    const text = words.map((word) => `$${word.length}\r\n${word}\r\n`).join("");
    this.#upstream.output.appendLatin1(`*${words.length}\r\n${text}`);
  }

  onReply(request: Request, bytes: Bytes, start: number, end: number): void {
    const last = request.part === this.#steps.length - 1;
    const isId = this.#steps[request.part] === "CLIENT";
    if (this.#steps[request.part] === "ROLE") {
      // Whoever may not ask, or asks a server that does not know ROLE, is not told.
      const head = bytes.indexOf(10, start) + 1;
      const role = bytes[start] === ARRAY ? readLatin1(bytes, head, head + REPLICA.length) : "";
      if (role === REPLICA) this.#upstream.handshakeFailed("it is a replica now");
      return;
    }
    // A server that is busy with a script does not say the id, and yet takes the SCRIPT KILL that comes next.
    if (bytes[start] === ERROR && !isId) {
      const text = readLatin1(bytes, start + 1, Math.min(end - 2, start + ERROR_TEXT_MAX));
      // A server that loads its data answers -LOADING to clients in words of its own: it is there.
      if (last && !text.startsWith("NOAUTH")) this.#upstream.handshakeDone();
      else this.#upstream.handshakeFailed(`the server refused ${this.#steps[request.part]}: ${text}`);
      return;
    }
    if (isId && bytes[start] !== ERROR) this.#upstream.clientId = readLatin1(bytes, start + 1, end - 2);
    if (last) this.#upstream.handshakeDone();
  }

  onFailure(): void {
    // The upstream itself knows that its connection is gone.
  }
}
