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
  readonly incidents: readonly Incident[];
  /** Kills of each system, for each incident. */
  readonly kills: number;
  /** How long the checker runs for one kill; the kill comes after `quietSeconds`. */
  readonly seconds: number;
  readonly quietSeconds: number;
  /** How long the link lags before the kill, in milliseconds. */
  readonly lagMs: number;
  /** How long a split lasts, and how long clients go on after it. */
  readonly splitSeconds: number;
  readonly healSeconds: number;
  /** After so long without an answer a server counts as down, in all systems. */
  readonly downAfterMs: number;
  readonly workers: number;
  readonly keys: number;
}

const HELP = `npm run bench:failover -- [options]: primaries killed under load

  --systems LIST      ${SYSTEMS.join(",")} (all)
  --incidents LIST    ${INCIDENTS.join(",")} (all; but for kill, root and network namespaces)
  --kills N           kills of each system and incident (20)
  --seconds N         load around each kill (14)
  --lag N             milliseconds that the replication link lags before lag-kill (300)
  --down-after N      milliseconds until a server counts as down, in all systems (3000)
  --workers N         clients (16)
  --markdown          print Markdown tables
  --json              print one JSON document
  --help              print this`;

/** Reads the command line. A text comes back instead when that is to be printed and nothing to be done. */
export function parseOptions(args: readonly string[]): FailoverOptions | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      systems: { type: "string", default: SYSTEMS.join(",") },
      incidents: { type: "string", default: INCIDENTS.join(",") },
      kills: { type: "string", default: "20" },
      seconds: { type: "string", default: "14" },
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
    incidents: chosen("--incidents", values.incidents, INCIDENTS),
    kills: whole("--kills", values.kills),
    seconds: whole("--seconds", values.seconds),
    quietSeconds: 2,
    lagMs: whole("--lag", values.lag),
    splitSeconds: 10,
    healSeconds: 16,
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
