/**
 * One check, from beginning to end:
 *
 *   slots ─▶ replicas ─▶ SCAN every primary, all databases ─▶ look again at what is not in its home
 *        ─▶ with fix: MIGRATE home what is alone ─▶ proxies' maps
 *
 * While it looks, slots move and keys come and go. So nothing is reported by what was true at the scan: each
 * key that seemed astray is looked at again by the map of that moment, on both sides. Keys of slots that are
 * moving are right at both ends. With `fix` a key is moved without REPLACE, only while its slot does not
 * move: whatever clients have written at home in between stays.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import type { CheckProblem, CheckStatus, StrayKey } from "../../contract/check-routes.ts";
import { type RedisEnv } from "../../redis/server-connection.ts";
import type { ClusterMap, MapGroup } from "../../topology/cluster-map.ts";
import { observationOf, sameAddress } from "../../topology/group-health.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { Health } from "../health.ts";
import type { ProxyRegistry } from "../proxy-registry.ts";
import { Homes, badSlots, encodeKey, showKey } from "./homes.ts";
import { KeyServer, type KeyServerOptions } from "./key-server.ts";

export interface CheckParts {
  readonly env: RedisEnv;
  readonly ask: KeyServerOptions;
  readonly state: ClusterState;
  readonly health: Health;
  readonly proxies: ProxyRegistry;
}

/** Strays that are looked at one by one; more are counted. */
export const STRAYS_LOOKED_AT_MAX = 100_000;
/** Problems, and strays, that the answer names. */
export const PROBLEMS_SHOWN_MAX = 200;
export const STRAYS_SHOWN_MAX = 200;
/** Proxies report each second: so long one may be behind. */
const MAP_WAIT_MS = 5000;
const MAP_POLL_MS = 100;

/** A key that was not in its home when it was scanned. */
interface Candidate {
  readonly key: string;
  readonly db: number;
  readonly group: string;
  readonly server: KeyServer;
}

type Verdict = Pick<StrayKey, "state" | "detail"> & { readonly home: string; readonly slot: number };

export class CheckRun {
  readonly #parts: CheckParts;
  readonly #fix: boolean;
  readonly #id: string;
  readonly #startedMs: number;
  readonly #servers = new Map<string, KeyServer>();
  readonly #candidates: Candidate[] = [];
  readonly #problems: CheckProblem[] = [];
  readonly #keys: StrayKey[] = [];
  readonly #byFlow = new Map<string, { kind: "stray" | "double"; count: number; example: string }>();
  #state: CheckStatus["state"] = "running";
  #phase = "slots";
  #error: string | null = null;
  #endedMs: number | null = null;
  #serversTotal = 0;
  #serversDone = 0;
  #keysScanned = 0;
  #keysTotal = 0;
  #unlooked = 0;
  #strays = 0;
  #moved = 0;
  #stopped = false;
  /** Of the last map that was looked at. */
  #homes: Homes | null = null;
  #homesMap: ClusterMap | null = null;

  constructor(parts: CheckParts, id: string, fix: boolean) {
    this.#parts = parts;
    this.#id = id;
    this.#fix = fix;
    this.#startedMs = parts.env.clock.nowMs();
  }

  get running(): boolean {
    return this.#state === "running";
  }

  /** Ends it before its time. */
  stop(): void {
    this.#stopped = true;
  }

