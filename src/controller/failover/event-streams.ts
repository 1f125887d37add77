/** The events as streams of lines: those that are known at once, then each as it happens. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { EventLine } from "../../contract/failover-routes.ts";
import type { Env, Timer } from "../../env/env.ts";
import { type ControllerEvent, EVENTS_KEPT, EVENT_KINDS, type EventLog } from "../events.ts";
import type { Service } from "../service.ts";

/** Streams at once; one more is refused. */
export const EVENT_STREAMS_MAX = 256;

/** Lines that may wait for a reader, besides the ones that it begins with. */
const LINES_WAITING_MAX = 1000;

/** An empty line: tells a reader that the controller lives, and us that the reader has gone. */
const HEARTBEAT_PERIOD_MS = 1000;

type Controller = ReadableStreamDefaultController<Uint8Array>;

export class EventStreams implements Service {
  readonly #env: Pick<Env, "timers">;
  readonly #events: EventLog;
  readonly #streams = new Set<Controller>();
  readonly #encoder = new TextEncoder();
  #timer: Timer | null = null;
  #stopListening: () => void = () => {};

  constructor(env: Pick<Env, "timers">, events: EventLog) {
    this.#env = env;
    this.#events = events;
  }

  async run(): Promise<void> {
    this.#stopListening = this.#events.onEvent((event) => this.#sendAll(lineOf(event)));
    this.#timer = this.#env.timers.every(HEARTBEAT_PERIOD_MS, () => this.#sendAll("\n"));
  }

  /** Ends the streams: an HTTP server cannot close while they run. */
  async drain(): Promise<void> {
    this.#timer?.cancel();
    this.#stopListening();
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
  }

  async stop(): Promise<void> {
    await this.drain();
  }

  /** All events with a higher id than `since`, and every one from now on. @throws ShoalError LIMIT */
  open(since: number): ReadableStream<Uint8Array> {
    if (this.#streams.size >= EVENT_STREAMS_MAX) {
      throw new ShoalError("LIMIT", `Cannot open a stream of events: ${EVENT_STREAMS_MAX} are open`);
    }
    let opened: Controller | null = null;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        opened = controller;
        this.#streams.add(controller);
        const known = this.#events.since(since).map(lineOf).join("");
        controller.enqueue(this.#encoder.encode(known === "" ? "\n" : known));
      },
      cancel: () => {
        if (opened !== null) this.#streams.delete(opened);
      },
    });
  }

  #sendAll(line: string): void {
    const bytes = this.#encoder.encode(line);
    for (const stream of this.#streams) {
      const room = stream.desiredSize;
      if (room !== null && room > -LINES_WAITING_MAX) {
        stream.enqueue(bytes);
        continue;
      }
      this.#streams.delete(stream);
      if (room !== null) stream.error(new ShoalError("LIMIT", "Cannot go on: the events are not read"));
    }
  }
}

/** The newest events as the API shows them. */
export function eventLines(events: readonly ControllerEvent[]): EventLine[] {
  return events.slice(-EVENTS_KEPT).map(toLine);
}

function lineOf(event: ControllerEvent): string {
  return `${JSON.stringify(toLine(event))}\n`;
}

/** Fields without a value are left out: JSON has no word for them. */
function toLine({ id, atMs, kind, fields }: ControllerEvent): EventLine {
  const given = Object.entries(fields).filter(
    (entry): entry is [string, string | number | boolean | null] => {
      return entry[1] !== undefined;
    },
  );
  return { id, atMs, kind, meaning: EVENT_KINDS[kind], fields: Object.fromEntries(given) };
}
