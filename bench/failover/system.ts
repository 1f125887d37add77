/** What the benchmark asks of a system, and what it does with any. */
import type { Driver } from "../../src/verify/driver.ts";
import type { Tag } from "../../src/verify/key-slots.ts";
import type { Fleet, FleetServer } from "./fleet.ts";
import type { SystemName } from "./options.ts";

/** How long a system may take to be whole again. */
export const HEAL_MS_MAX = 60_000;

export interface System {
  readonly name: SystemName;
  readonly fleet: Fleet;
  /** The servers of the group that is hit; which is the primary changes. */
  readonly members: readonly FleetServer[];
  readonly driver: Driver;
  /** Whether a hash tag is in the group that is hit. */
  holds(tag: string): boolean;
  /** Waits until the system itself says that it is whole. */
  awaitWhole(): Promise<void>;
}

/** So many tags of the group that is hit. */
export function tagsOf(system: System, run: string, count: number): Tag[] {
  const tags: Tag[] = [];
  for (let i = 0; tags.length < count; i++) {
    if (system.holds(`${run}.${i}`)) tags.push({ tag: `${run}.${i}`, label: "hit" });
  }
  return tags;
}

/** The one of the pair that is the primary now. */
export async function primaryOf(system: System): Promise<FleetServer> {
  for (const server of system.members) {
    const role = await server.client.role().catch(() => null);
    if (role?.role === "primary" && role.replicas > 0) return server;
  }
  throw new Error(`${system.name}: no primary with a replica`);
}

export async function startServers(
  fleet: Fleet,
  count: number,
  args: readonly string[] = [],
): Promise<FleetServer[]> {
  const servers: FleetServer[] = [];
  for (let i = 0; i < count; i++) servers.push(await fleet.startServer(args));
  return servers;
}
