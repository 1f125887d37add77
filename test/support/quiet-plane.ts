/**
 * A data plane without sockets: what would be sent waits to be taken, what would arrive is handed in.
 *
 *   plane.client() ─▶ QuietConnection ─ receive(bytes) ─▶ Session …
 *   plane.servers[i] ─▶ QuietConnection ─ take() ─▶ what the group's server would get
 *
 * Nothing happens by itself: no timer runs, and a loop turn ends when `endTurn` says so.
 */
import { type Block, BlockPool } from "../../src/base/block-pool.ts";
import { OutputQueue } from "../../src/base/output-queue.ts";
import type { Env } from "../../src/env/env.ts";
import type { Log } from "../../src/env/log.ts";
import {
  type Connection,
  type ConnectionHandler,
  HEADROOM_BYTES,
  type Net,
  SLACK_BYTES,
} from "../../src/env/net.ts";
import { DataPlane } from "../../src/proxy/data-plane.ts";
import { NO_PEERS } from "../../src/proxy/peers.ts";
import { parseProxyConfig } from "../../src/proxy/proxy-config.ts";

const SLOTS = 1024;
const HANDLER: ConnectionHandler = {
  onOpen: nothing,
  onData: nothing,
  onEnd: nothing,
  onDrain: nothing,
  onClose: nothing,
};

export class QuietConnection implements Connection {
  readonly output: OutputQueue;
  readonly remoteAddress: string;
  readonly localAddress = "127.0.0.1:1";
  handler: ConnectionHandler;
  closed = false;

  constructor(blocks: BlockPool, remoteAddress: string, handler: ConnectionHandler) {
    this.output = new OutputQueue(blocks, 4 << 10);
    this.remoteAddress = remoteAddress;
    this.handler = handler;
  }

  flushSoon(): void {}
  callOnDrain(): void {}
  setReading(): void {}

  close(): void {
    this.closed = true;
    this.output.clear();
  }

  closeAfterFlush(): void {
    this.closed = true;
  }

  /** `data` arrives, in one piece. */
  receive(data: Uint8Array): void {
    const bytes = arriving(data);
    this.handler.onData(bytes, HEADROOM_BYTES, HEADROOM_BYTES + data.length);
  }

  /** Everything that waits to be sent, which is sent with that. */
  take(): Buffer {
    const pieces: Buffer[] = [];
    while (this.output.length > 0) {
      const { headBlock, headStart, headEnd } = this.output;
      pieces.push(Buffer.from(headBlock.bytes.subarray(headStart, headEnd)));
      this.output.sent(headEnd - headStart);
    }
    return Buffer.concat(pieces);
  }

  /** As `take`, without looking at it; how many bytes there were. */
  drop(): number {
    const { length } = this.output;
    while (this.output.length > 0) this.output.sent(this.output.headEnd - this.output.headStart);
    return length;
  }
}

/** `data` as a transport hands it over: at HEADROOM_BYTES, with slack behind it. */
export function arriving(data: Uint8Array): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(HEADROOM_BYTES + data.length + SLACK_BYTES));
  bytes.set(data, HEADROOM_BYTES);
  return bytes;
}

export class QuietPlane {
  readonly plane: DataPlane;
  /** The connection to each group's server, RESP2 and database 0, in the order of the map. */
  readonly servers: QuietConnection[] = [];
  readonly #blocks = new BlockPool(allocate);
  #turnEnd: (() => void)[] = [];

  /** All groups' servers are there and have answered the handshake. Slots are dealt out in stripes. */
  constructor(groupCount: number) {
    const config = parseProxyConfig({ map_file: "none" }, { file: "none", text: "" });
    const identity = { pid: 1, worker: 0, version: "test" };
    this.plane = new DataPlane(this.#env(), config, identity, NO_PEERS, { onMapSettled: nothing });
    const groups = Array.from({ length: groupCount }, (_, index) => ({
      id: `g${index + 1}`,
      number: index + 1,
      primary: `127.0.0.1:${1001 + index}`,
      replicas: [],
    }));
    const ranges = Array.from({ length: SLOTS }, (_, slot) => ({
      from: slot,
      to: slot,
      group: groups[slot % groupCount].id,
    }));
    const options = {};
    this.plane.applyMap({
      cluster: "test",
      version: 1,
      term: 1,
      hash: "crc32",
      slots: SLOTS,
      groups,
      ranges,
      options,
    });
    for (const upstream of this.plane.slots.lane(0, 2).groups) upstream.prepare();
    for (const server of this.servers) {
      server.drop();
      server.receive(Buffer.from("+PONG\r\n"));
      // Behind the handshake one of them is asked for its version.
      if (server.drop() > 0) server.receive(Buffer.from("-ERR not told\r\n"));
    }
  }

  /** A client that has just connected. */
  client(): QuietConnection {
    const connection = new QuietConnection(this.#blocks, "127.0.0.1:2", HANDLER);
    connection.handler = this.plane.clients.accept(connection);
    return connection;
  }

  endTurn(): void {
    const calls = this.#turnEnd;
    this.#turnEnd = [];
    for (const call of calls) call();
  }

  #env(): Env {
    const timer = { cancel: nothing };
    return {
      clock: { nowMs: () => 0, wallMs: () => 0 },
      timers: { after: () => timer, every: () => timer },
      random: { fraction: () => 0.5, hex: (count) => "0".repeat(count) },
      disk: { readText: () => Promise.resolve(null), writeTextAtomically: () => Promise.resolve() },
      log: QUIET,
      net: this.#net(),
    };
  }

  #net(): Net {
    return {
      blocks: this.#blocks,
      work: { begun: 0, ended: 0, parts: 0 },
      listen: () => ({ address: "", close: nothing }),
      connect: (host, port, handler) => {
        const connection = new QuietConnection(this.#blocks, `${host}:${port}`, handler);
        this.servers.push(connection);
        return connection;
      },
      atTurnEnd: (run) => this.#turnEnd.push(run),
    };
  }
}

const QUIET: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing, with: () => QUIET };

function nothing(): void {}

function allocate(size: number): Block {
  return { bytes: Buffer.from(new ArrayBuffer(size)), address: 0 };
}
