/**
 * Groups, servers, slots without a move, options: what a person may change, with the questions that have to
 * be answered by servers first.
 *
 *   body ─▶ ask the servers that come in ─▶ whose keys are they? ─▶ event ─▶ stored ─▶ map ─▶ proxies
 *              └── refusal that says what to do          (topology/group-changes.ts decides the rest)
 *
 * The rule behind the refusals: no key that somebody may still need is wiped, and none comes to stand where
 * no client can see it, unless the person says so (`adopt`, `abandonKeys`).
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type {
  AssignBody,
  GroupAddBody,
  GroupAdded,
  GroupRemoved,
  ServerAddBody,
  ServerAdded,
  ServerRemoved,
} from "../../contract/group-schemas.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import { type ClusterTopology, primaryOf } from "../../topology/cluster-topology.ts";
import { findServer, groupById, nextGroupOf } from "../../topology/group-changes.ts";
import { type Observations, sameAddress } from "../../topology/group-health.ts";
import { type SlotSpan, cutRanges, formatSlotSpans, spansOf } from "../../topology/slot-ranges.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { EventLog } from "../events.ts";
import type { KnownProxy } from "../proxy-registry.ts";
import { type AskOptions, type ServerFacts, askServer, withServer } from "./ask-server.ts";
import { countKeysIn, databaseSizes } from "./key-scan.ts";

export interface GroupCommandParts {
  readonly env: RedisEnv;
  readonly ask: AskOptions;
  readonly state: ClusterState;
  readonly events: EventLog;
  /** As of the last look at each server. */
  readonly observations: Observations;
  readonly proxies: () => readonly KnownProxy[];
}

/** Ranges that an error names. */
const SPANS_SHOWN_MAX = 8;

/** How long a change of owners waits for the proxies to serve by it, and how often it looks. */
const ACKNOWLEDGE_MS_MAX = 3000;
const ACKNOWLEDGE_LOOK_MS = 10;

export class GroupCommands {
  readonly #parts: GroupCommandParts;

  constructor(parts: GroupCommandParts) {
    this.#parts = parts;
  }

