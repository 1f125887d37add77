/**
 * The few commands that the checker uses, in memory, and faults on demand: what a test plants, the checker
 * must find. `nowMs` is handed in, so that keys expire when the test says so.
 */
import type { Reply } from "../../redis/reply-decoder.ts";
import type { Driver, Outcome, Session, Words } from "../driver.ts";

type Value = string | string[] | Set<string>;

interface Entry {
  value: Value;
  untilMs: number;
}

export class FakeRedis {
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get keys(): string[] {
    return [...this.#entries.keys()];
  }

  /** Several commands are a transaction. */
  run(commands: readonly Words[]): Reply {
    return commands.length === 1 ? this.#one(commands[0]) : commands.map((words) => this.#one(words));
  }

  /** A copy of what is stored under the names; `put` brings it back. */
  take(names: readonly string[]): Map<string, Entry | null> {
    return new Map(names.map((name) => [name, copy(this.#entries.get(name) ?? null)]));
  }

  put(taken: ReadonlyMap<string, Entry | null>): void {
    for (const [name, entry] of taken) {
      if (entry === null) this.#entries.delete(name);
      else this.#entries.set(name, copy(entry) as Entry);
    }
  }

  #one([name, key, ...args]: Words): Reply {
    const entry = this.#alive(key);
    switch (name) {
      case "GET":
        return (entry?.value as string | undefined) ?? null;
      case "MGET":
        return [key, ...args].map((one) => (this.#alive(one)?.value as string | undefined) ?? null);
      case "SET":
        this.#set(
          key,
          args[0],
          args[1] === "PX" ? this.#nowMs() + Number(args[2]) : Number.POSITIVE_INFINITY,
        );
        return "OK";
      case "DEL":
        return this.#entries.delete(key) ? 1 : 0;
      case "INCR":
      case "INCRBY": {
        const sum = Number(entry?.value ?? 0) + Number(args[0] ?? 1);
        this.#set(key, String(sum), Number.POSITIVE_INFINITY);
        return sum;
      }
      default:
        return this.#collection(name, key, args, entry);
    }
  }

  #collection(name: string, key: string, args: readonly string[], entry: Entry | null): Reply {
    const list = Array.isArray(entry?.value) ? entry.value : [];
    const set = entry?.value instanceof Set ? entry.value : new Set<string>();
    switch (name) {
      case "LRANGE":
        return [...list];
      case "SMEMBERS":
        return [...set];
      case "RPUSH":
        this.#set(key, [...list, args[0]], Number.POSITIVE_INFINITY);
        return list.length + 1;
      case "LPUSH":
        this.#set(key, [args[0], ...list], Number.POSITIVE_INFINITY);
        return list.length + 1;
      case "SADD":
      case "SREM": {
        const had = set.has(args[0]);
        if (name === "SADD") set.add(args[0]);
        else set.delete(args[0]);
        this.#set(key, set, Number.POSITIVE_INFINITY);
        return had === (name === "SREM") ? 1 : 0;
      }
      case "BLPOP":
        return list.length === 0 ? null : [key, list.shift() as string];
      default:
        throw new Error(`no ${name} here`);
    }
  }

  #set(key: string, value: Value, untilMs: number): void {
    this.#entries.set(key, { value, untilMs });
  }

  #alive(key: string): Entry | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (entry.untilMs > this.#nowMs()) return entry;
    this.#entries.delete(key);
    return null;
  }
}

/**
 * A driver over a FakeRedis. `around` may tamper with a request: it is handed what would run it, and gives
 * back what the client is told.
 */
export class FakeDriver implements Driver {
  readonly name = "fake";
  readonly #server: FakeRedis;
  readonly #pause: () => Promise<void>;
  readonly #around: (commands: readonly Words[], run: () => Outcome) => Outcome;

  constructor(
    server: FakeRedis,
    pause: () => Promise<void>,
    around: (commands: readonly Words[], run: () => Outcome) => Outcome = (_, run) => run(),
  ) {
    this.#server = server;
    this.#pause = pause;
    this.#around = around;
  }

  open(): Session {
    return {
      run: async (commands) => {
        // Half of the way there, half of the way back: others run in between.
        await this.#pause();
        const outcome = this.#around(commands, () => ({ kind: "reply", reply: this.#server.run(commands) }));
        await this.#pause();
        return outcome;
      },
      close: () => {},
    };
  }
}

function copy(entry: Entry | null): Entry | null {
  if (entry === null) return null;
  const { value, untilMs } = entry;
  const own = Array.isArray(value) ? [...value] : value instanceof Set ? new Set(value) : value;
  return { value: own, untilMs };
}
