/**
 * Reads from replicas, for one worker.
 *
 *   dispatcher ─▶ take ─┬─ null: to the primary, as ever (writes, transactions, tracking, slots that move …)
 *                       ├─ true: sent to a replica (choose-server.ts)
 *                       └─ false: on hold, until a sample shows a replica that is fresh enough
 *
 *   option or READONLY ─▶ session.reads is set ─▶ the session is not plain: only then anybody comes here
 *   somebody reads so ─▶ the groups' offsets are sampled (offset-sampler.ts); nobody ─▶ they are not
 *
 * Invariants: a session sees its own writes, and never an older state after a newer one (L13); no answer is
 * older than `max_staleness_ms`. When neither can be had, the primary answers, or with read_from = replica an
 * error does.
 */
import * as c from "../../commands/command.ts";
import { isBlockingCall } from "../../commands/special-key-finders.ts";
import type { Timer } from "../../env/env.ts";
import type { ClusterMap, MapGroup } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import { type Call, fail } from "../dispatch/call.ts";
import { foundKeys, SEVERAL, slotOfArgument } from "../dispatch/locate.ts";
import { split } from "../dispatch/split.ts";
import { HOLD_DRAIN, HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { SLOT_SERVING } from "../slots/slot-states.ts";
import { type Bounds, type Candidate, chooseServer } from "./choose-server.ts";
import { NEVER } from "./freshness.ts";
import { OffsetSampler, SAMPLE_PERIOD_MS, type SampledServer } from "./offset-sampler.ts";
import { type GroupPosition, ReadPosition, RETURN_AFTER_MS } from "./read-position.ts";
import { effectivePolicy, type ReadPolicy, readPolicyOf } from "./read-policy.ts";
import { ReplicaLinks } from "./replica-links.ts";

/** How long a read waits for a replica to catch up, when the primary may answer instead. */
const CATCH_UP_MS_MAX = 20;
/** How long a read waits for a replica, when nobody else may answer. */
const REPLICA_WAIT_MS_MAX = 1000;
/**
 * Without a reader for so many periods, nothing is sampled: clients may come one after the other, briefly.
 */
const IDLE_PERIODS_MAX = 20;

type Wish = "readonly" | "readwrite" | null;

/** A group's server to read from; a text is the error; null: the primary; "wait": not now. */
type Choice = { readonly server: SampledServer } | { readonly error: string } | "wait" | null;

export class ReplicaReads {
  readonly #plane: DataPlane;
  #policy: ReadPolicy = { from: "primary", maxStalenessMs: 0 };
  #map: ClusterMap | null = null;
  readonly #samplers = new Map<string, OffsetSampler>();
  readonly #links: ReplicaLinks;
  readonly #floors = new Map<string, number>();
  readonly #waiting = new Map<Session, string>();
  /** What sessions have asked for themselves. */
  readonly #said = new WeakMap<Session, Wish>();
  #readers = 0;
  #idlePeriods = 0;
  #timer: Timer | null = null;

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.#links = new ReplicaLinks(plane, (group, address) => this.#lost(group, address));
  }

  /** What a new session starts with: null while reads go to the primary. */
  positionFor(): ReadPosition | null {
    if (this.#policy.from === "primary") return null;
    this.#readersChanged(1);
    return new ReadPosition(this.#policy);
  }

  /** READONLY, READWRITE; null: as the cluster says. */
  say(session: Session, wish: Wish): void {
    this.#said.set(session, wish);
    this.#follow(session);
  }

  forget(session: Session): void {
    this.#waiting.delete(session);
    if (session.reads === null) return;
    session.reads = null;
    this.#readersChanged(-1);
  }

  /** A map is in force. */
  applyMap(map: ClusterMap): void {
    const moved = JSON.stringify(map.ranges) !== JSON.stringify(this.#map?.ranges);
    this.#map = map;
    this.#policy = readPolicyOf(map);
    // What has come to a group by a move is at its replicas a moment later.
    if (moved) for (const { id } of map.groups) this.#floors.set(id, this.#nowMs);
    this.#dropOld(map);
    for (const session of this.#plane.clients.all()) this.#follow(session);
    this.#readersChanged(0);
    this.#releaseWaiting();
  }

  check(elapsedMs: number): void {
    for (const sampler of this.#samplers.values()) sampler.check(elapsedMs);
    this.#links.check(elapsedMs);
  }

  close(): void {
    for (const sampler of this.#samplers.values()) sampler.close();
    this.#links.close();
    this.#timer?.cancel();
  }

  /** The session is about to use primaries in a way that is not by key. */
  touched(session: Session): void {
    session.reads?.touchAll(this.#map?.groups ?? [], this.#nowMs);
  }

  /** See the head of this file. `slot`: as `locate` has found it; its keys are in `foundKeys`. */
  take(call: Call, slot: number): boolean | null {
    const { session } = call;
    const reads = session.reads as ReadPosition;
    if (slot !== SEVERAL && slot < 0) {
      this.touched(session);
      return null;
    }
    const groups = slot === SEVERAL ? this.#groupsOf(call) : [this.#groupAt(session, slot)];
    if (!this.#mayRead(call, slot)) {
      for (const group of groups) reads.wrote(reads.of(group), this.#nowMs);
      return null;
    }
    const servers = new Map<string, SampledServer>();
    for (const group of groups) {
      const choice = this.#choose(session, reads, group);
      if (choice === "wait") return false;
      if (choice === null) continue;
      if ("error" in choice) return fail(session, choice.error);
      servers.set(group, choice.server);
    }
    if (servers.size === 0) return null;
    return slot === SEVERAL ? this.#split(call, servers) : this.#send(call, groups[0], servers);
  }

  #send(call: Call, group: string, servers: ReadonlyMap<string, SampledServer>): true {
    const { session, bytes, start, end } = call;
    this.#plane.counters.replicaReads++;
    this.#links.to(session, servers.get(group) as SampledServer).send(session, bytes, start, end);
    return true;
  }

  #split(call: Call, servers: ReadonlyMap<string, SampledServer>): boolean {
    const { session } = call;
    this.#plane.counters.replicaReads++;
    return split(this.#plane, call, foundKeys, (slot) => {
      const server = servers.get(this.#groupAt(session, slot));
      return server === undefined ? session.lane.homes[slot] : this.#links.to(session, server);
    });
  }

  /** Whether a replica could answer, as far as the command and the session's state go. */
  #mayRead(call: Call, slot: number): boolean {
    const { session, command, request } = call;
    if ((command.flags & c.FLAG_READONLY) === 0 || command.group === "scripting") return false;
    if ((command.flags & c.FLAG_BLOCKING) !== 0 && isBlockingCall(command, request)) return false;
    // What a session watches or tracks is watched and tracked at the primary.
    if (session.watch !== null || session.transaction !== null || session.tracking !== null) return false;
    const { states } = this.#plane.slots;
    return slot === SEVERAL ? !states.unsettled : states.of(slot) === SLOT_SERVING;
  }

  #choose(session: Session, reads: ReadPosition, group: string): Choice {
    const sampler = this.#samplerOf(group);
    const position = reads.of(group);
    const { from } = reads.policy;
    if (sampler === null || from === "primary") return this.#noServer(from, position, group, "it has none");
    // The replica was lost since: it may have been started again, with less than the session has seen.
    if (position.current !== "" && sampler.replicaAt(position.current)?.life !== position.life)
      reads.leave(position);
    if (position.touched && !this.#settled(session, reads, position, from))
      return from === "replica" ? "wait" : null;
    const candidates = this.#candidates(session, sampler);
    const bounds = this.#boundsOf(session, reads.policy, position, group);
    const chosen = chooseServer(from, candidates, bounds);
    if (chosen !== null && chosen.address === position.current) return this.#read(sampler, position, chosen);
    if (chosen === null && position.current !== "") {
      reads.leave(position);
      if (this.#settled(session, reads, position, from)) return this.#choose(session, reads, group);
      return from === "replica" ? "wait" : null;
    }
    if (chosen !== null && !chosen.isPrimary) return this.#read(sampler, position, chosen);
    // Whom it would be if everybody had caught up.
    const ideal = chooseServer(from, candidates, { ...bounds, seenMs: NEVER, groupFloorMs: NEVER });
    if (from === "replica" || (ideal?.isPrimary === false && bounds.nowMs >= position.returnAtMs)) {
      return this.#await(
        session,
        position,
        sampler,
        from,
        ideal === null ? "none is connected and fresh" : "none has caught up",
      );
    }
    position.touched = true;
    return null;
  }

  /** Whether what the primary was sent has been answered; if nobody else may answer, waits for that. */
  #settled(session: Session, reads: ReadPosition, position: GroupPosition, from: string): boolean {
    if (session.inFlight === 0) {
      reads.settle(position, this.#nowMs);
      return true;
    }
    if (from === "replica") session.hold(HOLD_DRAIN);
    return false;
  }

  #read(sampler: OffsetSampler, position: GroupPosition, chosen: Candidate): Choice {
    position.current = chosen.address;
    position.waitsSinceMs = 0;
    const server = sampler.replicaAt(chosen.address);
    position.life = server?.life ?? null;
    return server === null ? null : { server };
  }

  #await(
    session: Session,
    position: GroupPosition,
    sampler: OffsetSampler,
    from: string,
    why: string,
  ): Choice {
    const nowMs = this.#nowMs;
    if (position.waitsSinceMs === 0) position.waitsSinceMs = nowMs;
    const boundMs = from === "replica" ? REPLICA_WAIT_MS_MAX : CATCH_UP_MS_MAX;
    if (nowMs - position.waitsSinceMs >= boundMs) {
      position.waitsSinceMs = 0;
      position.returnAtMs = nowMs + RETURN_AFTER_MS;
      return this.#noServer(from, position, sampler.group.id, why);
    }
    this.#waiting.set(session, sampler.group.id);
    session.hold(HOLD_WAIT);
    sampler.retrySoon();
    return "wait";
  }

  #noServer(from: string, position: GroupPosition, group: string, why: string): Choice {
    if (from === "replica") return { error: `ERR No replica of group ${group} can be read: ${why}` };
    position.touched = true;
    return null;
  }

  #candidates(session: Session, sampler: OffsetSampler): Candidate[] {
    return [sampler.primary, ...sampler.replicas].map((server) => {
      const { address, isPrimary, roundTripMs } = server;
      const usable = sampler.usable(server) && (isPrimary || this.#isReadable(session, sampler, server));
      const asOfMs = sampler.freshness.asOfMs(address);
      const zone = sampler.group.zones?.[address] ?? "";
      const sameZone = zone !== "" && zone === this.#plane.config.zone;
      return { address, isPrimary, usable, asOfMs, sameZone, roundTripMs };
    });
  }

  #isReadable(session: Session, sampler: OffsetSampler, server: SampledServer): boolean {
    const link = this.#links.to(session, server);
    return link.prepare() && sampler.leadsTo(server, link);
  }

  #boundsOf(session: Session, policy: ReadPolicy, position: GroupPosition, group: string): Bounds {
    return {
      nowMs: this.#nowMs,
      maxStalenessMs: policy.maxStalenessMs,
      groupFloorMs: this.#floors.get(group) ?? NEVER,
      seenMs: position.seenMs,
      current: position.current,
      salt: session.id,
    };
  }

  /** A sample has come: whoever waits for that group looks again, if it may have helped or time is over. */
  #sampled(group: string): void {
    let left = false;
    for (const [session, waitsFor] of Array.from(this.#waiting)) {
      if (waitsFor !== group) continue;
      if (this.#helps(session, group)) this.#release(session);
      else left = true;
    }
    if (left) this.#samplers.get(group)?.retrySoon();
  }

  #helps(session: Session, group: string): boolean {
    const { reads } = session;
    const sampler = this.#samplers.get(group);
    if (reads === null || sampler === undefined) return true;
    const position = reads.of(group);
    const boundMs = reads.policy.from === "replica" ? REPLICA_WAIT_MS_MAX : CATCH_UP_MS_MAX;
    if (this.#nowMs - position.waitsSinceMs >= boundMs) return true;
    const bounds = this.#boundsOf(session, reads.policy, position, group);
    const chosen = chooseServer(reads.policy.from, this.#candidates(session, sampler), bounds);
    return chosen !== null && !chosen.isPrimary;
  }

  #release(session: Session): void {
    this.#waiting.delete(session);
    session.release(HOLD_WAIT);
  }

  #releaseWaiting(): void {
    // A copy, here and below: a session that is released may come to wait again at once.
    const waiting = Array.from(this.#waiting.keys());
    for (const session of waiting) this.#release(session);
  }

  #groupAt(session: Session, slot: number): string {
    return session.lane.homes[slot].target.group;
  }

  #groupsOf(call: Call): string[] {
    const groups = new Set<string>();
    for (let i = 0; i < foundKeys.count; i++)
      groups.add(this.#groupAt(call.session, slotOfArgument(this.#plane, call, foundKeys.at[i])));
    return [...groups];
  }

  #samplerOf(id: string): OffsetSampler | null {
    const group = this.#map?.groups.find((candidate) => candidate.id === id);
    if (group === undefined || group.replicas.length === 0) return null;
    let sampler = this.#samplers.get(id);
    if (sampler === undefined) {
      sampler = new OffsetSampler(this.#plane, group, () => this.#sampled(id));
      this.#samplers.set(id, sampler);
      sampler.sample(true);
    }
    return sampler;
  }

  /** Who has read there goes on only where everything is that he may have seen, there or elsewhere. */
  #lost(group: string, address: string): void {
    const server = this.#samplers.get(group)?.replicaAt(address);
    if (server) server.life = {};
  }

  /** Samplers of groups that look otherwise now, and connections to servers that are no replicas any more. */
  #dropOld(map: ClusterMap): void {
    for (const [id, sampler] of this.#samplers) {
      if (
        sameServers(
          sampler.group,
          map.groups.find((group) => group.id === id),
        )
      )
        continue;
      sampler.close();
      this.#samplers.delete(id);
      this.#floors.set(id, this.#nowMs);
    }
    this.#links.dropOld(map);
  }

  #follow(session: Session): void {
    const policy = effectivePolicy(this.#policy, this.#said.get(session) ?? null);
    if (policy.from === "primary") this.forget(session);
    else if (session.reads === null) {
      session.reads = new ReadPosition(policy);
      // What it did so far is not known: as if it had written a moment ago.
      this.touched(session);
      this.#readersChanged(1);
    } else session.reads.policy = policy;
    session.updatePlain();
  }

  #readersChanged(by: number): void {
    this.#readers += by;
    this.#idlePeriods = 0;
    if (this.#readers > 0 && this.#map !== null)
      this.#timer ??= this.#plane.env.timers.every(SAMPLE_PERIOD_MS, () => this.#sampleAll());
  }

  #sampleAll(): void {
    if (this.#readers === 0 && ++this.#idlePeriods > IDLE_PERIODS_MAX) {
      this.#timer?.cancel();
      this.#timer = null;
      return;
    }
    for (const { id } of this.#map?.groups ?? []) this.#samplerOf(id)?.sample(false);
    // Those whose time is over while no answer comes.
    for (const [session, group] of Array.from(this.#waiting))
      if (this.#helps(session, group)) this.#release(session);
  }

  get #nowMs(): number {
    return this.#plane.env.clock.nowMs();
  }
}

function sameServers(a: MapGroup, b: MapGroup | undefined): boolean {
  return (
    b !== undefined &&
    JSON.stringify([a.primary, a.replicas, a.zones]) === JSON.stringify([b.primary, b.replicas, b.zones])
  );
}