  /** @throws ShoalError CONFLICT, UNREACHABLE, … that says what to do */
  async addGroup(body: GroupAddBody): Promise<GroupAdded> {
    const topology = this.#topology("add a group");
    const actionOf = (addr: string): string => `add group ${nextGroupOf(topology).id} with server ${addr}`;
    const action = actionOf(body.primary);
    const addrs = [body.primary, ...body.replicas];
    for (const addr of addrs) this.#refuseKnown(topology, addr, actionOf(addr));
    const facts = await Promise.all(addrs.map((addr) => this.#ask(addr, actionOf(addr))));
    const [primary, ...replicas] = facts;
    if (primary.role !== "primary") {
      const next = `name its primary, or send it REPLICAOF NO ONE first`;
      throw new ShoalError("CONFLICT", `Cannot ${action}: it follows ${primary.follows}; ${next}`);
    }
    for (const replica of replicas) checkReplica(replica, primary, body.adopt, actionOf(replica.addr));
    await this.#checkPrimaryKeys(topology, primary, body, action);
    const { slots, adopt: adopted } = body;
    const event = {
      type: "group-added",
      primary: body.primary,
      replicas: body.replicas,
      adopted,
      slots,
    } as const;
    await this.#parts.state.change(event);
    if (slots.length > 0) await this.#acknowledged();
    const group = findServer(this.#topology("add a group"), body.primary)?.group;
    if (group === undefined) throw new ShoalError("INTERNAL", "Cannot find the group that was just added");
    this.#parts.events.add("group-added", { group: group.id, primary: body.primary });
    return { id: group.id, primary: body.primary, replicas: body.replicas };
  }

  /** Its servers run on, and keep what they hold. */
  async removeGroup(id: string): Promise<GroupRemoved> {
    const group = groupById(this.#topology("remove a group"), id);
    const primary = primaryOf(group).addr;
    await this.#parts.state.change({ type: "group-removed", group: id });
    this.#parts.events.add("group-removed", { group: id });
    const keysLeft = await this.#with(primary, databaseSizes)
      .then((sizes) => [...sizes.values()].reduce((a, b) => a + b, 0))
      .catch(() => null);
    return { id, servers: group.servers.map((server) => server.addr), keysLeft };
  }

  async addServer(body: ServerAddBody): Promise<ServerAdded> {
    const topology = this.#topology("add a server");
    const group = groupById(topology, body.group);
    const action = `add server ${body.addr} to group ${group.id}`;
    this.#refuseKnown(topology, body.addr, action);
    const [facts, primary] = await Promise.all([
      this.#ask(body.addr, action),
      this.#ask(primaryOf(group).addr, `${action}: asked its primary ${primaryOf(group).addr}`, true),
    ]);
    checkReplica(facts, primary, body.adopt, action);
    const { addr, adopt } = body;
    await this.#parts.state.change({ type: "server-added", group: group.id, addr, adopted: adopt });
    this.#parts.events.add("server-added", { group: group.id, server: addr });
    const keysReplaced = follows(facts, primary) ? 0 : facts.keys;
    return { group: group.id, addr, primary: primary.addr, version: facts.version, keysReplaced };
  }

  /**
   * Out of the topology first, then told to follow no more: a server that still followed would go on
   * confirming writes (WAIT) as a replica that nobody would ever promote.
   */
  async removeServer(addr: string): Promise<ServerRemoved> {
    const found = findServer(this.#topology("remove a server"), addr);
    await this.#parts.state.change({ type: "server-removed", addr });
    if (found === null)
      throw new ShoalError("INTERNAL", `Cannot find server ${addr}, which was just removed`);
    const { group, server } = found;
    this.#parts.events.add("server-removed", { group: group.id, server: server.addr });
    const notes: string[] = [];
    if (group.servers.length === 2) notes.push(`group ${group.id} has no replica left: its keys stand once`);
    let detached = true;
    try {
      await this.#with(server.addr, (connection) => connection.replicaOfNoOne());
    } catch (error) {
      detached = false;
      notes.push(`${server.addr} was not told to follow no more: ${errorTextOf(error)}; stop it`);
    }
    return { group: group.id, addr: server.addr, detached, notes };
  }

  /** For reads from the nearest server, and for the choice between two equal replicas. */
  async setZone(addr: string, zone: string): Promise<void> {
    await this.#parts.state.change({ type: "zone-set", addr, zone });
  }

  /** Refused while keys of the slots are where they would be seen no more. */
  async assign(body: AssignBody): Promise<{ slots: number; map: { version: number; term: number } }> {
    const topology = this.#topology("assign slots");
    groupById(topology, body.to);
    if (!body.abandonKeys) {
      await this.#refuseForeignKeys(topology, body.slots, body.to, `assign slots to group ${body.to}`);
    }
    const { slots, to } = body;
    await this.#parts.state.change({ type: "slots-assigned", slots, group: to });
    await this.#acknowledged();
    this.#parts.events.add("slots-assigned", { slots: formatSlotSpans(slots), group: to });
    const { version, term } = this.#topology("assign slots");
    return { slots: slots.reduce((sum, span) => sum + span.to - span.from + 1, 0), map: { version, term } };
  }

  async setOptions(options: Readonly<Record<string, string | number | boolean | null>>): Promise<void> {
    await this.#parts.state.change({ type: "options-set", options });
    this.#parts.events.add("options-changed", { names: Object.keys(options).join(" ") });
  }

  /**
   * Whoever has been told that slots changed hands finds it so at every living proxy. Not for ever: one that
   * has just died is found out by its lease, and gets the map first of all when it comes back.
   */
  async #acknowledged(): Promise<void> {
    const { env, proxies } = this.#parts;
    const { version } = this.#topology("wait for the proxies");
    const deadlineMs = env.clock.nowMs() + ACKNOWLEDGE_MS_MAX;
    const isBehind = ({ state, report }: KnownProxy): boolean => {
      return state === "serving" && (report.map?.version ?? 0) < version;
    };
    while (proxies().some(isBehind) && env.clock.nowMs() < deadlineMs) {
      await new Promise<void>((resolve) => void env.timers.after(ACKNOWLEDGE_LOOK_MS, resolve));
    }
  }

  /**
   * A primary with keys comes in only with the slots that the keys are of, and nobody else's keys in them.
   */
  async #checkPrimaryKeys(
    topology: ClusterTopology,
    primary: ServerFacts,
    body: GroupAddBody,
    action: string,
  ): Promise<void> {
    const { slots } = topology;
    if (primary.keys > 0 && !body.adopt) {
      const next =
        "empty it (FLUSHALL), or take them in with --adopt --slots RANGE: slots that nobody else has keys of";
      throw new ShoalError("CONFLICT", `Cannot ${action}: it holds ${primary.keys} keys of its own; ${next}`);
    }
    const isServed = (slot: number): boolean => body.slots.some(({ from, to }) => from <= slot && slot <= to);
    if (primary.keys > 0) {
      const outside = await this.#with(primary.addr, (server) =>
        countKeysIn(server, slots, (slot) => !isServed(slot), Number.POSITIVE_INFINITY),
      );
      if (outside.keys > 0) {
        const where = shownSpans(outside.slots);
        const which = `${outside.keys} of its ${primary.keys} keys`;
        const why = `${which} are of slots ${where}, which it would not serve`;
        const next =
          "no client would see them, and a move of these slots would delete them; name them with --slots";
        throw new ShoalError("CONFLICT", `Cannot ${action}: ${why}: ${next}`);
      }
    }
    if (body.slots.length > 0) await this.#refuseForeignKeys(topology, body.slots, null, action);
  }

  /** Looks at every key of the groups that own `spans` now. */
  async #refuseForeignKeys(
    topology: ClusterTopology,
    spans: readonly SlotSpan[],
    to: string | null,
    action: string,
  ): Promise<void> {
    const leaving = spans.flatMap((span) => cutRanges(topology.ranges, span));
    const owners = new Set(leaving.map((range) => range.group).filter((group) => group !== to));
    for (const id of owners) {
      const own = leaving.filter((range) => range.group === id);
      const { addr } = primaryOf(groupById(topology, id));
      const isOf = (slot: number): boolean => own.some((range) => range.from <= slot && slot <= range.to);
      const found = await this.#with(addr, (server) => {
        return countKeysIn(server, topology.slots, isOf, Number.POSITIVE_INFINITY);
      }).catch((error) => {
        const next = "when its keys are lost for good, --abandon-keys goes on without looking";
        throw new ShoalError("CONFLICT", `Cannot ${action}: ${errorTextOf(error)}; ${next}`, error);
      });
      if (found.keys === 0) continue;
      const why = `group ${id} holds ${found.keys} keys of slots ${shownSpans(found.slots)}`;
      const next =
        "`shoal slot move RANGE --to GROUP` moves the keys, too; --abandon-keys leaves them behind";
      throw new ShoalError("CONFLICT", `Cannot ${action}: ${why}; ${next}`);
    }
  }

  /** Known by its address, or, when it answers, by the run id of its process: a server has many names. */
  #refuseKnown(topology: ClusterTopology, addr: string, action: string): void {
    const found = findServer(topology, addr);
    if (found === null) return;
    const where = `it is a ${found.server.role} of group ${found.group.id} already`;
    throw new ShoalError("CONFLICT", `Cannot ${action}: ${where}`);
  }

  async #ask(addr: string, action: string, ours = false): Promise<ServerFacts> {
    const facts = await askServer(this.#parts.env, this.#parts.ask, addr, action);
    if (ours) return facts;
    for (const [other, seen] of this.#parts.observations) {
      if (seen.state === "up" && seen.runId === facts.runId) {
        throw new ShoalError("CONFLICT", `Cannot ${action}: it is ${other}, which is in already`);
      }
    }
    return facts;
  }

  #with<Result>(addr: string, work: Parameters<typeof withServer<Result>>[3]): Promise<Result> {
    return withServer(this.#parts.env, this.#parts.ask, addr, work);
  }

  /** @throws ShoalError NOT_LEADER, NOT_FOUND */
  #topology(action: string): ClusterTopology {
    const { topology, leading, leader } = this.#parts.state;
    if (!leading) {
      const who = leader === null ? "nobody leads now" : `${leader.id} at ${leader.addr} leads`;
      throw new ShoalError("NOT_LEADER", `Cannot ${action}: ${who}`);
    }
    if (topology === null) throw new ShoalError("NOT_FOUND", `Cannot ${action}: there is no cluster yet`);
    return topology;
  }
}

