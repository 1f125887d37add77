/**
 * The other workers of the same proxy, as far as a client must not notice that there are several: CLIENT
 * LIST shows all clients of the proxy, CLIENT KILL finds each.
 */
export type PeerQuestion =
  | { readonly kind: "client-list" }
  | { readonly kind: "client-kill"; readonly filter: Readonly<Record<string, string | boolean>> };

export interface Peers {
  /** Whether there are any. */
  readonly any: boolean;
  /**
   * What each of them answers: strings for client-list, numbers for client-kill. Those that don't in time
   * are left out.
   */
  ask(question: PeerQuestion): Promise<readonly unknown[]>;
}

/** For a proxy of one worker. */
export const NO_PEERS: Peers = { any: false, ask: () => Promise.resolve([]) };
