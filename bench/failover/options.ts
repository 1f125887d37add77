/** The command line of `npm run bench:failover`. */
import { parseArgs } from "node:util";

export const SYSTEMS = ["shoal", "shoal-acks", "sentinel", "cluster"] as const;
export type SystemName = (typeof SYSTEMS)[number];

/**
 * What happens to the primary.
 *   kill      SIGKILL
 *   lag-kill  its packets to its replica are dropped for a moment, then SIGKILL: a link that lags when it
 *   happens
 *   split     it is cut off from its replicas and from those who watch it, while clients still reach it, and
 *   comes
 *             back after a while: what it has acknowledged meanwhile may be thrown away then
 */
export const INCIDENTS = ["kill", "lag-kill", "split"] as const;
export type Incident = (typeof INCIDENTS)[number];

export interface FailoverOptions {
  readonly output: "text" | "markdown" | "json";
  readonly systems: readonly SystemName[];
  /** Each with how often it happens to each system. */
  readonly incidents: ReadonlyArray<{ readonly incident: Incident; readonly times: number }>;
  /** How long the checker may run for one incident; it ends soon after clients are served again. */
  readonly seconds: number;
  /** How long the link lags before the kill, in milliseconds. */
  readonly lagMs: number;
  /** How long a split lasts. */
  readonly splitSeconds: number;
  /** After so long without an answer a server counts as down, in all systems. */
  readonly downAfterMs: number;
  readonly workers: number;
  readonly keys: number;
}

/** With four systems about half an hour. */
const INCIDENTS_DEFAULT = "kill,lag-kill=3,split=3";

const HELP = `npm run bench:failover -- [options]: primaries killed under load

  --systems LIST      ${SYSTEMS.join(",")} (all)
  --incidents LIST    of ${INCIDENTS.join(",")}, each =N for N times (${INCIDENTS_DEFAULT});
                      all but kill need root and network namespaces
  --kills N           how often, where the list does not say (20)
  --seconds N         load around each incident at most; it ends 3 s after a kill is over (40)
  --lag N             milliseconds that the replication link lags before lag-kill (300)
  --down-after N      milliseconds until a server counts as down, in all systems (3000)
  --workers N         clients (16)
  --markdown          print one Markdown table
  --json              print one JSON document
  --help              print this`;

/** Reads the command line. A text comes back instead when that is to be printed and nothing to be done. */
export function parseOptions(args: readonly string[]): FailoverOptions | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      systems: { type: "string", default: SYSTEMS.join(",") },
      incidents: { type: "string", default: INCIDENTS_DEFAULT },
      kills: { type: "string", default: "20" },
      seconds: { type: "string", default: "40" },
      lag: { type: "string", default: "300" },
      "down-after": { type: "string", default: "3000" },
      workers: { type: "string", default: "16" },
      markdown: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return HELP;
  const text = values.markdown ? "markdown" : "text";
  const workers = whole("--workers", values.workers);
  return {
    output: values.json ? "json" : text,
    systems: chosen("--systems", values.systems, SYSTEMS),
    incidents: values.incidents.split(",").map((word) => {
      const [name, times = values.kills] = word.split("=");
      const [incident] = chosen("--incidents", name, INCIDENTS);
      return { incident, times: whole(word === name ? "--kills" : "--incidents", times) };
    }),
    seconds: whole("--seconds", values.seconds),
    lagMs: whole("--lag", values.lag),
    splitSeconds: 10,
    downAfterMs: whole("--down-after", values["down-after"]),
    workers,
    keys: workers * 6,
  };
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`Cannot use ${option} ${text}: want a whole number above 0`);
}

function chosen<Name extends string>(option: string, text: string, known: readonly Name[]): Name[] {
  return text.split(",").map((word) => {
    const name = known.find((one) => one === word);
    if (name === undefined) throw new Error(`Cannot use ${option} ${text}: want some of ${known.join(", ")}`);
    return name;
  });
}
