/**
 * Carries a failover out, step by step. The decision whether to is failover.ts's.
 *
 *   fresh look at all replicas ──▶ choose (pure) ──▶ STORE switch-begun
 *     ──▶ cut every replica off from the old primary ──▶ look and choose again: now the offsets are final
 *     ──▶ takeOver: REPLICAOF NO ONE ──▶ conclude: STORE promoted ──▶ map ──▶ the others follow it
 *
 * Each step may be done again, so a leader that finds `switch` in the topology begins at the top: a chosen
 * one that is a primary already stays chosen, if it is still the process that was chosen. Invariants: nothing
 * is done to a server before the intent is stored under our term, and each step asks again whether that is
 * the term in force (L14); no proxy is told of the new primary before the outcome is stored, so until then a
 * switch can be given up and nothing is lost; from the cutting off on, the old primary can get no
 * confirmation from a replica that we choose among, so with `acks: replica` whatever it still answers is not
 * acknowledged (L2).
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import { withTimeLimit } from "../../env/time-limit.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import {
  type GroupSwitch,
  type SwitchRecord,
  type TopologyGroup,
  primaryOf,
  replicasOf,
} from "../../topology/cluster-topology.ts";
import { type ServerObservation, type UpObservation, observationOf } from "../../topology/group-health.ts";
import { type Choice, acksOf, chooseSuccessor, lostBytesBound } from "../../topology/promotion.ts";
import { refusalToWire } from "../../topology/wire-replicas.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { Health } from "../health.ts";
import type { ReplicationLogins } from "./replication-logins.ts";

/** A replica that needs longer for a look counts as away: others are waiting for the outcome. */
export const LOOK_MS = 500;

export interface SwitcherParts {
  /** This controller's name. */
  readonly id: string;
  readonly state: ClusterState;
  readonly health: Health;
  readonly events: EventLog;
  readonly logins: ReplicationLogins;
}

/** Why a failover, and with which say of a person. */
export interface FailoverCause {
  readonly reason: string;
  readonly forced: boolean;
  readonly to?: string;
  /** The old primary answers, and is replaced all the same: it was started again. */
  readonly replaceLiving: boolean;
  /** See {@link SwitchRecord.acknowledgedLost}. */
  readonly acknowledgedLost: 0 | null;
}

/** What was last seen of a primary while it was the one that the group's history names. */
export interface LastSeen {
  readonly seen: UpObservation;
  /** Wall clock. */
  readonly atMs: number;
}

/** What the store keeps of a promotion besides who it is. */
export interface PromotionDetails {
  /** What has taken over, as it was seen then. */
  readonly taken: UpObservation;
  /** Replicas that may know the group's new password; without it, all of them. */
  readonly told?: readonly string[];
  readonly acknowledgedLost: 0 | null;
}

/** What a switch shall be. */
export type Intent = Pick<GroupSwitch, "kind" | "to" | "toRunId" | "reason">;

type Chosen = Extract<Choice, { to: string }>;

export class Switcher {
  readonly #env: Pick<Env, "clock" | "timers" | "log">;
  readonly #parts: SwitcherParts;

  constructor(env: Pick<Env, "clock" | "timers" | "log">, parts: SwitcherParts) {
    this.#env = env;
    this.#parts = parts;
  }

