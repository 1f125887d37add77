/**
 * One worker's data plane: everything that sessions and upstreams share, and the way in for the outside.
 *
 *   applyMap ─▶ slots        listen ─▶ clients ─▶ sessions ─▶ dispatcher / upstreams        drain, stop
 *
 * Handed to each part instead of globals, so that several data planes can live in one process (simulation).
 */
import type { Block } from "../base/block-pool.ts";
import type { Command } from "../commands/command.ts";
import { COMMANDS } from "../commands/command-lookup.ts";
import type { Env } from "../env/env.ts";
import { InlineRequest } from "../resp/inline-request.ts";
import { RequestScanner } from "../resp/request-scanner.ts";
import { errorReply } from "../resp/reply-writer.ts";
import type { ClusterMap } from "../topology/cluster-map.ts";
import { Acks } from "./acks/acks.ts";
import { Counters } from "./counters.ts";
import { learnServerVersion } from "./dispatch/info-command.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import { FunctionRepair } from "./dispatch/function-repair.ts";
import { Monitors } from "./dispatch/monitor.ts";
import { Pause } from "./dispatch/pause.ts";
import { ScriptRegistry } from "./dispatch/script-registry.ts";
import { WriteStop } from "./dispatch/write-stop.ts";
import { Clients } from "./downstream/clients.ts";
import type { Session } from "./downstream/session.ts";
import { Holding } from "./holding/holding.ts";
import type { Peers } from "./peers.ts";
import type { ProxyConfig } from "./proxy-config.ts";
import { PubSubHub } from "./pubsub/pubsub-hub.ts";
import type { Credentials } from "./moving/migrate-words.ts";
import { Moving } from "./moving/moving.ts";
import { KIND_MUTED, KIND_OWNED, type Request, RequestPool } from "./request.ts";
import { ReplicaReads } from "./replicas/replica-reads.ts";
import { SlotTable } from "./slots/slot-table.ts";
import { TrackingHub } from "./tracking/tracking-hub.ts";
import { Users } from "./users/users.ts";
import { PrivatePool } from "./upstream/private-pool.ts";
import { ServerSights } from "./upstream/server-sights.ts";

/** How often servers that owe replies are looked at. */
const PROGRESS_CHECK_MS = 50;
/** Looks at servers, in such checks: what controllers are told of. */
const SIGHT_CHECKS = 4;
/** Commands that were learned while running get ids from here on, up to this many. */
const LEARNED_COMMANDS_MAX = 1024;

export interface DataPlaneHooks {
  /** The map is in force and everything that it replaced has ended. */
  onMapSettled(map: ClusterMap): void;
}

export interface WorkerIdentity {
  readonly pid: number;
  /** Which worker of the proxy this is, from 0. */
  readonly worker: number;
  readonly version: string;
}

export class DataPlane {
  readonly env: Env;
  readonly config: ProxyConfig;
  readonly identity: WorkerIdentity;
  readonly peers: Peers;
  readonly requests: RequestPool;
  readonly inline: InlineRequest;
  readonly slots: SlotTable;
  readonly dispatcher: Dispatcher;
  readonly privates: PrivatePool;
  readonly holding: Holding;
  readonly acks = new Acks(this);
  readonly sights = new ServerSights(this);
  readonly clients: Clients;
  readonly users: Users;
  readonly pubsub: PubSubHub;
  readonly scripts = new ScriptRegistry();
  readonly functions = new FunctionRepair(this);
  readonly monitors = new Monitors(this);
  readonly pause = new Pause(this);
  readonly writeStop = new WriteStop(this);
  readonly tracking = new TrackingHub(this);
  readonly moving = new Moving(this);
  readonly replicas = new ReplicaReads(this);
  readonly counters = new Counters();
  /** Calls per command, by id. */
  readonly calls = new Float64Array(COMMANDS.length + LEARNED_COMMANDS_MAX);
  /** Whole seconds since the start: the clock of things that need not be exact. */
  tick = 0;
  /** Upstreams whose server is kept by a script, as far as is known. */
  busyUpstreams = 0;
  /** What HELLO says: clients take it for the server's. */
  serverVersion = "7.0.0";
  /** The scanner of all requests that arrive in one piece. */
  scanner = new RequestScanner();
  readonly #spareScanners: RequestScanner[] = [];
  #adoptable: Block | null = null;
  #adoptableEnd = 0;
  #checks = 0;
  #versionLearned = false;

