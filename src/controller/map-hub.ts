/**
 * The map streams: each proxy gets the map at once, again after every change, and a heartbeat each second.
 *
 *   cluster-state ──change──▶ publish() ──▶ one line to every stream
 *   timer ──1 s──▶ heartbeat ──────────────▶ one line to every stream
 *   open ──greeting (who the proxy is at the servers)──▶ login line ──▶ map line, and from then on the above
 *
 * Lines wait in the stream while its reader is slow, up to a bound; then the stream is cut, and the proxy,
 * which has kept its map, connects again and gets the newest one. A proxy needs the last map only, so nothing
 * is lost by that.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { HEARTBEAT_PERIOD_MS, formatMapStreamLine } from "../contract/map-stream.ts";
import type { MapStreamLine } from "../contract/schemas.ts";
import type { Env, Timer } from "../env/env.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

/** Streams at once; one more is refused. */
export const STREAMS_MAX = 4096;

/** Lines that may wait for a reader before it is cut off. */
export const STREAM_LINES_WAITING_MAX = 64;

interface Stream {
  /** Null: somebody who only listens. */
  readonly proxyId: string | null;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  /** Gets maps. Before, the proxy would start as nobody in particular and could not be fenced. */
  greeted: boolean;
}

/**
 * What a new stream of a proxy begins with, or null; it may take its time. What it throws ends the stream.
 */
export type Greeting = (proxyId: string) => Promise<MapStreamLine | null>;

export class MapHub implements Service {
  readonly #env: Pick<Env, "timers">;
  readonly #state: ClusterState;
  readonly #events: EventLog;
  readonly #streams = new Set<Stream>();
  readonly #encoder = new TextEncoder();
  #timer: Timer | null = null;
  #publishedVersion = 0;
  #greeting: Greeting | null = null;

  constructor(env: Pick<Env, "timers">, state: ClusterState, events: EventLog) {
    this.#env = env;
    this.#state = state;
    this.#events = events;
    state.onChange(() => this.#publish());
  }

  get streams(): number {
    return this.#streams.size;
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(HEARTBEAT_PERIOD_MS, () => this.#sendAll(this.#heartbeatLine()));
  }

  /** Ends the streams: an HTTP server cannot close while they run. */
  async drain(): Promise<void> {
    this.#timer?.cancel();
    for (const stream of this.#streams) stream.controller.close();
    this.#streams.clear();
  }

  async stop(): Promise<void> {
    await this.drain();
  }

  /** Set once, before the first stream. */
  greetWith(greeting: Greeting): void {
    this.#greeting = greeting;
  }

  /** A line for one proxy only, in every stream of it that has been greeted. */
  sendTo(proxyId: string, line: MapStreamLine): void {
    const bytes = this.#encoder.encode(formatMapStreamLine(line));
    for (const stream of this.#streams) {
      if (stream.proxyId === proxyId && stream.greeted) this.#send(stream, bytes);
    }
  }

  /** A new stream for a proxy, or for somebody who only listens. @throws ShoalError LIMIT */
  open(proxyId: string | null): ReadableStream<Uint8Array> {
    if (this.#streams.size >= STREAMS_MAX) {
      throw new ShoalError("LIMIT", `Cannot open a map stream for ${proxyId}: ${STREAMS_MAX} are open`);
    }
    let opened: Stream | null = null;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        opened = { proxyId, controller, greeted: false };
        this.#streams.add(opened);
        this.#begin(opened);
      },
      cancel: () => {
        if (opened !== null) this.#streams.delete(opened);
      },
    });
  }

  #begin(stream: Stream): void {
    if (this.#greeting === null || stream.proxyId === null) {
      stream.greeted = true;
      // The heartbeat first when there is no map yet: the reader learns at once that it reached a controller.
      this.#send(stream, this.#encoder.encode(this.#mapLine() ?? this.#heartbeatLine()));
      return;
    }
    // Without a cluster there is nobody to be at any server; the first map begins the greeting again.
    if (this.#state.map === null) this.#send(stream, this.#encoder.encode(this.#heartbeatLine()));
    else void this.#greet(stream, stream.proxyId, this.#greeting);
  }

  async #greet(stream: Stream, proxyId: string, greeting: Greeting): Promise<void> {
    try {
      const line = await greeting(proxyId);
      if (!this.#streams.has(stream) || stream.greeted) return;
      stream.greeted = true;
      if (line !== null) this.#send(stream, this.#encoder.encode(formatMapStreamLine(line)));
      this.#send(stream, this.#encoder.encode(this.#mapLine() ?? this.#heartbeatLine()));
    } catch (error) {
      // A follower that does not know the proxy, mostly: it finds the leader by itself.
      if (this.#streams.delete(stream)) stream.controller.error(error);
    }
  }

  /** A change of leadership alone is no new map. */
  #publish(): void {
    const { map } = this.#state;
    if (map === null || map.version === this.#publishedVersion) return;
    const first = this.#publishedVersion === 0;
    this.#publishedVersion = map.version;
    this.#sendAll(this.#mapLine() as string, true);
    if (first) for (const stream of this.#streams) if (!stream.greeted) this.#begin(stream);
  }

  #sendAll(line: string, greetedOnly = false): void {
    const bytes = this.#encoder.encode(line);
    for (const stream of this.#streams) if (stream.greeted || !greetedOnly) this.#send(stream, bytes);
  }

  /** `desiredSize` is 1 minus the lines that wait; null once the stream has failed. */
  #send(stream: Stream, bytes: Uint8Array): void {
    const room = stream.controller.desiredSize;
    if (room !== null && room > -STREAM_LINES_WAITING_MAX) {
      stream.controller.enqueue(bytes);
      return;
    }
    this.#streams.delete(stream);
    if (room !== null)
      stream.controller.error(new ShoalError("LIMIT", "Cannot go on: the map stream is not read"));
    this.#events.add("stream-cut", { proxy: stream.proxyId ?? "somebody" });
  }

  #mapLine(): string | null {
    const { map, leader } = this.#state;
    if (map === null) return null;
    // The contract's types are mutable where the map's are not; a line is only ever written.
    const copy = structuredClone(map) as never;
    return formatMapStreamLine({
      type: "map",
      term: leader?.term ?? 0,
      leader: leader?.id ?? null,
      map: copy,
    });
  }

  #heartbeatLine(): string {
    const { map, leader } = this.#state;
    const identity = map === null ? null : { version: map.version, term: map.term };
    return formatMapStreamLine({
      type: "heartbeat",
      term: leader?.term ?? 0,
      leader: leader?.id ?? null,
      map: identity,
    });
  }
}
