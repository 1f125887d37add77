/** What the commands of the Sentinel face know of their client, and whom they ask. */
import type { Protocol } from "../../resp/reply-writer.ts";
import type { SentinelMaster } from "./sentinel-master.ts";
import type { SentinelPeer } from "./sentinel-peers.ts";
import type { InstanceSettings } from "./sentinel-replies.ts";

/** One client, as commands change it. */
export interface SentinelClient {
  readonly id: number;
  /** Where it comes from; decides which proxy it is sent to. */
  readonly host: string;
  readonly channels: Set<string>;
  readonly patterns: Set<string>;
  protocol: Protocol;
  name: string;
  signedIn: boolean;
  /** It is closed when its reply has been sent. */
  closing: boolean;
}

/** Whether a failover could be decided, for CKQUORUM. */
export interface QuorumView {
  /** Controllers and proxies that are alive. */
  readonly usable: number;
  readonly needed: number;
  /** What else stands in the way, in words; null: nothing. */
  readonly obstacle: string | null;
}

export interface SentinelDesk {
  /** Empty: none is asked for. */
  readonly password: string;
  /** 40 hexadecimal digits. */
  readonly runId: string;
  readonly pid: number;
  readonly port: number;
  /** Of Shoal. */
  readonly version: string;
  /** The Redis whose Sentinel this answers like. */
  readonly redisVersion: string;
  /** Connections there are. */
  readonly clients: number;
  masters(clientHost: string): readonly SentinelMaster[];
  peers(): readonly SentinelPeer[];
  settings(): InstanceSettings;
  quorum(): QuorumView;
}
