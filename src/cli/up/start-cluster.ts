/**
 * Starts a cluster's processes, each kind when the one it needs serves, and waits until all of it does.
 *
 *   servers ─PONG─▶ controller ─healthy, every group ok─▶ proxies ─PONG, map acknowledged─▶ done
 */
import { ShoalError } from "../../base/shoal-error.ts";
import { fetchHealth, fetchStatus } from "../../contract/client.ts";
import type { ClusterStatus } from "../../contract/schemas.ts";
import type { World } from "../command.ts";
import type { ClusterFolder, ClusterRecord } from "../folder/cluster-folder.ts";
import type { ProgressStep } from "../progress.ts";
import { type ClusterPlan, HOST, proxiesOf } from "./cluster-plan.ts";
import { planController, planProxy } from "./daemon-files.ts";
import { pollUntil } from "./poll.ts";
import { probe } from "./probe.ts";
import { findServerBinary, planServer } from "./server-files.ts";
import type { PartPlan, Supervisor } from "./supervisor.ts";

/**
 * Bound for a step in which nothing moves. A server that loads its data, or a replica that copies it, is
 * moving.
 */
const STEP_TIMEOUT_MS = 30_000;

export interface StartOptions {
  readonly world: World;
  readonly folder: ClusterFolder;
  readonly plan: ClusterPlan;
  readonly supervisor: Supervisor;
  readonly serverBinary: string | null;
  readonly progress: (text: string) => void;
  /** How far the step is that `progress` has named; called with every look. */
  readonly step: (step: ProgressStep) => void;
}

/** @throws ShoalError START_FAILED, TIMEOUT, DISK, … ; what was started is left to the supervisor to stop */
export async function startCluster(options: StartOptions): Promise<void> {
  const { folder, plan, supervisor } = options;
  await folder.writeRecord(plan.record);
  await startServers(options);
  await startController(options);
  await waitForGroups(options);
  // From the moment a proxy runs somebody may write to the cluster: it is not to be begun anew any more.
  await folder.writeRecord({ ...plan.record, served: true });
  await startProxies(options);
  await supervisor.markServing();
}

async function startServers(options: StartOptions): Promise<void> {
  const { folder, plan, supervisor, world } = options;
  const binary = findServerBinary(options.serverBinary, world.variables["PATH"] ?? "");
  const servers = plan.record.groups.flatMap((group) => group.servers);
  options.progress(`starting ${servers.length} redis-servers`);
  for (const server of servers) await supervisor.start(await planServer(folder, server, binary));
  for (const [done, server] of servers.entries()) {
    await waitFor(options, `redis-server ${server.id} answers on ${HOST}:${server.port}`, async () => {
      const result = await probe(HOST, server.port);
      const detail = result === "loading" ? `${server.id} loads its data` : "";
      options.step({ done, total: servers.length, unit: "servers", detail });
      return result === "loading" ? "moving" : result === "serving";
    });
  }
}

async function startController(options: StartOptions): Promise<void> {
  const { folder, plan, supervisor, world } = options;
  options.progress("starting the controller");
  await supervisor.start(await planController(folder, plan.record, world.program));
  await waitFor(options, `the controller answers on ${controlUrl(options)}`, async () => {
    const health = await fetchHealth(world.http, target(options)).catch(nothingYet);
    return health?.status === "ok" && health.leader;
  });
}

async function waitForGroups(options: StartOptions): Promise<void> {
  options.progress("waiting for the replicas to follow");
  let unfinished = "";
  await waitFor(
    options,
    () => `every group is whole${unfinished}`,
    async () => {
      const status = await fetchStatus(options.world.http, target(options)).catch(nothingYet);
      if (status === null) return false;
      const ours = status.groups.filter((group) => isOurs(options.plan.record, group));
      unfinished = describeUnfinished({ ...status, groups: ours });
      options.step(replicasOnline(status));
      const copying = ours.some((group) => {
        return group.replicas.some((replica) => replica.state === "syncing" || replica.state === "loading");
      });
      return copying ? "moving" : ours.every((group) => group.state === "ok");
    },
  );
}

