/**
 * What one sentinel tells unasked: a subscription to the two messages that say a primary was replaced.
 *
 *   connect ──▶ (AUTH) SUBSCRIBE ──message──▶ onSwitch
 *      ▲                │ closed
 *      └──RETRY_MS──────┘
 *
 * Only a hint to ask at once. What is missed while the connection is away is found by the next question, so
 * nothing is read out of the message but that it came.
 */
import type { Timer } from "../../env/env.ts";
import type { Connection } from "../../env/net.ts";
import { type Reply, ReplyDecoder } from "../../redis/reply-decoder.ts";
import { type RedisEnv, encodeCommand } from "../../redis/server-connection.ts";
import { parseAddress } from "../../topology/cluster-map.ts";

/**
 * The leader of a failover says the first when the replica has become a primary, the others the second as
 * soon as they hear of it.
 */
const CHANNELS = ["+promoted-slave", "+switch-master"];

const RETRY_MS = 1000;

export interface SentinelCredentials {
  readonly user: string | null;
  readonly password: string;
}

export class SentinelFeed {
  readonly #env: Pick<RedisEnv, "timers" | "net">;
  readonly #address: string;
  readonly #credentials: SentinelCredentials | null;
  readonly #onSwitch: () => void;
  #connection: Connection | null = null;
  #retry: Timer | null = null;

  constructor(
    env: Pick<RedisEnv, "timers" | "net">,
    address: string,
    credentials: SentinelCredentials | null,
    onSwitch: () => void,
  ) {
    this.#env = env;
    this.#address = address;
    this.#credentials = credentials;
    this.#onSwitch = onSwitch;
  }

  open(): void {
    if (this.#connection !== null) return;
    this.#retry?.cancel();
    this.#retry = null;
    const { host, port } = parseAddress(this.#address);
    const decoder = new ReplyDecoder((reply) => this.#take(reply));
    this.#connection = this.#env.net.connect(host, port, {
      onOpen: () => this.#subscribe(),
      onData: (bytes, start, end) => {
        try {
          decoder.push(bytes, start, end);
        } catch {
          this.#lost();
        }
      },
      onEnd: () => this.#lost(),
      onDrain: () => {},
      onClose: () => this.#lost(),
    });
  }

  close(): void {
    this.#retry?.cancel();
    this.#retry = null;
    this.#connection?.close();
    this.#connection = null;
  }

  #subscribe(): void {
    const connection = this.#connection as Connection;
    if (this.#credentials !== null) {
      const { user, password } = this.#credentials;
      const words = user === null ? ["AUTH", password] : ["AUTH", user, password];
      connection.output.appendLatin1(encodeCommand(words));
    }
    connection.output.appendLatin1(encodeCommand(["SUBSCRIBE", ...CHANNELS]));
    connection.flushSoon();
  }

  #take(reply: Reply): void {
    if (Array.isArray(reply) && reply[0] === "message") this.#onSwitch();
  }

  #lost(): void {
    this.close();
    this.#retry = this.#env.timers.after(RETRY_MS, () => this.open());
  }
}
