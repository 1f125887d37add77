import type { UserRecord } from "./users/user-record.ts";

/**
 * The other workers of the same proxy, as far as a client must not notice that there are several: CLIENT
 * LIST shows all clients of the proxy, CLIENT KILL finds each.
 */
export type PeerQuestion =
  | { readonly kind: "users"; readonly records: readonly UserRecord[] }
  | { readonly kind: "acl-log"; readonly count: number; readonly reset: boolean }
  | { readonly kind: "client-list"; readonly type?: string; readonly ids?: readonly string[] }
  | { readonly kind: "client-counts" }
  | { readonly kind: "subscribers"; readonly shard: boolean; readonly channels: readonly string[] }
  | { readonly kind: "client-unblock"; readonly id: number; readonly error: boolean }
  | { readonly kind: "invalidate"; readonly id: number; readonly keys: readonly string[] | null }
  | { readonly kind: "tracked-keys"; readonly max: number }
  | { readonly kind: "client-pause"; readonly order: { readonly ms: number; readonly writesOnly: boolean } }
  | { readonly kind: "client-kill"; readonly filter: Readonly<Record<string, string | boolean>> };

export interface Peers {
  /** Whether there are any. */
  readonly any: boolean;
  /**
   * What each of them answers: strings for client-list, numbers for client-kill, a record of numbers for
   * client-counts. Those that don't in time are left out.
   */
  ask(question: PeerQuestion): Promise<readonly unknown[]>;
}

/** For a proxy of one worker. */
export const NO_PEERS: Peers = { any: false, ask: () => Promise.resolve([]) };