async function startProxies(options: StartOptions): Promise<void> {
  const { folder, plan, supervisor, world } = options;
  const proxies = proxiesOf(plan.record);
  options.progress(`starting ${proxies.length} ${proxies.length === 1 ? "proxy" : "proxies"}`);
  const plans: PartPlan[] = [];
  for (const proxy of proxies) plans.push(await planProxy(folder, plan.record, proxy, world.program));
  for (const proxyPlan of plans) await supervisor.start(proxyPlan);
  for (const [done, { id, port }] of proxies.entries()) {
    await waitFor(options, `proxy ${id} answers on ${HOST}:${port}`, async () => {
      options.step({ done, total: proxies.length, unit: "proxies" });
      return (await probe(HOST, port)) === "serving";
    });
  }
  await waitFor(options, "every proxy has acknowledged the map", async () => {
    const status = await fetchStatus(world.http, target(options)).catch(nothingYet);
    return status !== null && proxies.every((proxy) => hasAcknowledged(status, proxy.id));
  });
}

/** A group with servers from elsewhere may be down for reasons that no start here can mend. */
function isOurs(record: ClusterRecord, group: ClusterStatus["groups"][number]): boolean {
  const ports = new Set(record.groups.flatMap((one) => one.servers.map((server) => server.port)));
  const addrs = [group.primary.addr, ...group.replicas.map((replica) => replica.addr)];
  return addrs.every((addr) => {
    return addr.startsWith(`${HOST}:`) && ports.has(Number(addr.slice(HOST.length + 1)));
  });
}

function replicasOnline(status: ClusterStatus): ProgressStep {
  const replicas = status.groups.flatMap((group) => group.replicas);
  const waiting = replicas.filter((one) => one.state !== "online");
  const detail = waiting.map((one) => `${one.addr} ${one.state}`).join(", ");
  return { done: replicas.length - waiting.length, total: replicas.length, unit: "replicas", detail };
}

function hasAcknowledged(status: ClusterStatus, id: string): boolean {
  const proxy = status.proxies.find((one) => one.id === id);
  return proxy?.state === "serving" && proxy.map?.version === status.map.version;
}

/**
 * Waits for `check`; "moving" starts the time anew. A part that dies, or a wish to stop, ends the wait.
 * @throws ShoalError TIMEOUT, or the supervisor's error
 */
async function waitFor(
  options: StartOptions,
  what: string | (() => string),
  check: () => Promise<boolean | "moving">,
): Promise<void> {
  let deadline = performance.now() + STEP_TIMEOUT_MS;
  let abandoned = false;
  let ready = false;
  const done = pollUntil(Number.POSITIVE_INFINITY, async () => {
    if (abandoned) return true;
    const result = await check();
    if (result === "moving") deadline = performance.now() + STEP_TIMEOUT_MS;
    ready = result === true;
    return ready || performance.now() > deadline;
  });
  try {
    await Promise.race([done, options.supervisor.startFailure]);
  } finally {
    abandoned = true;
  }
  if (ready) return;
  const wanted = typeof what === "string" ? what : what();
  throw new ShoalError(
    "TIMEOUT",
    `Cannot start ${options.folder.shown}: waited ${STEP_TIMEOUT_MS} ms until ${wanted}`,
  );
}

/** ": g1 is degraded: replica 127.0.0.1:16401 is connecting". */
function describeUnfinished(status: ClusterStatus): string {
  const texts = status.groups
    .filter((group) => group.state !== "ok")
    .map((group) => {
      const replicas = group.replicas.filter((one) => one.state !== "online");
      const details = replicas.map((one) => `replica ${one.addr} is ${one.state}`).join(", ");
      return `${group.id} is ${group.state}${details === "" ? "" : ` (${details})`}`;
    });
  return texts.length === 0 ? "" : `; ${[...texts, ...status.problems].join("; ")}`;
}

function controlUrl(options: StartOptions): string {
  return `http://${HOST}:${options.plan.record.controlPort}`;
}

function target(options: StartOptions): { url: string; token: null } {
  return { url: controlUrl(options), token: null };
}

/** While it starts, no answer is no error. */
function nothingYet(): null {
  return null;
}
