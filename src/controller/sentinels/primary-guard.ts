/**
 * Keeps a primary from copying a server that sentinels have promoted and we have not checked.
 *
 * A sentinel makes the old primary a replica of the new one by itself. Replicas sign in by the group's
 * password (failover/replication-logins.ts), which the new one knows only once its promotion is accepted; a
 * primary that has never been a replica would go there without any, be let in, and lose what it has. So
 * primaries are given the password as well, ahead of time.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import { type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { observationOf } from "../../topology/group-health.ts";
import { REPLICATION_USER } from "../failover/replication-logins.ts";
import type { Health } from "../health.ts";

/** Processes that may be long gone; then all are told again. */
const TOLD_MAX = 10_000;

export class PrimaryGuard {
  readonly #env: Pick<Env, "log">;
  readonly #health: Health;
  /** "addr run-id link" of primaries that have been told. */
  readonly #told = new Set<string>();

  constructor(env: Pick<Env, "log">, health: Health) {
    this.#env = env;
    this.#health = health;
  }

  async tell(group: TopologyGroup): Promise<void> {
    const { addr } = primaryOf(group);
    const seen = observationOf(this.#health.observations, addr);
    const server = this.#health.serverAt(addr);
    // Without a password the servers' logins are not ours to make, or have no users.
    if (server === null || seen.state !== "up" || seen.role !== "primary" || group.link === undefined) return;
    const key = `${addr} ${seen.runId} ${group.link}`;
    if (this.#told.has(key)) return;
    try {
      await server.configSet("masteruser", REPLICATION_USER);
      await server.configSet("masterauth", group.link);
      if (this.#told.size >= TOLD_MAX) this.#told.clear();
      this.#told.add(key);
    } catch (error) {
      this.#env.log.warn("primary-not-guarded", { server: addr, reason: errorTextOf(error) });
    }
  }
}
