/**
 * The comparison: every round measures every target at every point, right after one another, in an order that
 * rotates, and gives one ratio per point. A disturbance that lasts longer than a few seconds hits both sides
 * of a ratio; a shorter one is an outlier that the median passes over. Every other round goes through the
 * points backwards, so that none is measured always after the same one.
 */
import { meanOf, measure, type Point, type Sample } from "./load.ts";
import type { Progress } from "./progress.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import type { Target, TargetName } from "./targets.ts";

/** Rates in 1/s, latencies in ms, CPU in µs per request. */
export type SampleSpread = { readonly [Key in keyof Sample]: Spread };

/** One point, over all rounds. */
export interface Row {
  readonly point: Point;
  /** Requests of one load; at pipeline 1 a sample has several. */
  readonly requests: number;
  readonly targets: Readonly<Partial<Record<TargetName, SampleSpread>>>;
  /** The first target's value divided by that of the named one, round by round. */
  readonly ratios: Readonly<Partial<Record<TargetName, RatioSpread>>>;
}

export interface RatioSpread {
  readonly requestsPerSecond: Spread;
  /** Null against the bare server, which has no proxy. */
  readonly proxyCpu: Spread | null;
  /** CPU of the redis-servers per request. */
  readonly serverCpu: Spread;
}

export interface RoundsPlan {
  readonly points: readonly Point[];
  readonly rounds: number;
  /** How long one load is meant to run; at pipeline 1, half as long. */
  readonly loadSeconds: number;
}

/** Loads of the first round, which warms up and tells how fast the targets are, in requests. */
const WARM_UP_REQUESTS = { 1: 15_000, many: 150_000, mget: 2000 };

/**
 * What a request costs at pipeline 1 hangs on where the kernel puts proxy, servers and load: by how much
 * each finds to do when it is woken, up to half as much again. Every load is put anew; so there a sample is
 * the mean of several short loads, of every target alike.
 */
const PARTS_AT_PIPELINE_1 = 3;
/** How long each of them runs, of what a load runs elsewhere. */
const PART_SECONDS_SHARE = 0.5;

/** How many samples `runRounds` will take: for the progress line. */
export function loadsOf(plan: RoundsPlan, targetCount: number): number {
  return plan.points.length * targetCount * (plan.rounds + 1);
}

/** The rows come in the order of the points; ratios are of the first target to each other one. */
export async function runRounds(
  plan: RoundsPlan,
  targets: readonly Target[],
  progress: Progress,
): Promise<Row[]> {
  const requests: number[] = [];
  for (const point of plan.points) requests.push(await warmUp(point, plan.loadSeconds, targets, progress));
  const samples = plan.points.map(() => new Map<TargetName, Sample[]>(targets.map(({ name }) => [name, []])));
  for (let round = 0; round < plan.rounds; round++) {
    const order = targets.map((_, index) => targets[(index + round) % targets.length]);
    for (let at = 0; at < plan.points.length; at++) {
      const index = round % 2 === 0 ? at : plan.points.length - 1 - at;
      const point = plan.points[index];
      for (const target of order) {
        progress.step(`round ${round + 1}/${plan.rounds}: ${describe(point)}, ${target.name}`);
        samples[index].get(target.name)?.push(await takeSample(target, point, requests[index]));
      }
    }
  }
  return plan.points.map((point, at) => summarize(point, requests[at], samples[at]));
}

async function takeSample(target: Target, point: Point, requests: number): Promise<Sample> {
  const parts: Sample[] = [];
  for (let part = 0; part < partsOf(point); part++) parts.push(await measure(target, point, requests));
  return meanOf(parts);
}

/** Loads of one sample. */
function partsOf(point: Point): number {
  return point.pipeline === 1 ? PARTS_AT_PIPELINE_1 : 1;
}

/**
 * The same number of requests for all targets, so that fixed costs weigh the same: what the slowest manages.
 */
async function warmUp(
  point: Point,
  loadSeconds: number,
  targets: readonly Target[],
  progress: Progress,
): Promise<number> {
  const plain = point.pipeline === 1 ? WARM_UP_REQUESTS[1] : WARM_UP_REQUESTS.many;
  const count = point.operation === "MGET" ? WARM_UP_REQUESTS.mget : plain;
  let slowest = Infinity;
  for (const target of targets) {
    progress.step(`warm-up: ${describe(point)}, ${target.name}`);
    slowest = Math.min(slowest, (await measure(target, point, count)).requestsPerSecond);
  }
  const seconds = partsOf(point) === 1 ? loadSeconds : loadSeconds * PART_SECONDS_SHARE;
  return Math.max(point.clients * point.pipeline, Math.round((slowest * seconds) / 100) * 100);
}

function summarize(point: Point, requests: number, samples: ReadonlyMap<TargetName, readonly Sample[]>): Row {
  const [first, ...others] = [...samples];
  const spreads = [...samples].map(([name, list]) => [name, spreadsOf(list)]);
  const ratios = others.map(([name, list]) => [name, ratiosOf(first[1], list, name !== "bare")]);
  return { point, requests, targets: Object.fromEntries(spreads), ratios: Object.fromEntries(ratios) };
}

function spreadsOf(samples: readonly Sample[]): SampleSpread {
  const of = (key: keyof Sample): Spread => spreadOf(samples.map((sample) => sample[key]));
  return {
    requestsPerSecond: of("requestsPerSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    proxyCpuUs: of("proxyCpuUs"),
    serverCpuUs: of("serverCpuUs"),
  };
}

function ratiosOf(ours: readonly Sample[], theirs: readonly Sample[], isProxy: boolean): RatioSpread {
  const of = (key: keyof Sample): Spread =>
    spreadOf(ours.map((sample, round) => sample[key] / theirs[round][key]));
  const proxyCpu = isProxy ? of("proxyCpuUs") : null;
  return { requestsPerSecond: of("requestsPerSecond"), proxyCpu, serverCpu: of("serverCpuUs") };
}

/** "SET, 50 clients × 16" */
function describe(point: Point): string {
  return `${point.operation}, ${point.clients} clients × ${point.pipeline}`;
}
