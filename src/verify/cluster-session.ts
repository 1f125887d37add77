/**
 * A client of a Redis Cluster: asks any node, goes where MOVED or ASK send it, and remembers that by hash
 * tag. So it needs no slots and no CRC16: every key of the checker has a tag.
 *
 *   run ─▶ node of the tag, or an entrance ─▶ reply
 *               ▲         ├─ MOVED slot host:port ─▶ remember, there
 *               └─────────┴─ ASK slot host:port ─▶ ASKING, there, this once
 *
 * Both say that nothing has run, so going on is not sending twice.
 */
import type { Outcome, Session, Words } from "./driver.ts";

/** Redirections of one request. */
const HOPS_MAX = 8;

export class ClusterSession implements Session {
  readonly #entrances: readonly string[];
  readonly #routes: Map<string, string>;
  readonly #connect: (addresses: readonly string[]) => Session;
  /** By address; "" for the entrances. */
  readonly #sessions = new Map<string, Session>();

  constructor(
    entrances: readonly string[],
    routes: Map<string, string>,
    connect: (addresses: readonly string[]) => Session,
  ) {
    this.#entrances = entrances;
    this.#routes = routes;
    this.#connect = connect;
  }

  async run(commands: readonly Words[]): Promise<Outcome> {
    const tag = tagOf(commands[0][1] ?? "");
    let address = this.#routes.get(tag) ?? "";
    let asking = false;
    let outcome: Outcome = { kind: "refused", text: "not sent" };
    for (let hop = 0; hop < HOPS_MAX; hop++) {
      const session = this.#sessionAt(address);
      if (asking) await session.run([["ASKING"]]);
      outcome = await session.run(commands);
      const redirection = outcome.kind === "refused" ? /^(MOVED|ASK) \d+ (\S+)/.exec(outcome.text) : null;
      if (redirection === null) break;
      asking = redirection[1] === "ASK";
      address = redirection[2];
      if (!asking) this.#routes.set(tag, address);
    }
    // The node may be gone: the next time any other one says who has the tag.
    if (outcome.kind !== "reply") this.#routes.delete(tag);
    return outcome;
  }

  close(): void {
    for (const session of this.#sessions.values()) session.close();
  }

  #sessionAt(address: string): Session {
    let session = this.#sessions.get(address);
    if (session === undefined) {
      session = this.#connect(address === "" ? this.#entrances : [address]);
      this.#sessions.set(address, session);
    }
    return session;
  }
}

/** What stands in braces. */
function tagOf(key: string): string {
  return key.slice(key.indexOf("{") + 1, key.indexOf("}"));
}