/** @throws ShoalError CONFLICT when what the server holds must not be replaced by its new primary's keys */
function checkReplica(facts: ServerFacts, primary: ServerFacts, adopt: boolean, action: string): void {
  const refuse = (why: string): never => {
    throw new ShoalError("CONFLICT", `Cannot ${action}: ${why}`);
  };
  if (facts.product === primary.product && facts.versionMajor < primary.versionMajor) {
    const versions = `it is version ${facts.version}, its primary ${primary.addr} is ${primary.version}`;
    refuse(
      `${versions}: an older server cannot read what a newer one sends; use the same version or a later one`,
    );
  }
  // A copy of this very primary has nothing of its own.
  if (follows(facts, primary)) return;
  if (facts.replicas.length > 0 && !adopt) {
    const names = facts.replicas.map((replica) => replica.address).join(", ");
    refuse(`${names} follow it and would lose their keys with it; detach them, or say --adopt`);
  }
  if (facts.role === "replica" && !adopt) {
    refuse(`it follows ${facts.follows}; send it REPLICAOF NO ONE first, or say --adopt to take it over`);
  }
  if (facts.keys === 0) return;
  if (primary.keys === 0) {
    // Never, whoever asks: it may be the last copy of the group's keys (see topology/wire-replicas.ts).
    refuse(`it holds ${facts.keys} keys and the primary ${primary.addr} none; empty it first (FLUSHALL)`);
  }
  if (!adopt) {
    const next = "empty it first (FLUSHALL), or say --adopt: then the group's keys replace them";
    refuse(`it holds ${facts.keys} keys of its own; ${next}`);
  }
}

function follows(facts: ServerFacts, primary: ServerFacts): boolean {
  return facts.follows !== null && sameAddress(facts.follows, primary.addr);
}

function shownSpans(slots: readonly number[]): string {
  const spans = spansOf(slots);
  const more = spans.length > SPANS_SHOWN_MAX ? ` and ${spans.length - SPANS_SHOWN_MAX} more ranges` : "";
  return formatSlotSpans(spans.slice(0, SPANS_SHOWN_MAX)) + more;
}