  constructor(env: Env, config: ProxyConfig, identity: WorkerIdentity, peers: Peers, hooks: DataPlaneHooks) {
    this.env = env;
    this.config = config;
    this.identity = identity;
    this.peers = peers;
    this.requests = new RequestPool(env.net.blocks, env.net.work);
    this.inline = new InlineRequest((size) => env.net.blocks.take(size).bytes);
    this.slots = new SlotTable(this, (map) => hooks.onMapSettled(map));
    this.privates = new PrivatePool(this);
    this.holding = new Holding(this);
    this.pubsub = new PubSubHub(this);
    this.users = new Users(this);
    this.clients = new Clients(this);
    this.dispatcher = new Dispatcher(this);
    env.timers.every(PROGRESS_CHECK_MS, () => this.#check());
  }

  /** Puts a map in force. @throws ShoalError STALE, INVALID_ARGUMENT */
  applyMap(map: ClusterMap): void {
    this.slots.apply(map);
    this.holding.applyMap(map);
    this.replicas.applyMap(map);
    this.writeStop.update();
    this.pubsub.applyMap();
    this.monitors.mapChanged();
    this.tracking.mapChanged();
    if (this.#versionLearned) return;
    learnServerVersion(this, (version) => {
      this.#versionLearned = true;
      this.serverVersion = version;
    });
  }

  /**
   * Takes clients from now on, where the configuration says: the first address comes back. A map must be in
   * force.
   * @throws ShoalError ADDRESS_IN_USE, CONFIG
   */
  listen(): string {
    return this.clients.listen();
  }

  /** Ends all: clients are cut, servers are left. */
  stop(): void {
    this.clients.closeAll("the proxy stops");
    this.pubsub.close();
    this.privates.closeAll();
    this.replicas.close();
    this.monitors.closeAll();
    this.slots.close();
  }

  sessionClosed(session: Session, reason: string): void {
    if (session.monitoring) this.monitors.remove(session);
    this.clients.closed(session, reason);
  }

  /** What this proxy shows to the redis-servers; null: nothing. */
  get serverCredentials(): Credentials | null {
    const { server_username: user, server_password: password } = this.config;
    return password === "" ? null : { user, password };
  }

  /** Counts a call. On the hot path. */
  count(command: Command, session: Session): void {
    this.calls[command.id]++;
    session.info.lastCommand = command;
  }

  /** The call was not taken: it will be counted again. Always false. */
  uncount(command: Command): false {
    this.calls[command.id]--;
    return false;
  }

  /** A request will get no reply from its server. `text`: the error, without "-" and line end. */
  failRequest(request: Request, text: string): void {
    this.counters.failedRequests++;
    const { session, owner, kind } = request;
    if (kind === KIND_OWNED) {
      if (owner !== null) owner.onFailure(request, text);
      this.requests.give(request);
    } else if (session === null) this.requests.give(request);
    else if (kind === KIND_MUTED) session.completeMuted(request);
    else session.complete(request, errorReply(text));
  }

  /** Calls of all commands. */
  get requestCount(): number {
    return this.calls.reduce((sum, count) => sum + count, 0);
  }

  /** What this worker has counted, as plain numbers. */
  stats(): Readonly<Record<string, number>> {
    const requests = this.requestCount;
    const held = this.holding.clients + this.moving.parkedCount;
    return { ...this.counters, requests, clients: this.clients.count, held, inFlight: this.requests.inUse };
  }

  /** SCRIPT FLUSH: what was shown to servers is shown again when it is needed. */
  forgetScripts(): void {
    this.scripts.clear();
    this.slots.forEachUpstream((upstream) => upstream.scripts.clear());
  }

  // ── scanners and blocks that change hands ───────────────────────────────────────────────────────────────

  /** The scanner in use goes to one long request; another takes its place. */
  lendScanner(scanner: RequestScanner): RequestScanner {
    this.scanner = this.#spareScanners.pop() ?? new RequestScanner();
    return scanner;
  }

  returnScanner(scanner: RequestScanner): void {
    scanner.shrink();
    this.#spareScanners.push(scanner);
  }

  /** The requests that are run next come from `block`; one that ends at `end` may take it over. */
  offerAdoptable(block: Block, end: number): void {
    this.#adoptable = block;
    this.#adoptableEnd = end;
  }

  /** The block behind `bytes`, if a request that ends at `end` may take it over. */
  takeAdoptable(bytes: Uint8Array, end: number): Block | null {
    const block = this.#adoptable;
    if (block === null || block.bytes !== bytes || end !== this.#adoptableEnd) return null;
    this.#adoptable = null;
    return block;
  }

  /** Whether `block` was taken over; ends the offer. */
  adopted(block: Block): boolean {
    const taken = this.#adoptable !== block;
    this.#adoptable = null;
    return taken;
  }

  #check(): void {
    this.slots.forEachUpstream((upstream) => upstream.checkProgress(PROGRESS_CHECK_MS));
    this.privates.forEach((upstream) => upstream.checkProgress(PROGRESS_CHECK_MS));
    this.pubsub.check(PROGRESS_CHECK_MS);
    this.holding.check();
    this.replicas.check(PROGRESS_CHECK_MS);
    if (++this.#checks % SIGHT_CHECKS === 0) this.sights.look();
    if (this.#checks % (1000 / PROGRESS_CHECK_MS) !== 0) return;
    this.tick++;
    this.sights.ping();
    this.clients.closeIdle();
  }
}
