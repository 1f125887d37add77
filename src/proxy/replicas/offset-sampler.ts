/**
 * Asks one group's servers for their replication offsets, again and again.
 *
 *   each SAMPLE_PERIOD_MS, or at once when somebody waits:
 *     ROLE ─▶ primary ─▶ offset as of the moment before ─▶ ROLE ─▶ each replica ─▶ fresh as of …
 *       └─ somebody still waits for a replica ─▶ ask the replicas again, RETRY_MS later
 *
 * The replicas are asked after the primary has answered, so that one which keeps up shows the primary's
 * offset, or more: asked at the same time it would always seem a little behind. What is known of a server
 * ends with the connection over which it was told.
 */
import type { Bytes } from "../../base/bytes.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { type MapGroup, parseAddress } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner } from "../request.ts";
import { Freshness } from "./freshness.ts";
import { ReplicaLink } from "./replica-link.ts";

/** Between two rounds of samples. */
export const SAMPLE_PERIOD_MS = 50;
/** Between two questions to the replicas while somebody waits for them. */
const RETRY_MS = 2;
/** An answer that is older than this says nothing any more about whether the server is there. */
const SILENCE_MS = 10 * SAMPLE_PERIOD_MS;
/** Weight of the newest round trip in the average. */
const ROUND_TRIP_WEIGHT = 0.2;

/** One server as the sampler sees it. */
export interface SampledServer {
  readonly address: string;
  readonly isPrimary: boolean;
  readonly link: ReplicaLink;
  roundTripMs: number;
  /** When it last answered as what it should be. */
  answeredMs: number;
  /** When it was asked the question that it answered then. */
  askedMs: number;
  /** Another object after each lost connection: it may be another process with older data since. */
  life: object;
}

export class OffsetSampler {
  readonly group: MapGroup;
  readonly freshness = new Freshness();
  readonly primary: SampledServer;
  readonly replicas: readonly SampledServer[];
  readonly #plane: DataPlane;
  readonly #onRound: () => void;
  #roundMs = Number.NEGATIVE_INFINITY;
  #asked = false;
  #retrying = false;
  #closed = false;

  /** `onRound` is called after each answer that may have made a replica fresher. */
  constructor(plane: DataPlane, group: MapGroup, onRound: () => void) {
    this.#plane = plane;
    this.group = group;
    this.#onRound = onRound;
    this.primary = this.#serverAt(group.primary, true);
    this.replicas = group.replicas.map((address) => this.#serverAt(address, false));
  }

  usable(server: SampledServer): boolean {
    return this.#nowMs - server.answeredMs <= SILENCE_MS;
  }

  /**
   * Whether `link`, another connection to this server, leads to the process that is sampled: it has answered
   * here a question that was asked after that connection stood. A process that was started again in between
   * can't have, because this connection would have ended with it.
   */
  leadsTo(server: SampledServer, link: ReplicaLink): boolean {
    return link.open && server.askedMs > link.readyMs;
  }

  /** Null when it is none of the replicas. */
  replicaAt(address: string): SampledServer | null {
    return this.replicas.find((replica) => replica.address === address) ?? null;
  }

  /** Begins a round, unless one is under way; `soon`: not only when a period is over. */
  sample(soon: boolean): void {
    if (this.#asked || this.#closed || (!soon && this.#nowMs - this.#roundMs < SAMPLE_PERIOD_MS)) return;
    this.#roundMs = this.#nowMs;
    const atMs = this.#roundMs;
    this.#asked = this.#ask(this.primary, (role) => {
      this.#asked = false;
      if (role !== null && role[0] === "master") {
        this.freshness.takePrimary(atMs, Number(role[1]));
        this.#heard(this.primary, atMs);
      }
      this.#askReplicas();
    });
    if (!this.#asked) this.#askReplicas();
  }

  /** Somebody waits for a replica that is behind: asks again, a little later. */
  retrySoon(): void {
    if (this.#retrying || this.#closed) return;
    this.#retrying = true;
    this.#plane.env.timers.after(RETRY_MS, () => {
      this.#retrying = false;
      this.sample(true);
    });
  }

  check(elapsedMs: number): void {
    for (const { link } of [this.primary, ...this.replicas]) link.checkProgress(elapsedMs);
  }

  close(): void {
    this.#closed = true;
    for (const { link } of [this.primary, ...this.replicas]) link.close();
  }

  get #nowMs(): number {
    return this.#plane.env.clock.nowMs();
  }

  #askReplicas(): void {
    for (const replica of this.replicas) {
      const atMs = this.#nowMs;
      this.#ask(replica, (role) => {
        // Connected, and to our primary: a chain, or another primary's replica, is none of ours.
        const follows = role !== null && role[0] === "slave" && role[3] === "connected" && this.#isOurs(role);
        if (follows) {
          this.freshness.takeReplica(replica.address, Number(role[4]));
          this.#heard(replica, atMs);
        } else {
          this.#lost(replica);
        }
        this.#onRound();
      });
    }
  }

  /** A host may have several names, so only two addresses of which both are numbers can differ for sure. */
  #isOurs(role: readonly string[]): boolean {
    const { host, port } = parseAddress(this.group.primary);
    const numbers = isNumeric(host) && isNumeric(role[1]);
    return role[2] === String(port) && (!numbers || host === role[1]);
  }

  /** From now on nothing is known of it, and what somebody has read there may be more than it has. */
  #lost(server: SampledServer): void {
    server.answeredMs = Number.NEGATIVE_INFINITY;
    server.life = {};
    this.freshness.forget(server.address);
  }

  #heard(server: SampledServer, askedMs: number): void {
    server.answeredMs = this.#nowMs;
    server.askedMs = askedMs;
    const roundTripMs = server.answeredMs - askedMs;
    const first = server.roundTripMs < 0;
    server.roundTripMs = first
      ? roundTripMs
      : server.roundTripMs + ROUND_TRIP_WEIGHT * (roundTripMs - server.roundTripMs);
  }

  /** ROLE's words, or null when there is no answer. False: it can't be asked. */
  #ask(server: SampledServer, told: (role: string[] | null) => void): boolean {
    const { link } = server;
    if (this.#closed || !link.prepare()) return false;
    const owner: ReplyOwner = {
      onReply: (_, bytes, start, end) => told(roleOf(bytes, start, end)),
      onFailure: () => told(null),
    };
    link.begin(owner, 0);
    link.output.appendLatin1("*1\r\n$4\r\nROLE\r\n");
    link.flushSoon();
    return true;
  }

  #serverAt(address: string, isPrimary: boolean): SampledServer {
    const { host, port } = parseAddress(address);
    const target = {
      group: this.group.id,
      address,
      host,
      port,
      database: 0,
      protocol: 2,
      anyRole: true,
    } as const;
    const link: ReplicaLink = new ReplicaLink(this.#plane, target, () => this.#lost(server));
    const never = Number.NEGATIVE_INFINITY;
    const server: SampledServer = {
      address,
      isPrimary,
      link,
      roundTripMs: -1,
      answeredMs: never,
      askedMs: never,
      life: {},
    };
    return server;
  }
}

function roleOf(bytes: Bytes, start: number, end: number): string[] | null {
  const reply = decodeReply(bytes, start, end);
  return Array.isArray(reply) ? reply.map(String) : null;
}

function isNumeric(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(":");
}
