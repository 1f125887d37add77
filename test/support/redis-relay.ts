/**
 * A TCP relay before one redis-server, which can be told to keep some of what passes. Connections stay open
 * meanwhile, as they do when a cable is cut or a machine stands still.
 *
 *   anybody ─▶ relay.addr ─▶ redis-server        which replica a connection is of, it says itself (REPLCONF
 *                                                listening-port); what that is not, is a client's
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, RedisProcess } from "./redis-process.ts";

const PING = "*1\r\n$4\r\nPING\r\n";
const LISTENING_PORT = /listening-port\r\n\$\d+\r\n(\d+)/i;

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** Port of the replica whose link it is; 0 for clients. */
  replica: number;
  /** A replica that was told to go on from where it was: behind this answer comes the stream. */
  streams: boolean;
  /** A request has come that was to be kept: nothing behind it passes either. */
  stopped: boolean;
  keptNear: Buffer[];
  keptFar: Buffer[];
}

export class RedisRelay {
  readonly port: number;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #heldReplicas = new Set<number>();
  #clientsCut = false;
  #repliesLost = false;
  #stopAt = "";

  private constructor(server: Server, toPort: number) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (near) => this.#accept(near, toPort));
  }

  static async start(toPort: number): Promise<RedisRelay> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return new RedisRelay(server, toPort);
  }

  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The replica at `port` gets nothing more of the stream; it may connect again, and goes on waiting. */
  holdReplica(port: number): void {
    this.#heldReplicas.add(port);
  }

  /** Nobody but replicas gets anything through, either way. */
  cutClients(): void {
    this.#clientsCut = true;
  }

  /** What the server answers to clients gets lost from now on. */
  loseReplies(): void {
    this.#repliesLost = true;
  }

  /** Ends the connections of all clients; new ones are served. */
  breakClients(): void {
    this.#repliesLost = false;
    for (const link of this.#links) if (link.replica === 0) link.near.destroy();
  }

  /** The first request with this text, and what comes behind it on its connection, is kept. */
  stopAt(text: string): void {
    this.#stopAt = text;
  }

  /** Connections on which a request was kept. */
  get stopped(): number {
    return [...this.#links].filter((link) => link.stopped).length;
  }

  /** Whether a request with this text has come, and has not passed. */
  keeps(text: string): boolean {
    return [...this.#links].some(({ keptFar }) => Buffer.concat(keptFar).includes(text));
  }

  /** Everything passes again, and what was kept goes first. */
  heal(): void {
    this.#heldReplicas.clear();
    this.#clientsCut = false;
    this.#stopAt = "";
    for (const link of this.#links) {
      link.stopped = false;
      for (const bytes of link.keptNear.splice(0)) link.near.write(bytes);
      for (const bytes of link.keptFar.splice(0)) link.far.write(bytes);
    }
  }

  close(): void {
    this.#server.close();
    for (const { near, far } of this.#links) for (const socket of [near, far]) socket.destroy();
  }

  #accept(near: Socket, toPort: number): void {
    const far = connect({ host: "127.0.0.1", port: toPort });
    const state = { replica: 0, streams: false, stopped: false, keptNear: [], keptFar: [] };
    const link: Link = { near, far, ...state };
    this.#links.add(link);
    near.on("data", (bytes: Buffer) => this.#toServer(link, bytes));
    far.on("data", (bytes: Buffer) => this.#fromServer(link, bytes));
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        this.#links.delete(link);
      });
    }
  }

  #toServer(link: Link, bytes: Buffer): void {
    const text = bytes.toString("latin1");
    const port = LISTENING_PORT.exec(text);
    if (port !== null) link.replica = Number(port[1]);
    if (this.#stopAt !== "" && text.includes(this.#stopAt)) link.stopped = true;
    // A replica begins with PING, waits for the answer, and says who it is behind its password.
    const cut = this.#clientsCut && link.replica === 0 && text !== PING;
    link.keptFar.push(bytes);
    if (!cut && !link.stopped) for (const kept of link.keptFar.splice(0)) link.far.write(kept);
  }

  #fromServer(link: Link, bytes: Buffer): void {
    if (this.#repliesLost && link.replica === 0) return;
    if (link.keptNear.length > 0) {
      link.keptNear.push(bytes);
      return;
    }
    let passes = bytes.length;
    const held = this.#heldReplicas.has(link.replica);
    if (held && link.streams) passes = 0;
    if (link.replica !== 0 && !link.streams) {
      const at = bytes.indexOf("+CONTINUE");
      const other = bytes.indexOf("+FULLRESYNC");
      link.streams = at >= 0 || other >= 0;
      if (held && link.streams) passes = at >= 0 ? bytes.indexOf("\r\n", at) + 2 : 0;
    }
    if (this.#clientsCut && link.replica === 0 && bytes.toString("latin1") !== "+PONG\r\n") passes = 0;
    if (passes > 0) link.near.write(bytes.subarray(0, passes));
    if (passes < bytes.length) link.keptNear.push(bytes.subarray(passes));
  }
}

/** A redis-server that everybody else knows by the address of a relay; the test's own commands go past it. */
export class RelayedRedis extends RedisProcess {
  relay: RedisRelay | null = null;

  static async behindRelay(args: readonly string[] = []): Promise<RelayedRedis> {
    const folder = await mkdtemp(join(tmpdir(), "shoal-redis-"));
    const redis = new RelayedRedis(await freePort(), folder, args);
    await redis.launch();
    redis.relay = await RedisRelay.start(redis.port);
    return redis;
  }

  override get addr(): string {
    return this.relay?.addr ?? super.addr;
  }

  override async dispose(): Promise<void> {
    this.relay?.close();
    await super.dispose();
  }
}
