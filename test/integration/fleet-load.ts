/**
 * Clients that write through a proxy while something happens to the cluster, and know afterwards what was
 * lost or done twice: counters (INCR), and queues whose takers wait in BLPOP.
 */
import { RespClient } from "../support/resp-client.ts";
import { until } from "../support/until.ts";

export interface LoadOptions {
  readonly port: number;
  /** Each counts in a key of its own; about half of the keys are in each of two groups. */
  readonly counters: number;
  /** Each has somebody who puts things in and somebody who waits for them. */
  readonly queues: number;
}

export interface LoadOutcome {
  /** Every error that a client got. */
  readonly errors: readonly string[];
  /** Of these, those of takers: what they took may be gone with the reply. */
  readonly takersErrors: number;
  /** Increments that were answered and are not in the counter. */
  readonly lost: number;
  /** Increments that nobody has asked for. */
  readonly doubled: number;
  /** Things that were put in with success, and that nobody took. */
  readonly untaken: number;
  readonly takenTwice: number;
  readonly taken: number;
  /** In ms, of all that was answered; sorted. */
  readonly latenciesMs: Float64Array;
}

const LAST = "last";

export class FleetLoad {
  readonly #options: LoadOptions;
  readonly #errors: string[] = [];
  readonly #latenciesMs: number[] = [];
  readonly #put = new Set<string>();
  readonly #taken = new Map<string, number>();
  #takersErrors = 0;
  #lost = 0;
  #doubled = 0;
  #running = true;
  #work: Promise<unknown> = Promise.resolve();

  private constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** It is under way when this resolves. */
  static async start(options: LoadOptions): Promise<FleetLoad> {
    const load = new FleetLoad(options);
    const connect = (): Promise<RespClient> => RespClient.connect(options.port);
    const work: Promise<void>[] = [];
    // The hash of these names spreads them over the groups.
    for (let i = 0; i < options.counters; i++) work.push(load.#count(await connect(), `{${i * 37}}:counter`));
    for (let i = 0; i < options.queues; i++) {
      const key = `{${i * 41}}:queue:${performance.now()}`;
      work.push(load.#putIn(await connect(), key, i), load.#take(await connect(), key));
    }
    load.#work = Promise.all(work);
    load.#work.catch(() => {});
    await load.#goesOn();
    return load;
  }

  /** Ends it once everybody has been served again. */
  async stop(): Promise<LoadOutcome> {
    await this.#goesOn();
    this.#running = false;
    await this.#work;
    return {
      errors: this.#errors,
      takersErrors: this.#takersErrors,
      lost: this.#lost,
      doubled: this.#doubled,
      untaken: [...this.#put].filter((thing) => !this.#taken.has(thing)).length,
      takenTwice: [...this.#taken.values()].filter((times) => times > 1).length,
      taken: this.#taken.size,
      latenciesMs: Float64Array.from(this.#latenciesMs).sort(),
    };
  }

  async #goesOn(): Promise<void> {
    const { length } = this.#latenciesMs;
    const { size } = this.#taken;
    const { counters, queues } = this.#options;
    await until(
      () => this.#latenciesMs.length > length + 20 * counters && this.#taken.size >= size + 20 * queues,
      "the clients are served",
      20_000,
    );
  }

  /** Null for an error, which is noted. */
  async #ask(client: RespClient, ...words: string[]): Promise<string | null> {
    const sentMs = performance.now();
    const reply = await client.text(...words);
    this.#latenciesMs.push(performance.now() - sentMs);
    if (!reply.startsWith("-")) return reply;
    this.#errors.push(reply.trim());
    return null;
  }

  async #count(client: RespClient, key: string): Promise<void> {
    let last = Number((await client.text("INCR", key)).slice(1));
    // Requests that were answered by an error since; each may have run.
    let unsure = 0;
    while (this.#running) {
      const reply = await this.#ask(client, "INCR", key);
      if (reply === null) {
        unsure++;
        continue;
      }
      const value = Number(reply.slice(1));
      this.#lost += Math.max(0, last + 1 - value);
      this.#doubled += Math.max(0, value - (last + 1 + unsure));
      last = value;
      unsure = 0;
    }
    client.close();
  }

  async #putIn(client: RespClient, key: string, producer: number): Promise<void> {
    for (let i = 0; this.#running; i++) {
      const thing = `${producer}:${i}`;
      if ((await this.#ask(client, "RPUSH", key, thing)) !== null) this.#put.add(thing);
      // Slower than its taker, who is to be found waiting.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    // More than one, because a taker may lose one with its reply.
    await client.text("RPUSH", key, LAST, LAST, LAST);
    client.close();
  }

  async #take(client: RespClient, key: string): Promise<void> {
    for (;;) {
      const reply = await client.text("BLPOP", key, "0");
      if (reply.startsWith("-")) {
        this.#errors.push(reply.trim());
        this.#takersErrors++;
        continue;
      }
      const thing = reply.split("\r\n")[4];
      if (thing === LAST) break;
      this.#taken.set(thing, (this.#taken.get(thing) ?? 0) + 1);
    }
    client.close();
  }
}
