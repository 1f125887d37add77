/**
 * What this worker sees of each group's primary, for the controllers.
 *
 *   shared upstreams of a server, over all lanes ─▶ up: one of them has answered lately
 *                                                   down: none has, and one is lost or gets no answers
 *                                                   unknown: there is no connection yet
 *
 * A server without traffic is asked for a sign of life each second, on the connection of database 0, so that
 * an idle proxy sees a death too. A slow server is up: it moves, or answers a PING beside what it is busy
 * with.
 */
import type { DataPlane } from "../data-plane.ts";
import type { Upstream } from "./upstream.ts";

export type SightState = "up" | "down" | "unknown";

/** What is seen of one server. */
export interface ServerSight {
  /** "host:port" */
  readonly addr: string;
  readonly state: SightState;
  /** How long it has been so, in ms. */
  readonly sinceMs: number;
  /** Why, in words; "" when there is nothing to say. */
  readonly detail: string;
}

interface Sight {
  state: SightState;
  sinceMs: number;
  detail: string;
}

/** Longest detail that is passed on. */
const DETAIL_CHARS_MAX = 200;

export class ServerSights {
  /** Called soon after a server's state has changed. */
  onChange: (() => void) | null = null;
  readonly #plane: DataPlane;
  #sights = new Map<string, Sight>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Asks the idle ones for a sign of life; once a second. */
  ping(): void {
    if (this.#plane.slots.map === null) return;
    for (const upstream of this.#plane.slots.lane(0, 2).groups) upstream.ping();
  }

  /** Looks at all servers; whatever has changed is told. */
  look(): void {
    const { slots, env } = this.#plane;
    const nowMs = env.clock.nowMs();
    const byAddress = new Map<string, Upstream[]>();
    for (const { primary } of slots.map?.groups ?? []) byAddress.set(primary, []);
    slots.forEachUpstream((upstream) => byAddress.get(upstream.target.address)?.push(upstream));
    let changed = byAddress.size !== this.#sights.size;
    const sights = new Map<string, Sight>();
    for (const [address, upstreams] of byAddress) {
      const before = this.#sights.get(address);
      const [state, detail] = judge(upstreams);
      const same = before !== undefined && before.state === state;
      changed ||= !same || before.detail !== detail;
      sights.set(address, { state, detail, sinceMs: same ? before.sinceMs : nowMs });
    }
    this.#sights = sights;
    if (changed) this.onChange?.();
  }

  /** What was seen at the last look. */
  all(): ServerSight[] {
    const nowMs = this.#plane.env.clock.nowMs();
    return Array.from(this.#sights, ([addr, { state, detail, sinceMs }]) => {
      return { addr, state, detail, sinceMs: Math.round(nowMs - sinceMs) };
    });
  }
}

function judge(upstreams: readonly Upstream[]): [SightState, string] {
  let bad: Upstream | null = null;
  for (const upstream of upstreams) {
    const { alive } = upstream;
    if (alive === true) return ["up", upstream.condition.slice(0, DETAIL_CHARS_MAX)];
    if (alive === false) bad ??= upstream;
  }
  return bad === null ? ["unknown", ""] : ["down", bad.condition.slice(0, DETAIL_CHARS_MAX)];
}
