/**
 * The checker's driver over ioredis, as people use it: with its defaults. They include that it sends again
 * what was in flight when a connection broke, so a write may be applied twice without the servers' doing;
 * that is counted as duplicated, for whichever system it happens on.
 */
import { type Cluster, Redis, ReplyError } from "ioredis";
import type { Reply } from "../../src/redis/reply-decoder.ts";
import {
  type Driver,
  type Outcome,
  type Session,
  type Words,
  outcomeOfError,
} from "../../src/verify/driver.ts";

/** Longer than any failover; a client would wait for ever otherwise, when a connection hangs. */
const REPLY_MS_MAX = 30_000;

export class IoredisDriver implements Driver {
  readonly name: string;
  readonly #connect: () => Redis | Cluster;

  constructor(name: string, connect: () => Redis | Cluster) {
    this.name = name;
    this.#connect = connect;
  }

  open(): Session {
    const client = this.#connect();
    client.on("error", () => {});
    return { run: (commands) => run(client, commands), close: () => client.disconnect() };
  }
}

async function run(client: Redis | Cluster, commands: readonly Words[]): Promise<Outcome> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${REPLY_MS_MAX} ms`)), REPLY_MS_MAX);
  });
  try {
    const [[name, ...args]] = commands;
    const answer = commands.length === 1 ? client.call(name, ...args) : transaction(client, commands);
    return { kind: "reply", reply: (await Promise.race([answer, late])) as Reply };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    // Everything that is not a server's answer may have been sent before.
    return error instanceof ReplyError ? outcomeOfError(text) : { kind: "doubt", text };
  } finally {
    clearTimeout(timer);
  }
}

async function transaction(client: Redis | Cluster, commands: readonly Words[]): Promise<Reply> {
  const results = await client.multi(commands.map(([name, ...args]) => [name.toLowerCase(), ...args])).exec();
  if (results === null) return null;
  const failure = results.find(([error]) => error !== null)?.[0];
  if (failure) throw failure;
  return results.map(([, result]) => result as Reply);
}
