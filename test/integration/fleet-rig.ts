/**
 * A proxy over three groups, a second one over one group, and a server alone: for commands that are about
 * servers.
 */
import { type ConfigOverrides, ProxyProcess } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { decodeReplyTree, type ReplyTree, RespClient } from "../support/resp-client.ts";

const GROUPS = 3;
const SERVER_ARGS = ["--enable-debug-command", "yes"];

export class FleetRig {
  readonly servers: readonly RedisProcess[];
  readonly bare: RedisProcess;
  readonly proxy: ProxyProcess;
  /** Over `servers[0]` alone. */
  readonly narrow: ProxyProcess;

  private constructor(
    servers: readonly RedisProcess[],
    bare: RedisProcess,
    proxy: ProxyProcess,
    narrow: ProxyProcess,
  ) {
    this.servers = servers;
    this.bare = bare;
    this.proxy = proxy;
    this.narrow = narrow;
  }

  static async start(overrides: ConfigOverrides = {}): Promise<FleetRig> {
    const servers = await Promise.all(Array.from({ length: GROUPS }, () => RedisProcess.start(SERVER_ARGS)));
    const bare = await RedisProcess.start(SERVER_ARGS);
    const addresses = servers.map((server) => server.addr);
    const proxy = await ProxyProcess.start(addresses, overrides);
    const narrow = await ProxyProcess.start(addresses.slice(0, 1), overrides);
    return new FleetRig(servers, bare, proxy, narrow);
  }

  /** A connection to the proxy, speaking `protocol`. */
  async client(protocol = "2"): Promise<RespClient> {
    return speaking(await this.proxy.connect(), protocol);
  }

  /** A connection to the server alone. */
  async bareClient(protocol = "2"): Promise<RespClient> {
    return speaking(await RespClient.connect(this.bare.port), protocol);
  }

  /** A key of each group, in the groups' order. */
  async keyOfEachGroup(): Promise<string[]> {
    const client = await this.client();
    const keys: string[] = [];
    for (let i = 0; keys.filter(Boolean).length < GROUPS; i++) {
      await client.command("SET", `of:${i}`, "v");
      const holders = await Promise.all(this.servers.map((server) => server.command("EXISTS", `of:${i}`)));
      keys[holders.indexOf(1)] ??= `of:${i}`;
    }
    client.close();
    return keys;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.proxy.dispose(), this.narrow.dispose()]);
    await Promise.all([...this.servers, this.bare].map((server) => server.dispose()));
  }
}

async function speaking(client: RespClient, protocol: string): Promise<RespClient> {
  await client.command("HELLO", protocol);
  return client;
}

/** The decoded reply to a command. */
export async function ask(client: RespClient, ...words: string[]): Promise<ReplyTree> {
  return decodeReplyTree(await client.command(...words));
}

/** The types of a reply, all the way down, without the values: "*[:$*[$]]". */
export function shapeOf(tree: ReplyTree): string {
  return tree.items.length === 0 ? tree.type : `${tree.type}[${tree.items.map(shapeOf).join("")}]`;
}

/** The members of a map (or of the flat list that RESP2 has for it) by name. */
export function membersOf(tree: ReplyTree): Map<string, ReplyTree> {
  const members = new Map<string, ReplyTree>();
  for (let i = 0; i + 1 < tree.items.length; i += 2) members.set(tree.items[i].text, tree.items[i + 1]);
  return members;
}
