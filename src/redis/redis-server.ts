/**
 * One server, by the commands that the controller needs, typed. What each may throw is
 * ServerConnection.command's.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { parseAddress } from "../topology/cluster-map.ts";
import type { Reply } from "./reply-decoder.ts";
import { type RedisEnv, ServerConnection, type ServerConnectionOptions } from "./server-connection.ts";
import { type ServerInfo, parseServerInfo } from "./server-info.ts";

/** ROLE's answer. */
export type ServerRole =
  | { readonly role: "primary"; readonly offset: number; readonly replicas: number }
  | { readonly role: "replica"; readonly follows: string; readonly link: string; readonly offset: number };

export class RedisServer {
  readonly #connection: ServerConnection;
  readonly #credentials: ServerConnectionOptions["credentials"];

  constructor(env: RedisEnv, options: ServerConnectionOptions) {
    this.#connection = new ServerConnection(env, options);
    this.#credentials = options.credentials;
  }

  get address(): string {
    return this.#connection.address;
  }

  /** See {@link ServerConnection.lastReplyMs}. */
  get lastReplyMs(): number {
    return this.#connection.lastReplyMs;
  }

  /** Any command; for what has no helper here. */
  command(words: readonly string[], timeoutMs?: number): Promise<Reply> {
    return this.#connection.command(words, timeoutMs);
  }

  /** Several commands as one piece; errors come back as values. */
  pipeline(commands: ReadonlyArray<readonly string[]>, timeoutMs?: number): Promise<Reply[]> {
    return this.#connection.pipeline(commands, timeoutMs);
  }

  async ping(): Promise<void> {
    this.#expect("PING", await this.command(["PING"]), "PONG");
  }

  async info(): Promise<ServerInfo> {
    return parseServerInfo(String(await this.command(["INFO"])));
  }

  async role(): Promise<ServerRole> {
    const reply = await this.command(["ROLE"]);
    if (Array.isArray(reply) && reply[0] === "master" && Array.isArray(reply[2])) {
      return { role: "primary", offset: Number(reply[1]), replicas: reply[2].length };
    }
    if (Array.isArray(reply) && reply[0] === "slave") {
      const follows = `${String(reply[1])}:${String(reply[2])}`;
      return { role: "replica", follows, link: String(reply[3]), offset: Number(reply[4]) };
    }
    throw this.#unexpected("ROLE", reply);
  }

  /**
   * Makes it a replica of `primary` ("host:port"): what it holds will be replaced. It signs in there with
   * `login`; without one, our own credentials are the ones, because a group's servers share theirs. `confirm`
   * is asked last, when nothing but REPLICAOF is left to do.
   */
  async replicaOf(
    primary: string,
    login: { readonly user: string; readonly password: string } | null = null,
    confirm: () => Promise<void> = async () => {},
  ): Promise<void> {
    const { host, port } = parseAddress(primary);
    const { user, password } = login ?? { user: this.#credentials?.user ?? null, password: null };
    if (user !== null) await this.configSet("masteruser", user);
    const shown = password ?? this.#credentials?.password ?? null;
    if (shown !== null) await this.configSet("masterauth", shown);
    await confirm();
    // "OK Already connected to specified master" is an answer too.
    await this.command(["REPLICAOF", host, String(port)]);
  }

  /** Makes it a primary; it keeps what it holds. */
  async replicaOfNoOne(): Promise<void> {
    await this.command(["REPLICAOF", "NO", "ONE"]);
  }

  /** Settings whose names match `pattern`. */
  async configGet(pattern: string): Promise<Map<string, string>> {
    const reply = await this.command(["CONFIG", "GET", pattern]);
    if (!Array.isArray(reply)) throw this.#unexpected("CONFIG GET", reply);
    const settings = new Map<string, string>();
    for (let i = 0; i + 1 < reply.length; i += 2) settings.set(String(reply[i]), String(reply[i + 1]));
    return settings;
  }

  async configSet(name: string, value: string): Promise<void> {
    this.#expect("CONFIG SET", await this.command(["CONFIG", "SET", name, value]), "OK");
  }

  /** `rules` as ACL SETUSER takes them: "on", "off", ">password", "+@all", "~*". Redis 6.0 and later. */
  async aclSetUser(user: string, rules: readonly string[]): Promise<void> {
    this.#expect("ACL SETUSER", await this.command(["ACL", "SETUSER", user, ...rules]), "OK");
  }

  /** Cuts every connection of `user`; how many there were comes back. */
  async clientKillUser(user: string): Promise<number> {
    return Number(await this.command(["CLIENT", "KILL", "USER", user]));
  }

  /** See {@link ServerConnection.retryNow}. */
  retryNow(): void {
    this.#connection.retryNow();
  }

  close(): void {
    this.#connection.close();
  }

  #expect(name: string, reply: Reply, wanted: string): void {
    if (reply !== wanted) throw this.#unexpected(name, reply);
  }

  #unexpected(name: string, reply: Reply): ShoalError {
    const shown = JSON.stringify(reply)?.slice(0, 100);
    return new ShoalError("SERVER_REPLY", `Cannot use the answer of ${this.address} to ${name}: ${shown}`);
  }
}
