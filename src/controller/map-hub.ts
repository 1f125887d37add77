/**
 * The map streams: each proxy gets the map at once, again after every change, and a heartbeat each second.
 *
 *   cluster-state ──change──▶ publish() ──▶ one line to every stream
 *   timer ──1 s──▶ heartbeat ──────────────▶ one line to every stream
 *
 * Lines wait in the stream while its reader is slow, up to a bound; then the stream is cut, and the proxy,
 * which has kept its map, connects again and gets the newest one. A proxy needs the last map only, so nothing
 * is lost by that.
 */
import { ShoalError } from "../base/shoal-error.ts";
import { HEARTBEAT_PERIOD_MS, formatMapStreamLine } from "../contract/map-stream.ts";
import type { Env, Timer } from "../env/env.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { EventLog } from "./events.ts";
import type { Service } from "./service.ts";

/** Streams at once; one more is refused. */
export const STREAMS_MAX = 4096;

/** Lines that may wait for a reader before it is cut off. */
export const STREAM_LINES_WAITING_MAX = 64;

interface Stream {
  readonly proxyId: string;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
}

export class MapHub implements Service {
  readonly #env: Pick<Env, "timers">;
  readonly #state: ClusterState;
  readonly #events: EventLog;
  readonly #streams = new Set<Stream>();
  readonly #encoder = new TextEncoder();
  #timer: Timer | null = null;
  #publishedVersion = 0;

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

  /** A new stream for a proxy. @throws ShoalError LIMIT */
  open(proxyId: string): ReadableStream<Uint8Array> {
    if (this.#streams.size >= STREAMS_MAX) {
      throw new ShoalError("LIMIT", `Cannot open a map stream for ${proxyId}: ${STREAMS_MAX} are open`);
    }
    let opened: Stream | null = null;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        opened = { proxyId, controller };
        this.#streams.add(opened);
        // The heartbeat first when there is no map yet: the reader learns at once that it reached a
        // controller.
        this.#send(opened, this.#encoder.encode(this.#mapLine() ?? this.#heartbeatLine()));
      },
      cancel: () => {
        if (opened !== null) this.#streams.delete(opened);
      },
    });
  }

  /** A change of leadership alone is no new map. */
  #publish(): void {
    const { map } = this.#state;
    if (map === null || map.version === this.#publishedVersion) return;
    this.#publishedVersion = map.version;
    this.#sendAll(this.#mapLine() as string);
  }

  #sendAll(line: string): void {
    const bytes = this.#encoder.encode(line);
    for (const stream of this.#streams) this.#send(stream, bytes);
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
    this.#events.add("stream-cut", { proxy: stream.proxyId });
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