  /** Never rejects: what went wrong is in the status. */
  async run(map: ClusterMap): Promise<void> {
    try {
      this.#problems.push(...badSlots(map).map((text): CheckProblem => ({ kind: "slot", text })));
      this.#phase = "replicas";
      for (const group of map.groups) await this.#checkRoles(group);
      this.#phase = "keys";
      await this.#scanAll(map);
      this.#phase = this.#fix ? "bringing keys home" : "looking again";
      for (const candidate of this.#candidates) await this.#judge(candidate);
      this.#tellStrays();
      this.#phase = "proxies";
      await this.#checkProxies();
      this.#state = "done";
    } catch (error) {
      this.#error = errorTextOf(error);
      this.#state = "failed";
    } finally {
      this.#endedMs = this.#parts.env.clock.nowMs();
      for (const server of this.#servers.values()) server.close();
    }
  }

  status(): CheckStatus {
    const done = this.#state === "done";
    return {
      id: this.#id,
      state: this.#state,
      fix: this.#fix,
      elapsedMs: Math.round((this.#endedMs ?? this.#parts.env.clock.nowMs()) - this.#startedMs),
      phase: this.#phase,
      servers: this.#serversTotal,
      serversDone: this.#serversDone,
      keysScanned: this.#keysScanned,
      keysTotal: this.#keysTotal,
      strays: this.#strays,
      moved: this.#moved,
      clean: done ? this.#problems.length === 0 : null,
      problems: this.#problems.slice(0, PROBLEMS_SHOWN_MAX),
      keys: this.#keys,
      error: this.#error,
    };
  }

  /** The primary is one, each replica follows it. */
  async #checkRoles(group: MapGroup): Promise<void> {
    const problem = (kind: CheckProblem["kind"], text: string): void =>
      void this.#problems.push({ kind, text });
    for (const addr of [group.primary, ...group.replicas]) {
      await this.#parts.health.look(addr);
      const seen = observationOf(this.#parts.health.observations, addr);
      const what = `${addr} of group ${group.id}`;
      if (seen.state !== "up") {
        problem("server", `${what} does not answer${"reason" in seen ? `: ${seen.reason}` : ""}`);
      } else if (addr === group.primary) {
        if (seen.role !== "primary") problem("role", `${what} is the primary, but follows ${seen.follows}`);
      } else if (seen.role !== "replica") {
        problem("role", `${what} is a replica, but follows nobody`);
      } else if (!sameAddress(seen.follows ?? "", group.primary)) {
        problem("role", `${what} follows ${seen.follows}, its primary is ${group.primary}`);
      } else if (!seen.linkUp) {
        problem("role", `${what} is not in touch with its primary ${group.primary}`);
      }
    }
  }

  /** All primaries at once: a slow one delays nobody. */
  async #scanAll(map: ClusterMap): Promise<void> {
    const homes = new Homes(map);
    this.#serversTotal = map.groups.length;
    await Promise.all(
      map.groups.map(async (group) => {
        try {
          await this.#scanServer(group, homes);
        } catch (error) {
          const text = `${group.primary} of group ${group.id} could not be scanned: ${errorTextOf(error)}`;
          this.#problems.push({ kind: "server", text });
        }
        this.#serversDone++;
      }),
    );
  }

  async #scanServer(group: MapGroup, homes: Homes): Promise<void> {
    const server = this.#serverAt(group.primary);
    const databases = await server.databases();
    for (const { keys } of databases) this.#keysTotal += keys;
    for (const { db } of databases) {
      for await (const keys of server.scan(db)) {
        this.#goOn();
        this.#keysScanned += keys.length;
        const astray = keys.filter((key) => !homes.fits(homes.of(key), group.id));
        for (const key of astray) this.#suspect({ key, db, group: group.id, server });
      }
    }
  }

  #suspect(candidate: Candidate): void {
    if (this.#candidates.length < STRAYS_LOOKED_AT_MAX) this.#candidates.push(candidate);
    else this.#unlooked++;
  }

  /** Looks again, by the map of now. A server that does not answer ends the check. */
  async #judge(candidate: Candidate): Promise<void> {
    this.#goOn();
    const { key, db, group, server } = candidate;
    const map = this.#map();
    if (map !== this.#homesMap) this.#homes = new Homes((this.#homesMap = map));
    const homes = this.#homes as Homes;
    const home = homes.of(key);
    if (homes.fits(home, group) || !(await server.exists(db, key))) return;
    const primary = (map.groups.find((one) => one.id === home.group) as MapGroup).primary;
    const verdict = await this.#place(candidate, primary, home.to !== null);
    // It has gone meanwhile: expired, or moved by somebody else.
    if (verdict === null) return;
    this.#strays++;
    if (verdict.state === "moved") this.#moved++;
    const shown = showKey(key);
    const found = { ...verdict, home: home.group, slot: home.slot };
    if (this.#keys.length < STRAYS_SHOWN_MAX) {
      this.#keys.push({ key: encodeKey(key), shown, db, server: server.address, ...found });
    }
    if (verdict.state !== "moved") this.#count(candidate, found, shown);
  }

  async #place(
    { key, db, server }: Candidate,
    home: string,
    moving: boolean,
  ): Promise<Pick<Verdict, "state" | "detail"> | null> {
    const target = this.#serverAt(home);
    if (await target.exists(db, key)) return { state: "both", detail: `${home} has it as well` };
    if (!this.#fix) return { state: "alone", detail: `${home} does not have it` };
    if (moving) return { state: "failed", detail: "its slot is moving; try again when that is over" };
    const failure = await server.migrate(db, key, home);
    // What counts is where it is now: after an error it may be anywhere.
    const [here, there] = [await server.exists(db, key), await target.exists(db, key)];
    if (!here) return there ? { state: "moved", detail: "" } : null;
    if (there) return { state: "both", detail: `${home} has it as well` };
    return { state: "failed", detail: failure ?? "it is still there" };
  }

  #count({ group }: Candidate, { state, home, detail }: Verdict, shown: string): void {
    const kind = state === "both" ? "double" : "stray";
    const flow = `${group}→${home} ${kind}`;
    const known = this.#byFlow.get(flow);
    if (known !== undefined) known.count++;
    else this.#byFlow.set(flow, { kind, count: 1, example: `${shown} (${detail})` });
  }

  #tellStrays(): void {
    for (const [flow, { kind, count, example }] of this.#byFlow) {
      const [from, home] = flow.split(" ")[0].split("→");
      const what = kind === "double" ? "at home as well" : "nowhere else";
      const keys = count === 1 ? "1 key of group" : `${count} keys of group`;
      const text = `${keys} ${home} in group ${from}, and ${what}; the first: ${example}`;
      this.#problems.push({ kind, text });
    }
    if (this.#unlooked === 0) return;
    const text = `${this.#unlooked} more keys seemed astray, and were not looked at`;
    this.#problems.push({ kind: "stray", text });
  }

  async #checkProxies(): Promise<void> {
    const { env } = this.#parts;
    const deadlineMs = env.clock.nowMs() + MAP_WAIT_MS;
    let behind = this.#proxiesBehind();
    while (behind.length > 0 && env.clock.nowMs() < deadlineMs) {
      await new Promise<void>((resolve) => void env.timers.after(MAP_POLL_MS, resolve));
      this.#goOn();
      behind = this.#proxiesBehind();
    }
    this.#problems.push(...behind.map((text): CheckProblem => ({ kind: "map", text })));
  }

  #proxiesBehind(): string[] {
    const { version, term } = this.#map();
    return this.#parts.proxies.all().flatMap(({ id, state, report }) => {
      if (state === "lost") return [`proxy ${id} at ${report.addr} does not report; nobody knows its map`];
      if (state === "draining") return [];
      const its = report.map;
      if (its !== null && its.version === version && its.term === term) return [];
      const shown = its === null ? "no map" : `map version ${its.version} of term ${its.term}`;
      return [`proxy ${id} at ${report.addr} works by ${shown}, in force is ${version} of term ${term}`];
    });
  }

  #serverAt(address: string): KeyServer {
    let server = this.#servers.get(address);
    if (server === undefined) {
      server = new KeyServer(this.#parts.env, address, this.#parts.ask);
      this.#servers.set(address, server);
    }
    return server;
  }

  #map(): ClusterMap {
    return this.#parts.state.map as ClusterMap;
  }

  #goOn(): void {
    if (this.#stopped) throw new Error("the controller stops, or leads no more");
  }
}
