/**
 * What each slot of the cluster weighs: keys and bytes by a sample of every group's primary. All groups are
 * asked at once, a bounded number at a time.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import type { RedisEnv } from "../../redis/server-connection.ts";
import { type ClusterTopology, type TopologyGroup, primaryOf } from "../../topology/cluster-topology.ts";
import { type AskOptions, withServer } from "./ask-server.ts";
import { type KeySample, sampleKeys } from "./key-scan.ts";

export interface SlotLoads {
  /** By slot. */
  readonly keys: Float64Array;
  readonly bytes: Float64Array;
  /** Every key of every group was looked at. */
  readonly exact: boolean;
  readonly keysSampled: number;
  /** What could not be measured, a sentence each. */
  readonly notes: readonly string[];
}

/** Groups that are sampled at the same time. */
const SAMPLED_AT_ONCE_MAX = 16;

/** Keys in slots that their group does not own are not counted: nobody can reach them, no move takes them. */
export async function measureSlots(
  env: RedisEnv,
  options: AskOptions,
  topology: ClusterTopology,
): Promise<SlotLoads> {
  const keys = new Float64Array(topology.slots);
  const bytes = new Float64Array(topology.slots);
  const notes: string[] = [];
  let exact = true;
  let keysSampled = 0;
  const waiting = topology.groups.filter((group) =>
    topology.ranges.some((range) => range.group === group.id),
  );
  const measureOne = async (group: TopologyGroup): Promise<void> => {
    const { addr } = primaryOf(group);
    try {
      const sample = await withServer(env, options, addr, (server) => sampleKeys(server, topology.slots));
      addSample(topology, group, sample, keys, bytes);
      keysSampled += sample.keysSeen;
      exact &&= sample.complete;
    } catch (error) {
      exact = false;
      notes.push(`group ${group.id} is not measured: ${errorTextOf(error)}`);
    }
  };
  const lane = async (): Promise<void> => {
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) await measureOne(group);
  };
  await Promise.all(Array.from({ length: SAMPLED_AT_ONCE_MAX }, lane));
  return { keys, bytes, exact, keysSampled, notes };
}

/** A sample stands for all keys of its group. */
function addSample(
  topology: ClusterTopology,
  group: TopologyGroup,
  sample: KeySample,
  keys: Float64Array,
  bytes: Float64Array,
): void {
  const scale = sample.complete || sample.keysSeen === 0 ? 1 : sample.keysTotal / sample.keysSeen;
  for (const range of topology.ranges) {
    if (range.group !== group.id) continue;
    for (let slot = range.from; slot <= range.to; slot++) {
      keys[slot] += sample.keys[slot] * scale;
      bytes[slot] += sample.bytes[slot] * scale;
    }
  }
}
