/**
 * What is compared: a proxy over three redis-servers, and one redis-server alone.
 *
 *   same bytes ─┬─▶ proxy ─▶ g1, g2, g3
 *               └─▶ bare
 */
import { type ConfigOverrides, ProxyProcess } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { encodeRequest, RespClient } from "../support/resp-client.ts";
import { allowedDifference } from "./allowed-differences.ts";

const GROUPS = 3;

export type Words = readonly string[];

export interface Mismatch {
  readonly index: number;
  readonly words: Words;
  readonly proxy: string;
  readonly bare: string;
}

/** One client of each side, kept in step. */
export class Pair {
  readonly proxy: RespClient;
  readonly bare: RespClient;

  constructor(proxy: RespClient, bare: RespClient) {
    this.proxy = proxy;
    this.bare = bare;
  }

  /** Sends one command to both and compares. Null when the answers are equal, or may differ. */
  async compare(words: Words): Promise<Mismatch | null> {
    return (await this.compareBatch([words], 0))[0] ?? null;
  }

  /** Sends all commands at once to both sides; what differs comes back. `from`: the first one's index. */
  async compareBatch(commands: readonly Words[], from: number): Promise<Mismatch[]> {
    const bytes = Buffer.concat(commands.map(encodeRequest));
    this.proxy.write(bytes);
    this.bare.write(bytes);
    const [proxy, bare] = await Promise.all([
      this.proxy.replies(commands.length),
      this.bare.replies(commands.length),
    ]);
    const mismatches: Mismatch[] = [];
    commands.forEach((words, i) => {
      if (proxy[i].equals(bare[i]) || allowedDifference(words, proxy[i], bare[i])) return;
      mismatches.push({
        index: from + i,
        words,
        proxy: proxy[i].toString("latin1"),
        bare: bare[i].toString("latin1"),
      });
    });
    return mismatches;
  }

  close(): void {
    this.proxy.close();
    this.bare.close();
  }
}

export class DifferentialRig {
  readonly servers: readonly RedisProcess[];
  readonly bare: RedisProcess;
  readonly #proxies: ReadonlyMap<string, ProxyProcess>;
  readonly #password: string;

  private constructor(
    servers: readonly RedisProcess[],
    bare: RedisProcess,
    proxies: ReadonlyMap<string, ProxyProcess>,
    password: string,
  ) {
    this.#password = password;
    this.servers = servers;
    this.bare = bare;
    this.#proxies = proxies;
  }

  /**
   * A proxy for each of `transports` over the same servers; `password`: of the proxies and of the bare
   * server.
   */
  static async start(transports: readonly string[], password = ""): Promise<DifferentialRig> {
    const servers = await Promise.all(Array.from({ length: GROUPS }, () => RedisProcess.start()));
    const bare = await RedisProcess.start(password === "" ? [] : ["--requirepass", password]);
    const addresses = servers.map((server) => server.addr);
    const proxies = new Map<string, ProxyProcess>();
    for (const io of transports) {
      // PFSELFTEST keeps a server of a busy machine for seconds, which is no reason to take it for dead.
      const overrides: ConfigOverrides = { io, requirepass: password, server_timeout_ms: 30_000 };
      proxies.set(io, await ProxyProcess.start(addresses, overrides));
    }
    return new DifferentialRig(servers, bare, proxies, password);
  }

  /** The proxy with this transport. */
  proxy(io: string): ProxyProcess {
    const proxy = this.#proxies.get(io);
    if (proxy === undefined) throw new Error(`no proxy with transport ${io}`);
    return proxy;
  }

  /** New connections to both sides. */
  async connect(io: string): Promise<Pair> {
    return new Pair(await this.proxy(io).connect(), await RespClient.connect(this.bare.port));
  }

  /** Empties both sides, scripts included. */
  async empty(): Promise<void> {
    const all = [...this.servers, this.bare];
    await Promise.all(all.map((server) => server.command("FLUSHALL")));
    await this.bare.command("SCRIPT", "FLUSH");
    // Not at the servers: the proxies remember scripts.
    for (const proxy of this.#proxies.values()) {
      const client = await proxy.connect();
      await client.command("AUTH", this.#password);
      await client.command("SCRIPT", "FLUSH");
      client.close();
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.dispose()));
    await Promise.all([...this.servers, this.bare].map((server) => server.dispose()));
  }
}

/** A mismatch as lines for people. */
export function describeMismatch({ index, words, proxy, bare }: Mismatch): string {
  const [call, got, wanted] = [words, proxy, bare].map((each) => JSON.stringify(each));
  return `#${index} ${call}\n  proxy: ${got}\n  bare:  ${wanted}`;
}
