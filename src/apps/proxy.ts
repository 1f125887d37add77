/**
 * `shoal proxy`: the proxy's composition root, its master process.
 *
 *   configuration ─▶ address free? ─▶ master ◀─maps── link ◀──▶ controllers      (or one map from map_file)
 *                                       │ └─reports─▶ link
 *                                       └─▶ workers (src/apps/worker.ts), one process each
 *   SIGTERM ─▶ drain ─▶ last report ─▶ exit status 0
 */
import { join, resolve } from "node:path";
import { parse as parseToml } from "smol-toml";
import { helpConfig } from "../base/config-table.ts";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import { systemClock } from "../platform/clock.ts";
import { systemDisk } from "../platform/disk.ts";
import { systemHttpClient } from "../platform/http/http-client.ts";
import { machineId } from "../platform/machine-id.ts";
import { createPinoLog } from "../platform/pino-log.ts";
import { checkAddressFree } from "../platform/processes/addresses.ts";
import { type ChildProcess, startProcess } from "../platform/processes/child-process.ts";
import { onStopSignal } from "../platform/processes/signals.ts";
import { systemRandom } from "../platform/random.ts";
import { systemTimers } from "../platform/timers.ts";
import { ProxyLink } from "../proxy/link/proxy-link.ts";
import { ProxyMaster } from "../proxy/master/proxy-master.ts";
import { reportOf } from "../proxy/master/proxy-report.ts";
import { PROXY_CONFIG, type ProxyConfig, parseProxyConfig } from "../proxy/proxy-config.ts";
import { type ClusterMap, parseAddress, validateMap } from "../topology/cluster-map.ts";

const WORKER_FILE = join(import.meta.dirname, "worker.ts");

/** Runs until it is told to stop; the exit status comes back. @throws ShoalError when it can't start */
async function run(source: { readonly file: string; readonly text: string }): Promise<number> {
  const config = parseProxyFile(source);
  const log = createPinoLog(config.log_level, { part: "proxy", id: config.id });
  for (const address of [config.listen, config.tls_listen].filter((each) => each !== "")) {
    const { host, port } = parseAddress(address);
    await checkAddressFree(host, port);
  }
  const env = {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    disk: systemDisk,
    http: systemHttpClient,
    log,
  };
  let fail: (error: ShoalError) => void = () => {};
  const failed = new Promise<never>((_, reject) => (fail = reject));
  const stopped = new Promise<void>((settle) =>
    onStopSignal((_, earlier) => (earlier === 0 ? settle() : master.kill())),
  );
  const master = new ProxyMaster(env, config, startWorker, {
    onServing: () => link?.reportSoon(),
    onFailed: (error) => fail(error),
    onChange: () => link?.reportSoon(),
  });
  const link = config.map_file === "" ? makeLink(env, config, master) : null;
  const first = link === null ? await readMapFile(config.map_file) : await link.start();
  if (link !== null && link.login !== null) master.setLogin(link.login);
  if (first === null) log.info("waiting-for-map", { controllers: config.controllers.join(" ") });
  else master.setMap(first);
  try {
    await Promise.race([stopped, failed]);
    log.info("proxy-draining", { timeout_ms: config.drain_timeout_ms });
  } finally {
    // Says "draining" to the controllers, and drains, at the same time.
    await Promise.all([master.drain(), link?.reportNow()]);
    await link?.stop();
  }
  return 0;
}

/** What the command line calls: `runProxy({file, text})`, and `runProxy.helpConfig()`. */
export const runProxy = Object.assign(run, {
  helpConfig: () => helpConfig(PROXY_CONFIG, "Configuration of shoal proxy"),
});

function makeLink(
  env: ConstructorParameters<typeof ProxyLink>[0],
  config: ProxyConfig,
  master: ProxyMaster,
): ProxyLink {
  const machine = config.machine === "" ? machineId() : config.machine;
  const options = {
    proxyId: config.id,
    controllers: config.controllers,
    token: config.controller_token === "" ? null : config.controller_token,
    mapFile: config.state_dir === "" ? "" : resolve(config.state_dir, "map.json"),
    loginFile: config.state_dir === "" ? "" : resolve(config.state_dir, "login.json"),
  };
  return new ProxyLink(env, options, {
    onMap: (map) => master.setMap(map),
    onLogin: (login) => master.setLogin(login),
    onControl: (lost) => master.setControlLost(lost),
    report: () => reportOf(master.status(), process.pid, machine),
  });
}

function startWorker(index: number): Promise<ChildProcess> {
  const what = `worker ${index}`;
  return startProcess({ what, command: process.execPath, args: [WORKER_FILE], messages: true });
}

function parseProxyFile(source: { readonly file: string; readonly text: string }): ProxyConfig {
  let values: Record<string, unknown>;
  try {
    values = parseToml(source.text);
  } catch (error) {
    throw new ShoalError("CONFIG", `Cannot read ${source.file}: ${errorTextOf(error)}`, error);
  }
  return parseProxyConfig(values, source);
}

async function readMapFile(path: string): Promise<ClusterMap> {
  const text = await systemDisk.readText(path);
  if (text === null) throw new ShoalError("CONFIG", `Cannot read map_file ${path}: no such file`);
  try {
    const map = JSON.parse(text) as ClusterMap;
    validateMap(map);
    return map;
  } catch (error) {
    throw new ShoalError("CONFIG", `Cannot use map_file ${path}: ${errorTextOf(error)}`, error);
  }
}
