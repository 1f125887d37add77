/**
 * Whether a primary counts as dead, and whether anything may be done about it automatically. Pure.
 *
 * Observers are the controllers that are alive and the proxies that serve. One that has nothing to say about
 * a server is not asked; one that is silent although it should speak counts against it.
 *
 *   observers ──▶ by machine ──▶ one voice each: down, when most of those that speak there say so
 *            └── all on one machine ──▶ each is a voice: there is no network that they could disagree about
 *
 * A machine that is cut off or dies takes all its observers with it. Counted one by one they would keep a
 * primary that died with them, or outvote everybody else; as one voice they do neither.
 */

/** What one observer says of one server. */
export interface Vote {
  /** "c1", "p2". */
  readonly observer: string;
  readonly kind: "controller" | "proxy";
  /** Where it runs; any text that is the same for all on one machine. */
  readonly machine: string;
  readonly view: "up" | "down" | "silent";
}

export interface Agreement {
  readonly agreed: boolean;
  readonly down: number;
  /** How many would be needed. */
  readonly needed: number;
  /** Machines, or observers where all stand on one. */
  readonly voices: number;
  /** What was counted. */
  readonly counted: "machines" | "observers";
}

/** `quorum` 0: the majority. */
export function agreeOnDown(votes: readonly Vote[], quorum: number): Agreement {
  const { views, counted } = voicesOf(votes);
  const voices = views.length;
  const down = views.filter((view) => view === "down").length;
  const needed = Math.max(1, quorum === 0 ? Math.floor(voices / 2) + 1 : quorum);
  return { agreed: down >= needed, down, needed, voices, counted };
}

/**
 * Whether at least half of the proxies' voices that have a view reach the server. A minority that does is on
 * the wrong side of a partition: going on without them is what a failover is for.
 */
export function proxiesReach(votes: readonly Vote[]): boolean {
  const { views } = voicesOf(votes.filter((vote) => vote.kind === "proxy"));
  const spoken = views.filter((view) => view !== "silent");
  const up = spoken.filter((view) => view === "up").length;
  return spoken.length > 0 && up * 2 >= spoken.length;
}

function voicesOf(votes: readonly Vote[]): Pick<Agreement, "counted"> & { readonly views: Vote["view"][] } {
  const byMachine = new Map<string, Vote["view"][]>();
  for (const { machine, view } of votes) byMachine.set(machine, [...(byMachine.get(machine) ?? []), view]);
  if (byMachine.size < 2) return { views: votes.map(({ view }) => view), counted: "observers" };
  return { views: [...byMachine.values()].map(voiceOf), counted: "machines" };
}

/** Who is silent on a machine where others speak has died alone: its machine is heard all the same. */
function voiceOf(views: readonly Vote["view"][]): Vote["view"] {
  const down = views.filter((view) => view === "down").length;
  const up = views.filter((view) => view === "up").length;
  if (down + up === 0) return "silent";
  return down > up ? "down" : "up";
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
