/**
 * How safe a moved key must be before it counts as moved, by the cluster's option `acks`.
 *
 * A key that has just arrived is on one server only, and a deletion at the source that no replica has seen
 * comes back to life when the source fails over (loss-modes L8b). With `acks: replica` both are waited for.
 * The strictest rule counts for every key: the rules go by name, and one MIGRATE carries many names.
 */
import type { AckNeed } from "../../topology/acks-rule.ts";
import { requestOf } from "../dispatch/ask-groups.ts";

export interface AckWish {
  /** WAIT, encoded. */
  readonly request: string;
  /** What is missing by WAIT's reply, ":n"; null when enough replicas have it. */
  missing(reply: string): string | null;
}

/** `need`: the strictest of all rules. Null: nothing waits for replicas. */
export function ackWish(need: AckNeed | null): AckWish | null {
  if (need === null) return null;
  const { replicas, timeoutMs } = need;
  return {
    request: requestOf("WAIT", String(replicas), String(timeoutMs)),
    missing: (reply) => {
      const have = reply.startsWith(":") ? Number(reply.slice(1)) : 0;
      return have >= replicas ? null : `NOREPLICAS ${have} of ${replicas} replicas have the key`;
    },
  };
}