  /** @throws ShoalError CONFLICT in words why nobody may take over; nothing has changed then */
  async failOver(id: string, cause: FailoverCause, last: LastSeen | null): Promise<SwitchRecord> {
    const group = this.group(id);
    const from = primaryOf(group).addr;
    const found = await this.fresh(this.#replicas(group));
    const first = this.#choose(group, found, cause);
    const begun = group.switch;
    if (first.to === null) {
      // What somebody began can't be finished this way; nobody has been told of it, so it is as if it were
      // not.
      if (begun !== undefined) await this.abandon(id);
      throw refusal(group, first);
    }
    if (begun === undefined) {
      const { reason } = cause;
      const intent: Intent = { kind: "failover", to: first.to, toRunId: runIdIn(found, first.to), reason };
      await this.#begin(id, { ...this.planFor(group, intent, last), ...marks(cause) });
      const silentMs = last === null ? undefined : Math.round(this.#env.clock.wallMs() - last.atMs);
      this.#parts.events.add("failover-begun", {
        group: id,
        from,
        to: first.to,
        reason,
        silentMs,
      });
    }
    const plan = this.group(id).switch as GroupSwitch;
    await this.#parts.state.confirmLeading();
    const up = this.#replicas(group).filter(
      (addr) => observationOf(this.#parts.health.observations, addr).state === "up",
    );
    const seen = await this.#cutOff(up, plan);
    const choice = this.#choose(group, seen, {
      ...cause,
      to: cause.to ?? promotedAlready(group, plan, seen),
    });
    if (choice.to === null) {
      await this.abandon(id);
      throw refusal(group, choice);
    }
    const toRunId = runIdIn(seen, choice.to);
    if (choice.to !== plan.to || toRunId !== plan.toRunId)
      await this.#begin(id, { ...plan, to: choice.to, toRunId });
    if (!cause.replaceLiving && this.isBack(group)) {
      await this.abandon(id);
      this.#parts.events.add("failover-ended", { group: id, primary: from });
      throw new ShoalError("CONFLICT", `Cannot fail over group ${id}: its primary ${from} is back`);
    }
    // Whom somebody before us has told, nobody knows.
    const told = begun === undefined ? up : this.#replicas(group);
    const { acknowledgedLost } = cause;
    const decided = this.group(id).switch as GroupSwitch;
    await this.admit(choice.to, decided.link);
    const taken = await this.takeOver(id, decided);
    return this.conclude(id, decided, choice, { taken, told, acknowledgedLost });
  }

  /** The next primary lets the group's replicas in. @throws ShoalError NOT_LEADER and what the server says */
  async admit(to: string, link: string | undefined): Promise<void> {
    await this.#parts.state.confirmLeading();
    await this.#parts.logins.admit(to, link);
  }

  /**
   * Makes the chosen one a primary, or finds it one already: what it is then comes back. Nobody knows of it,
   * so it can still be given up. @throws ShoalError
   */
  async takeOver(id: string, plan: GroupSwitch): Promise<UpObservation> {
    const { state, health } = this.#parts;
    // A leader of the past must not make a second primary: the store says whether we are one.
    await state.confirmLeading();
    await this.server(plan.to).replicaOfNoOne();
    const seen = await health.look(plan.to);
    const wrong = notTheChosen(this.group(id), plan, seen);
    if (seen.state === "up" && wrong === null) return seen;
    throw new ShoalError("SERVER_REPLY", `Cannot make ${plan.to} the primary of group ${id}: ${wrong}`);
  }

  /** The last step of any switch. @throws ShoalError; the switch is then still to be finished */
  async conclude(
    id: string,
    plan: GroupSwitch,
    choice: Chosen,
    { taken, told, acknowledgedLost }: PromotionDetails,
  ): Promise<SwitchRecord> {
    const { state } = this.#parts;
    const { to } = choice;
    const { replicationId, runId } = taken;
    const record: SwitchRecord = {
      group: id,
      kind: plan.kind,
      from: plan.from,
      to,
      reason: plan.reason,
      startedAtMs: plan.startedAtMs,
      endedAtMs: this.#env.clock.wallMs(),
      lostBytesMax: lostBytesBound(plan.fromOffset, plan.fromOffset !== null, choice.offset),
      acknowledgedLost,
      controller: this.#parts.id,
      ...(plan.kind === "failover" ? { silentMs: silenceOf(plan, this.#env.clock.wallMs()) } : {}),
    };
    const previous = this.group(id).history?.id;
    const history = { id: replicationId, runId, offset: choice.offset, previous };
    const { inSync } = choice;
    await state.change({ type: "promoted", group: id, primary: to, history, inSync, told, record });
    void this.#others(id, to);
    return record;
  }

  /** The primary stays; replicas that were cut off are told how to reach it again. */
  async abandon(id: string): Promise<void> {
    await this.#parts.state.change({ type: "switch-ended", group: id });
    this.#parts.logins.forget(this.group(id));
  }

  /** The group's primary answers, and is the process that it was. */
  isBack(group: TopologyGroup): boolean {
    const seen = observationOf(this.#parts.health.observations, primaryOf(group).addr);
    const same = group.history === undefined || (seen.state === "up" && seen.runId === group.history.runId);
    return seen.state === "up" && seen.role === "primary" && same;
  }

  /** Looks at all of them at once; who takes longer than LOOK_MS counts as silent. */
  async fresh(addrs: readonly string[]): Promise<Map<string, ServerObservation>> {
    const { health } = this.#parts;
    const sinceMs = this.#env.clock.nowMs();
    const silent: ServerObservation = { state: "suspect", reason: `no answer within ${LOOK_MS} ms`, sinceMs };
    const looks = addrs.map((addr) => withTimeLimit(this.#env.timers, LOOK_MS, health.look(addr), silent));
    const found = await Promise.all(looks);
    return new Map(addrs.map((addr, i) => [addr, found[i]]));
  }

  planFor(group: TopologyGroup, intent: Intent, last: LastSeen | null): GroupSwitch {
    const nowMs = this.#env.clock.wallMs();
    const link = this.#parts.logins.newLink(group);
    const comparable = last !== null && last.seen.replicationId === group.history?.id;
    return {
      ...intent,
      from: primaryOf(group).addr,
      startedAtMs: nowMs,
      lastAnswerAtMs: last?.atMs ?? nowMs,
      fromOffset: comparable ? last.seen.offset : null,
      ...(link === undefined ? {} : { link }),
    };
  }

  /** @throws ShoalError NOT_FOUND */
  group(id: string): TopologyGroup {
    const group = this.#parts.state.topology?.groups.find((one) => one.id === id);
    if (group === undefined) throw new ShoalError("NOT_FOUND", `Cannot switch group ${id}: no such group`);
    return group;
  }

  /** @throws ShoalError NOT_FOUND */
  server(addr: string): RedisServer {
    const server = this.#parts.health.serverAt(addr);
    if (server === null)
      throw new ShoalError("NOT_FOUND", `Cannot reach ${addr}: it is in no group any more`);
    return server;
  }

  /**
   * Makes `addr` follow `primary` under the group's present password. Asks twice whether that is still our
   * business: before we touch its settings, and when only REPLICAOF is left, which replaces what it holds.
   * False: it is shut out for a while. @throws ShoalError NOT_LEADER, CONFLICT and what the servers say
   */
  async follow(id: string, addr: string, primary: string): Promise<boolean> {
    const { logins, state, health } = this.#parts;
    const confirm = async (): Promise<void> => {
      await state.confirmLeading();
      const now = primaryOf(this.group(id)).addr;
      if (now !== primary)
        throw new ShoalError("CONFLICT", `Cannot have ${addr} follow ${primary}: ${now} is the primary now`);
    };
    await confirm();
    const login = await logins.admit(primary, this.group(id).link);
    if (login === null) await logins.withdraw(this.server(addr));
    if (!(await logins.letIn(id, addr))) return false;
    await this.server(addr).replicaOf(primary, login, confirm);
    await health.look(addr);
    return true;
  }

  #begin(group: string, plan: GroupSwitch): Promise<void> {
    return this.#parts.state.change({ type: "switch-begun", group, plan });
  }

  /** A choice for writes that may have been confirmed by replicas, as the cluster's options say. */
  #choose(
    group: TopologyGroup,
    seen: Map<string, ServerObservation>,
    cause: Pick<FailoverCause, "to" | "forced">,
  ) {
    const acks = acksOf(this.#parts.state.topology?.options["acks"]);
    // What was seen of the primary counts as well: an empty replica must not replace one that has keys.
    const { addr } = primaryOf(group);
    const all = new Map(seen).set(addr, observationOf(this.#parts.health.observations, addr));
    return chooseSuccessor(group, all, { acks, to: cause.to, forced: cause.forced });
  }

  #replicas(group: TopologyGroup): string[] {
    return replicasOf(group).map((server) => server.addr);
  }

  /** What is seen of the replicas afterwards; one that could not be cut off counts as silent. */
  async #cutOff(up: readonly string[], plan: GroupSwitch): Promise<Map<string, ServerObservation>> {
    const { logins } = this.#parts;
    const failed = new Set<string>();
    const cuts = up.map(async (addr) => {
      const cut = logins.cutOff(this.server(addr), plan.link).then(() => true);
      if (!(await withTimeLimit(this.#env.timers, LOOK_MS, cut, false))) failed.add(addr);
    });
    await Promise.all(cuts);
    const seen = await this.fresh(up);
    for (const addr of failed) seen.delete(addr);
    return seen;
  }

  /** Not waited for: service goes on without them, and what fails here the reconciler does again. */
  async #others(id: string, primary: string): Promise<void> {
    const { health, state } = this.#parts;
    const servers = state.topology?.groups.find((group) => group.id === id)?.servers ?? [];
    const others = servers.filter(
      ({ addr, joined }) =>
        addr !== primary && joined && observationOf(health.observations, addr).state === "up",
    );
    const work = others.map(async ({ addr }) => {
      try {
        // What was seen of it may be a second old, and what it holds is about to be replaced.
        const [seen, taken] = await Promise.all([health.look(addr), health.look(primary)]);
        if (seen.state !== "up" || taken.state !== "up" || refusalToWire(true, seen, taken) !== null) return;
        if (!(await this.follow(id, addr, primary))) return;
        this.#parts.events.add("replica-wired", { group: id, server: addr, primary });
      } catch (error) {
        this.#env.log.warn("wiring-failed", { server: addr, primary, reason: errorTextOf(error) });
      }
    });
    await Promise.all(work);
  }
}

/** A plan without any answer names its own beginning. */
function silenceOf({ lastAnswerAtMs, startedAtMs }: GroupSwitch, nowMs: number): number | null {
  return lastAnswerAtMs < startedAtMs ? Math.round(nowMs - lastAnswerAtMs) : null;
}

/**
 * Why what answers at the chosen one's address is not the chosen one as a primary, or null. A process that
 * was started again is a primary too, because nothing on its disk says otherwise, whatever it has read from
 * there; and it may even show the group's replication id, if it has read that. Only a person may take a
 * server of another history.
 */
export function notTheChosen(
  { history }: TopologyGroup,
  plan: GroupSwitch,
  seen: ServerObservation,
): string | null {
  if (seen.state !== "up") return "it does not answer";
  if (seen.role !== "primary") return "it does not say so";
  if (plan.toRunId !== undefined && seen.runId !== plan.toRunId) return "it was started again";
  if (history === undefined || plan.forced === true) return null;
  const ours = [history.id, history.previous].includes(seen.replicationIdBefore);
  return ours ? null : "what it holds is of another history";
}

function runIdIn(seen: ReadonlyMap<string, ServerObservation>, addr: string): string | undefined {
  const one = seen.get(addr);
  return one?.state === "up" ? one.runId : undefined;
}

function marks(cause: FailoverCause): { forced?: true } {
  return cause.forced ? { forced: true } : {};
}

/** A leader before us got as far as that; any other choice would leave two primaries. */
function promotedAlready(
  group: TopologyGroup,
  plan: GroupSwitch,
  seen: ReadonlyMap<string, ServerObservation>,
): string | undefined {
  const to = seen.get(plan.to);
  return to !== undefined && notTheChosen(group, plan, to) === null ? plan.to : undefined;
}

function refusal(group: TopologyGroup, choice: Choice): ShoalError {
  const reasons = choice.refusals.map(({ addr, reason }) => `${addr} ${reason}`);
  const why = reasons.length === 0 ? "it has no replica" : reasons.join("; ");
  return new ShoalError("CONFLICT", `Cannot replace the primary of group ${group.id}: ${why}`);
}
