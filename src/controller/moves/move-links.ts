/**
 * The connections of one run of a move: to the source, one that reads, one that moves, one that confirms,
 * one that probes; to each target, one that asks. All are the mover's user (mover-user.ts), and closed with
 * the run.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { RedisServer } from "../../redis/redis-server.ts";
import type { ServerConnectionOptions } from "../../redis/server-connection.ts";
import { parseAddress } from "../../topology/cluster-map.ts";
import type { MoveJob } from "../../topology/move-record.ts";
import { type MoveParts, primaryAddr } from "./move-parts.ts";
import { type MoverUser, claimServer } from "./mover-user.ts";

type Credentials = ServerConnectionOptions["credentials"];

/** One target of a move, and how the source is told to sign in there. */
export interface TargetLink {
  readonly group: string;
  readonly addr: string;
  readonly server: RedisServer;
  /** MIGRATE's words for where: host, port. */
  readonly where: readonly string[];
  /** MIGRATE's words for who. */
  readonly auth: readonly string[];
}

export class MoveLinks {
  readonly sourceAddr: string;
  readonly reader: RedisServer;
  readonly mover: RedisServer;
  readonly confirmer: RedisServer;
  readonly prober: RedisServer;
  readonly targets: ReadonlyMap<string, TargetLink>;
  readonly #parts: MoveParts;
  readonly #job: MoveJob;
  readonly #user: MoverUser;

  private constructor(
    parts: MoveParts,
    job: MoveJob,
    user: MoverUser,
    sourceAddr: string,
    credentials: Credentials,
    targets: ReadonlyMap<string, TargetLink>,
  ) {
    this.#parts = parts;
    this.#job = job;
    this.#user = user;
    this.sourceAddr = sourceAddr;
    this.targets = targets;
    this.reader = connect(parts, sourceAddr, credentials);
    this.mover = connect(parts, sourceAddr, credentials);
    this.confirmer = connect(parts, sourceAddr, credentials);
    this.prober = connect(parts, sourceAddr, credentials);
  }

  /**
   * Claims the primaries of the job's groups for this leader, then connects.
   * @throws ShoalError NOT_LEADER, STALE, or what the servers say
   */
  static async open(parts: MoveParts, job: MoveJob, user: MoverUser): Promise<MoveLinks> {
    // The claim fences earlier leaders, so whoever makes it has to be the one of now.
    await parts.state.confirmLeading();
    const sourceAddr = primaryAddr(parts, job.source);
    const credentials = await claim(parts, sourceAddr, user);
    const targets = new Map<string, TargetLink>();
    for (const group of new Set(job.spans.map((span) => span.target))) {
      const addr = primaryAddr(parts, group);
      const own = await claim(parts, addr, user);
      const { host, port } = parseAddress(addr);
      const server = connect(parts, addr, own);
      targets.set(group, { group, addr, server, where: [host, String(port)], auth: authWords(own) });
    }
    return new MoveLinks(parts, job, user, sourceAddr, credentials, targets);
  }

  /** A failover has made some other server the primary: the run begins anew with that one. */
  get outdated(): boolean {
    if (primaryAddr(this.#parts, this.#job.source) !== this.sourceAddr) return true;
    return [...this.targets.values()].some(({ group, addr }) => primaryAddr(this.#parts, group) !== addr);
  }

  /**
   * After a MIGRATE that ended in the middle: what it has sent and the target has not read yet must not be
   * read after the repetition, when the key may have been deleted there.
   */
  async dropHalfSent(target: TargetLink): Promise<void> {
    const server = this.#parts.health.serverAt(target.addr);
    if (target.auth[0] !== "AUTH2" || server === null) return;
    await server.clientKillUser(this.#user.user);
  }

  close(): void {
    for (const server of [this.reader, this.mover, this.confirmer, this.prober]) server.close();
    for (const { server } of this.targets.values()) server.close();
  }
}

async function claim(parts: MoveParts, addr: string, user: MoverUser): Promise<Credentials> {
  const server = parts.health.serverAt(addr);
  if (server === null) throw new ShoalError("NOT_FOUND", `Cannot move keys at ${addr}: no server of ours`);
  return (await claimServer(server, user)) ? user : parts.options.credentials;
}

function connect(parts: MoveParts, addr: string, credentials: Credentials): RedisServer {
  const timeoutMs = parts.options.serverTimeoutMs;
  return new RedisServer(parts.env, {
    address: addr,
    credentials,
    connectTimeoutMs: timeoutMs,
    commandTimeoutMs: timeoutMs,
  });
}

function authWords(credentials: Credentials): readonly string[] {
  if (credentials === null) return [];
  const { user, password } = credentials;
  return user === null ? ["AUTH", password] : ["AUTH2", user, password];
}
