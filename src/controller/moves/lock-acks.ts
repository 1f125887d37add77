/**
 * Who has to acknowledge a lock, and what is done about those who don't.
 *
 *   has a login or reports ──acknowledged a version ≥ the lock's──▶ acked
 *                            │ silent, its lease is running ───────▶ waited for: it may be serving
 *                            │ lease over, has a login ────────────▶ fenced at source and targets: as acked
 *                            └ lease over, no login of its own ────▶ it can't be shut out: a person is asked
 *
 * Whoever could write to the source counts, not whoever is known to be alive: a leader that has just begun
 * knows of nobody alive, so for it every login's lease begins with its term.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import { loginOf } from "../../topology/login-changes.ts";
import { type MoveParts, topologyOf } from "./move-parts.ts";

export interface Holders {
  /** Alive, or not yet known not to be; they have not acknowledged. */
  readonly waiting: readonly string[];
  /** Lease over: to be fenced. */
  readonly lost: readonly string[];
  /** Lease over, and they can't be fenced. */
  readonly stuck: readonly string[];
}

/**
 * Silent for so long, a proxy is better waited for before a lock than during it; proxies report each second.
 */
const SILENT_MS = 2500;
const LOOK_PERIOD_MS = 100;

/** How all those stand who could write to a source and have not acknowledged `version`. */
export function holdersOf(parts: MoveParts, version: number, ledForMs: number): Holders {
  const { proxies } = parts;
  const topology = topologyOf(parts);
  const reports = new Map(proxies.all().map((proxy) => [proxy.id, proxy.report]));
  const ids = new Set([...reports.keys(), ...(topology.logins ?? []).map(({ proxy }) => proxy)]);
  const holders = { waiting: [] as string[], lost: [] as string[], stuck: [] as string[] };
  for (const id of ids) {
    const report = reports.get(id);
    const login = loginOf(topology, id);
    // Who reports and has none in use signs in as everybody else does, whatever is stored.
    const canBeFenced = login !== undefined && (report === undefined || (report.login ?? null) !== null);
    if (canBeFenced && login.fencedVersion !== undefined) {
      holders.lost.push(id);
      continue;
    }
    if (report?.map != null && report.map.version >= version) continue;
    const silentMs = proxies.silentMs(id) ?? ledForMs;
    if (silentMs <= proxies.leaseMs) holders.waiting.push(id);
    else if (canBeFenced) holders.lost.push(id);
    else holders.stuck.push(id);
  }
  return holders;
}

/** Those that would not acknowledge a lock now, because they say nothing. */
export function silentHolders(parts: MoveParts, ledForMs: number): string[] {
  const { waiting } = holdersOf(parts, Number.POSITIVE_INFINITY, ledForMs);
  return waiting.filter((id) => (parts.proxies.silentMs(id) ?? ledForMs) > SILENT_MS);
}

/**
 * Shuts a proxy out of all servers that a move is about: of the source, which it may take for the slots'
 * home, and of the targets too, which it may take for the source of an earlier move that it was about to
 * pull a key from.
 * False: there is no need, it has come back.
 */
export async function fenceAt(parts: MoveParts, proxy: string, addrs: readonly string[]): Promise<boolean> {
  for (const addr of addrs) {
    const login = loginOf(topologyOf(parts), proxy);
    const silentMs = parts.proxies.silentMs(proxy) ?? Number.POSITIVE_INFINITY;
    // It has come back, and been let in, since it was looked at: it is one of those that are waited for.
    if (login?.fencedVersion === undefined && silentMs <= parts.proxies.leaseMs) return false;
    await parts.logins.fence(proxy, addr);
  }
  return true;
}

/** Why a lock can't hold while `stuck` is silent, for a person. */
export function stuckText(stuck: readonly string[]): string {
  return (
    `proxy ${stuck.join(", ")} is silent and has no login of its own, so it can't be fenced: ` +
    "make sure that it is dead, then `shoal proxy forget ID`"
  );
}

/**
 * Fences the lost at `addrs`, then waits until nobody is waited for any more, but no longer than
 * `timeoutMs`. Null: all have acknowledged `version`. A text: who has not, and why.
 */
export async function awaitAcks(
  parts: MoveParts,
  version: number,
  addrs: readonly string[],
  ledForMs: () => number,
  timeoutMs: number,
): Promise<string | null> {
  const { clock } = parts.env;
  const deadlineMs = clock.nowMs() + timeoutMs;
  const fenced = new Set<string>();
  for (;;) {
    const { waiting, lost, stuck } = holdersOf(parts, version, ledForMs());
    const problem = await fenceAll(parts, lost, addrs, fenced);
    if (waiting.length === 0 && stuck.length === 0 && lost.every((id) => fenced.has(id))) return null;
    const leftMs = deadlineMs - clock.nowMs();
    if (leftMs > 0) {
      await nextReport(parts, Math.min(leftMs, LOOK_PERIOD_MS));
      continue;
    }
    if (stuck.length > 0) return stuckText(stuck);
    return (
      problem ?? `proxy ${waiting.join(", ")} has not acknowledged version ${version} in ${timeoutMs} ms`
    );
  }
}

/** Adds those that it has fenced to `fenced`; why that did not work for another, or null, comes back. */
async function fenceAll(
  parts: MoveParts,
  lost: readonly string[],
  addrs: readonly string[],
  fenced: Set<string>,
): Promise<string | null> {
  let problem: string | null = null;
  for (const id of lost) {
    if (fenced.has(id)) continue;
    try {
      if (await fenceAt(parts, id, addrs)) fenced.add(id);
    } catch (error) {
      problem = `proxy ${id} is silent and could not be fenced: ${errorTextOf(error)}`;
    }
  }
  return problem;
}

/** A lease may run out without a report, so it is also looked at after a while. */
function nextReport(parts: MoveParts, withinMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = parts.env.timers.after(withinMs, done);
    const unsubscribe = parts.proxies.onReport(done);
    function done(): void {
      timer.cancel();
      unsubscribe();
      resolve();
    }
  });
}
