/**
 * One server as a check sees it: its databases, its keys. A connection of the check's own, because SELECT
 * changes what a connection means.
 *
 * Each call sends SELECT with it, in the same breath: the connection may be another one than last time, and
 * would stand in database 0 then.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { RedisServer } from "../../redis/redis-server.ts";
import type { Reply } from "../../redis/reply-decoder.ts";
import type { RedisEnv, ServerConnectionOptions } from "../../redis/server-connection.ts";
import { parseAddress } from "../../topology/cluster-map.ts";

export interface KeyServerOptions {
  readonly credentials: ServerConnectionOptions["credentials"];
  readonly timeoutMs: number;
}

/** Keys that one SCAN looks at: about a millisecond of the server's time. */
const SCAN_COUNT = 1000;
/** For the server's own connection to the other one, and for one batch. */
const MIGRATE_TIMEOUT_MS = 5000;

export class KeyServer {
  readonly address: string;
  readonly #server: RedisServer;
  readonly #credentials: KeyServerOptions["credentials"];

  constructor(env: RedisEnv, address: string, { credentials, timeoutMs }: KeyServerOptions) {
    this.address = address;
    this.#credentials = credentials;
    const options = { address, credentials, connectTimeoutMs: timeoutMs, commandTimeoutMs: timeoutMs };
    this.#server = new RedisServer(env, options);
  }

  /** The databases that hold keys, with how many. @throws ShoalError */
  async databases(): Promise<Array<{ readonly db: number; readonly keys: number }>> {
    const text = String(await this.#server.command(["INFO", "keyspace"]));
    return [...text.matchAll(/^db(\d+):keys=(\d+)/gm)].map(([, db, keys]) => {
      return { db: Number(db), keys: Number(keys) };
    });
  }

  /** Every key of a database, in batches; a key may come twice. @throws ShoalError */
  async *scan(db: number): AsyncGenerator<string[]> {
    let cursor = "0";
    do {
      const reply = await this.#inDatabase(db, ["SCAN", cursor, "COUNT", String(SCAN_COUNT)]);
      if (!Array.isArray(reply) || !Array.isArray(reply[1])) {
        throw new ShoalError("SERVER_REPLY", `Cannot use the answer of ${this.address} to SCAN`);
      }
      cursor = String(reply[0]);
      yield reply[1] as string[];
    } while (cursor !== "0");
  }

  /** @throws ShoalError */
  async exists(db: number, key: string): Promise<boolean> {
    return (await this.#inDatabase(db, ["EXISTS", key])) === 1;
  }

  /**
   * Moves a key to another server, which must not have it: without REPLACE. Null when it has moved (or is
   * gone), else why not.
   */
  async migrate(db: number, key: string, to: string): Promise<string | null> {
    const { host, port } = parseAddress(to);
    const target = [host, String(port), "", String(db), String(MIGRATE_TIMEOUT_MS)];
    try {
      await this.#inDatabase(
        db,
        ["MIGRATE", ...target, ...this.#signIn(), "KEYS", key],
        2 * MIGRATE_TIMEOUT_MS,
      );
      return null;
    } catch (error) {
      return errorTextOf(error);
    }
  }

  close(): void {
    this.#server.close();
  }

  #signIn(): string[] {
    if (this.#credentials === null) return [];
    const { user, password } = this.#credentials;
    return user === null ? ["AUTH", password] : ["AUTH2", user, password];
  }

  async #inDatabase(db: number, words: readonly string[], timeoutMs?: number): Promise<Reply> {
    // Both are in the same queue before anything else can happen: on one connection, or on none.
    const selected = this.#server.command(["SELECT", String(db)]);
    const reply = this.#server.command(words, timeoutMs);
    reply.catch(() => {});
    await selected;
    return reply;
  }
}
