/** One redis-sentinel, by what the controller asks of it and tells it. */
import { ShoalError } from "../../base/shoal-error.ts";
import { RedisServer } from "../../redis/redis-server.ts";
import { ReplyError } from "../../redis/reply-decoder.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import type { MonitorEffect } from "./monitor-plan.ts";
import { type SentinelCredentials, SentinelFeed } from "./sentinel-feed.ts";
import { type SentinelSight, readMasters, readReplicas } from "./sentinel-view.ts";

/** A sentinel only talks, so it answers at once or is away. */
const ANSWER_MS = 1000;

/** One that is back is asked soon. */
const RECONNECT_MS_MAX = 500;

export class SentinelLink {
  readonly address: string;
  /** What it last said, or that it does not answer. */
  sight: SentinelSight = null;
  /** When it last answered, or was first asked; by the monotonic clock. */
  answeredMs: number;
  /** Why it does not. */
  failure: string | null = "not asked yet";
  /** Names whose credentials it was given by this process. */
  readonly signedIn = new Set<string>();
  readonly #env: RedisEnv;
  readonly #server: RedisServer;
  readonly #feed: SentinelFeed;

  constructor(env: RedisEnv, address: string, credentials: SentinelCredentials | null, onSwitch: () => void) {
    this.address = address;
    this.#env = env;
    this.answeredMs = env.clock.nowMs();
    const times = {
      connectTimeoutMs: ANSWER_MS,
      commandTimeoutMs: ANSWER_MS,
      backoffMsMax: RECONNECT_MS_MAX,
    };
    this.#server = new RedisServer(env, { address, credentials, ...times });
    this.#feed = new SentinelFeed(env, address, credentials, onSwitch);
  }

  listen(): void {
    this.#feed.open();
  }

  close(): void {
    this.#feed.close();
    this.#server.close();
  }

  /** Asks what it knows of `names`, and keeps that in `sight`. */
  async look(names: readonly string[]): Promise<void> {
    try {
      const questions = names.map((name) => ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
      const [masters, ...addrs] = await this.#server.pipeline([["SENTINEL", "MASTERS"], ...questions]);
      this.sight = readMasters(masters, names, addrs);
      this.failure = masters instanceof ReplyError ? masters.text : null;
      if (this.sight === null) this.failure ??= "it is no redis-sentinel";
      else this.answeredMs = this.#env.clock.nowMs();
    } catch (error) {
      this.sight = null;
      this.failure = error instanceof ShoalError ? error.message : String(error);
    }
  }

  /** The addresses of the replicas that it would choose among. */
  async replicas(name: string): Promise<string[]> {
    return readReplicas(await this.#server.command(["SENTINEL", "REPLICAS", name]));
  }

  /** @throws ShoalError SERVER_REPLY with the first thing that it refuses; UNREACHABLE, TIMEOUT */
  async carryOut({ kind, name, commands }: MonitorEffect): Promise<void> {
    const replies = await this.#server.pipeline(commands);
    const refused = replies.find((reply) => reply instanceof ReplyError);
    // The name of the command only: its arguments may be secrets.
    if (refused instanceof ReplyError)
      throw new ShoalError(
        "SERVER_REPLY",
        `Cannot tell sentinel ${this.address} about ${name}: ${refused.text}`,
      );
    if (kind === "remove") this.signedIn.delete(name);
    else this.signedIn.add(name);
  }

  /** It forgets replicas and other sentinels, and finds those again that the primary knows. */
  async reset(name: string): Promise<void> {
    await this.#server.command(["SENTINEL", "RESET", name]);
  }

  /** It knows the group no more. Fine when it never did. */
  async remove(name: string): Promise<void> {
    const [reply] = await this.#server.pipeline([["SENTINEL", "REMOVE", name]]);
    this.signedIn.delete(name);
    if (reply instanceof ReplyError && !/no such master/i.test(reply.text))
      throw new ShoalError("SERVER_REPLY", `Cannot remove ${name} from ${this.address}: ${reply.text}`);
  }

  /** It replaces the primary now, without asking the others. @throws ShoalError SERVER_REPLY: why it can't */
  async failOver(name: string): Promise<void> {
    await this.#server.command(["SENTINEL", "FAILOVER", name]);
  }
}
