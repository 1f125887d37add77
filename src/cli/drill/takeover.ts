/** Whether, and how fast, another server took over the group that was hit. */
import { fetchStatus, type ControllerTarget } from "../../contract/client.ts";
import type { HttpClient } from "../../env/http.ts";
import { pause } from "../up/poll.ts";
import type { Victim } from "./victim.ts";

/** How often the controller is asked. */
const LOOK_MS = 100;

export interface Takeover {
  /** The new primary's address. */
  readonly to: string;
  /** Milliseconds from the harm until the controller's map named it. */
  readonly afterMs: number;
}

export interface TakeoverWatch {
  /** What was seen so far; null: nobody took over. */
  readonly seen: Takeover | null;
  stop(): void;
}

/** Watches from now on; of a drill that hits no group nothing is ever seen. */
export function watchTakeover(http: HttpClient, target: ControllerTarget, victim: Victim): TakeoverWatch {
  const fromMs = performance.now();
  const watch = { seen: null as Takeover | null, stopped: false, stop: () => void (watch.stopped = true) };
  const look = async (): Promise<void> => {
    const { groups } = await fetchStatus(http, target);
    const primary = groups.find((group) => group.id === victim.group)?.primary.addr;
    if (primary === undefined || primary === victim.part.address) return;
    watch.seen = { to: primary, afterMs: Math.round(performance.now() - fromMs) };
  };
  const work = async (): Promise<void> => {
    while (!watch.stopped && watch.seen === null) {
      // A controller that does not answer for a moment is asked again.
      await look().catch(() => {});
      await pause(LOOK_MS);
    }
  };
  if (victim.group !== null) void work();
  return watch;
}

/** One sentence; empty for a drill that hits no group. */
export function takeoverText(victim: Victim, takeover: Takeover | null): string {
  if (victim.group === null) return "";
  if (takeover === null) return `Nobody took over ${victim.group}.`;
  return `${takeover.to} took over ${victim.group} after ${takeover.afterMs} ms.`;
}
