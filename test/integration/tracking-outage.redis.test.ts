/**
 * CLIENT TRACKING while one group does not take the worker's sink: a stand-in listens in the place of its
 * server, and the test says what becomes of each try.
 *
 *   reader ─▶ worker ─▶ redis-server (g1)
 *               └─────▶ stand-in (g2): hangs up on sinks, or lets them wait, or takes them
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { mapOf, Rig, slotOfKey, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { TrackingClient } from "./tracking-client.ts";

setDefaultTimeout(30_000);

/** What only a sink begins with: it asks for its id. */
const SINK_GREETS = "$6\r\nCLIENT\r\n$2\r\nID\r\n";
const EVERYTHING = ["invalidate", null];

class StandIn {
  /** Sinks that have come. */
  sinks = 0;
  hangsUp = true;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #taken = new Set<Socket>();
  readonly #waiting: { socket: Socket; answers: string }[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("data", (bytes) => this.#onData(socket, bytes.toString("latin1")));
    });
  }

  static async start(): Promise<StandIn> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return new StandIn(server);
  }

  get addr(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Sinks that have come and wait for an answer. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Answers the sinks that wait: each gets an id. */
  take(): void {
    for (const { socket, answers } of this.#waiting.splice(0)) {
      this.#taken.add(socket);
      socket.write(answers);
    }
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #onData(socket: Socket, text: string): void {
    // It is asked for a sign of life.
    if (this.#taken.has(socket)) {
      socket.write("+PONG\r\n");
      return;
    }
    const greets = text.includes(SINK_GREETS);
    if (greets) this.sinks++;
    // Whatever else comes is a shared connection's, which nobody needs here.
    if (!greets || this.hangsUp) socket.destroy();
    else {
      const requests = text.match(/\*\d+\r\n/g)?.length ?? 0;
      this.#waiting.push({ socket, answers: `${"+OK\r\n".repeat(requests - 1)}:77\r\n` });
    }
  }
}

describe.each(TRANSPORTS)("CLIENT TRACKING while a sink is not taken (%s)", (io) => {
  let server: RedisProcess;
  let standIn: StandIn;
  let rig: Rig;
  let reader: TrackingClient;

  beforeEach(async () => {
    server = await RedisProcess.start();
    standIn = await StandIn.start();
    const quick = { hold_timeout_ms: 0, reconnect_backoff_ms_min: 10, reconnect_backoff_ms_max: 20 };
    rig = await Rig.start([server], io, quick);
    rig.sendMap(mapOf([server.addr, standIn.addr], 2));
    await until(() => rig.acks.includes(2), "the map with the stand-in");
    reader = await TrackingClient.connect(rig.port);
  });
  afterEach(async () => {
    reader.close();
    await rig.dispose();
    standIn.close();
    await server.dispose();
  });

  /** A key of g1 in the map of two groups. */
  function key(): string {
    const of = mapOf([server.addr, standIn.addr]).ranges[0];
    for (let i = 0; ; i++) if (slotOfKey(`kept:${i}`) <= of.to) return `kept:${i}`;
  }

  async function tries(count: number): Promise<void> {
    const from = standIn.sinks;
    await until(() => standIn.sinks >= from + count, `${count} more sinks have tried`);
  }

  test.each([[[]], [["NOLOOP"]]])(
    "tries that fail take no other group's keys from readers %p",
    async (mode) => {
      expect(await reader.call("CLIENT", "TRACKING", "ON", ...mode)).toBe("OK");
      await tries(1);
      await reader.taken();
      expect(await reader.call("GET", key())).toBeNull();
      await tries(10);
      expect(await reader.taken()).toEqual([]);
      await server.command("SET", key(), "1");
      await until(() => reader.pushes.length > 0, "told of the change");
      expect(await reader.taken()).toEqual([["invalidate", [key()]]]);
    },
  );

  test.each([[[]], [["BCAST"]]])(
    "who has started without a sink forgets everything when it is there %p",
    async (mode) => {
      expect(await reader.call("CLIENT", "TRACKING", "ON", ...mode)).toBe("OK");
      standIn.hangsUp = false;
      await until(() => standIn.waiting > 0, "a sink waits");
      await reader.taken();
      // Kept now, and changed before the sink could say so.
      await reader.call("GET", key());
      standIn.take();
      await until(() => reader.pushes.length > 0, "told when the sink is there");
      expect(reader.pushes[0]).toEqual(EVERYTHING);
    },
  );
});
