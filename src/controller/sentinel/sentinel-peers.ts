/**
 * The other controllers' Sentinel faces. The store knows where their APIs are, and each API says where its
 * face is (`/healthz`), so nothing has to be configured twice.
 */
import type { Env, Timer } from "../../env/env.ts";
import { fetchHealth } from "../../contract/client.ts";
import type { HttpClient } from "../../env/http.ts";
import type { Member, Store } from "../../store/store.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { Service } from "../service.ts";

/** Clients read the list when they connect; a controller that is new may be missing for so long. */
const PERIOD_MS = 2000;
const TIMEOUT_MS = 1000;

export interface SentinelPeer {
  /** The controller's name. */
  readonly id: string;
  /** Where its API is: the same for all that run on one machine, mostly. */
  readonly host: string;
  /** "host:port" of its face; null: it has none, or has not answered yet. */
  readonly addr: string | null;
  /** It answered when it was last asked. */
  readonly up: boolean;
}

export class SentinelPeers implements Service {
  readonly #env: Pick<Env, "timers">;
  readonly #id: string;
  readonly #store: Store;
  readonly #http: HttpClient | null;
  #peers: readonly SentinelPeer[] = [];
  #timer: Timer | null = null;
  #asking = false;

  constructor(env: Pick<Env, "timers">, id: string, store: Store, http: HttpClient | null) {
    this.#env = env;
    this.#id = id;
    this.#store = store;
    this.#http = http;
  }

  /** Without this controller. */
  get all(): readonly SentinelPeer[] {
    return this.#peers;
  }

  async run(): Promise<void> {
    this.#timer = this.#env.timers.every(PERIOD_MS, () => void this.#ask());
    void this.#ask();
  }

  async drain(): Promise<void> {}

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #ask(): Promise<void> {
    if (this.#asking || this.#http === null) return;
    this.#asking = true;
    try {
      const members = await this.#store.readMembers();
      const others = members.filter((member) => member.id !== this.#id);
      const http = this.#http;
      this.#peers = await Promise.all(others.map((member) => this.#look(http, member)));
    } catch {
      // The store does not answer: those that were there are asked again next time.
    } finally {
      this.#asking = false;
    }
  }

  async #look(http: HttpClient, { id, addr }: Member): Promise<SentinelPeer> {
    const { host } = parseAddress(addr);
    try {
      const target = { url: `http://${addr}`, token: null, timeoutMs: TIMEOUT_MS };
      return { id, host, addr: (await fetchHealth(http, target)).sentinel ?? null, up: true };
    } catch {
      const known = this.#peers.find((peer) => peer.id === id);
      return { id, host, addr: known?.addr ?? null, up: false };
    }
  }
}
