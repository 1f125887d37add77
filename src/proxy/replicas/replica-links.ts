/** The connections over which replicas are read: one for each server, database and protocol. */
import type { Protocol } from "../../resp/reply-writer.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { SampledServer } from "./offset-sampler.ts";
import { ReplicaLink } from "./replica-link.ts";

export class ReplicaLinks {
  readonly #plane: DataPlane;
  readonly #links = new Map<string, ReplicaLink>();
  readonly #onLost: (group: string, address: string) => void;

  /** `onLost` is called for each of them that breaks. */
  constructor(plane: DataPlane, onLost: (group: string, address: string) => void) {
    this.#plane = plane;
    this.#onLost = onLost;
  }

  to(session: Session, server: SampledServer): ReplicaLink {
    const { database, protocol } = session.lane;
    const key = linkKey(server.address, database, protocol);
    let link = this.#links.get(key);
    if (link === undefined) {
      const { target } = server.link;
      const lost = (): void => this.#onLost(target.group, target.address);
      link = new ReplicaLink(this.#plane, { ...target, database, protocol }, lost);
      this.#links.set(key, link);
    }
    return link;
  }

  /** Those to servers that are no replicas any more end when they owe nothing. */
  dropOld(map: ClusterMap): void {
    const replicas = new Set(map.groups.flatMap((group) => group.replicas));
    for (const [key, link] of this.#links) {
      if (replicas.has(link.target.address) && link.state !== "closed") continue;
      link.retire();
      this.#links.delete(key);
    }
  }

  check(elapsedMs: number): void {
    for (const link of this.#links.values()) link.checkProgress(elapsedMs);
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
  }
}

function linkKey(address: string, database: number, protocol: Protocol): string {
  return `${address}/${database}/${protocol}`;
}
