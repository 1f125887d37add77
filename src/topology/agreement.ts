/**
 * Whether a primary counts as dead, and whether anything may be done about it automatically. Pure.
 *
 * Observers are the controllers that are alive and the proxies that serve. One that has nothing to say about
 * a server is not asked; one that is silent although it should speak counts against it. Observers on one
 * machine count one by one: they see processes die all the same, but a machine that is cut off takes all of
 * them with it, so put controllers and proxies on several.
 */

/** What one observer says of one server. */
export interface Vote {
  /** "c1", "p2". */
  readonly observer: string;
  readonly kind: "controller" | "proxy";
  readonly view: "up" | "down" | "silent";
}

export interface Agreement {
  readonly agreed: boolean;
  readonly down: number;
  /** How many would be needed. */
  readonly needed: number;
  readonly observers: number;
}

/** `quorum` 0: the majority. */
export function agreeOnDown(votes: readonly Vote[], quorum: number): Agreement {
  const observers = votes.length;
  const down = votes.filter((vote) => vote.view === "down").length;
  const needed = Math.max(1, quorum === 0 ? Math.floor(observers / 2) + 1 : quorum);
  return { agreed: down >= needed, down, needed, observers };
}

/**
 * Whether at least half of the proxies that have a view reach the server. A minority that does is on the
 * wrong side of a partition: going on without them is what a failover is for.
 */
export function proxiesReach(votes: readonly Vote[]): boolean {
  const proxies = votes.filter((vote) => vote.kind === "proxy" && vote.view !== "silent");
  const up = proxies.filter((vote) => vote.view === "up").length;
  return proxies.length > 0 && up * 2 >= proxies.length;
}

export interface FleetView {
  readonly groups: number;
  /** Groups whose primary does not answer, whether or not for long enough. */
  readonly silentGroups: number;
  /** So many may be so at once; 0: half of them, and no bound below three groups. */
  readonly safeModeGroups: number;
  readonly proxiesServing: number;
  readonly proxiesLost: number;
}

/** Why nobody is promoted automatically, whichever group it is about; each with what to do. */
export function safeModeReasons(view: FleetView): string[] {
  const reasons: string[] = [];
  const { groups, silentGroups, proxiesServing, proxiesLost } = view;
  const bound = view.safeModeGroups > 0 ? view.safeModeGroups : groups < 3 ? groups : Math.floor(groups / 2);
  if (silentGroups > bound) {
    reasons.push(
      `${silentGroups} of ${groups} groups do not answer at once (bound: ${bound}): ` +
        "look at this controller's network first; `shoal failover GROUP --force` promotes all the same",
    );
  }
  if (proxiesLost > 0 && proxiesLost > proxiesServing) {
    reasons.push(
      `${proxiesLost} of ${proxiesLost + proxiesServing} proxies are lost, so this controller may be the ` +
        "one that is cut off: bring them back, or use `shoal failover GROUP --force`",
    );
  }
  return reasons;
}
