/**
 * `shoal controller`: the controller's composition root.
 *
 *   configuration ─▶ log ─▶ store ─▶ listener (answers 503) ─▶ controller.run ─▶ log: "controller-serving"
 *   SIGTERM ─▶ drain (streams end) ─▶ stop (leadership given back) ─▶ listener, store closed ─▶ status 0
 *
 * Ready means: GET /healthz answers 200.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { parse as parseToml } from "smol-toml";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import { Controller } from "../controller/controller.ts";
import {
  type ControllerConfig,
  addressOf,
  helpControllerConfig,
  listenOf,
  parseControllerConfig,
  serverTlsOf,
} from "../controller/controller-config.ts";
import type { HttpHandler } from "../env/http.ts";
import { systemClock } from "../platform/clock.ts";
import { systemHttpClient } from "../platform/http/http-client.ts";
import { systemHttpServer } from "../platform/http/http-server.ts";
import { machineId } from "../platform/machine-id.ts";
import { createPinoLog } from "../platform/pino-log.ts";
import { PortableNet } from "../platform/portable/portable-net.ts";
import { checkAddressFree } from "../platform/processes/addresses.ts";
import { systemScriptRunner } from "../platform/processes/run-script.ts";
import { onStopSignal } from "../platform/processes/signals.ts";
import { systemRandom } from "../platform/random.ts";
import { systemTimers } from "../platform/timers.ts";
import { openSqliteStore } from "../store/sqlite/open-store.ts";
import { VERSION } from "./version.ts";

export interface RunningController {
  /** "host:port" that the API is served on. */
  readonly address: string;
  /** Stops in order; may be called twice. */
  stop(): Promise<void>;
}

/**
 * `openStore`: another one for a test that wants to be there between two steps.
 * @throws ShoalError CONFIG, STORE, ADDRESS_IN_USE, START_FAILED; nothing is left running then
 */
export async function startController(
  config: ControllerConfig,
  openStore: typeof openSqliteStore = openSqliteStore,
): Promise<RunningController> {
  const log = createPinoLog(config.log_level, { part: "controller", id: config.id });
  const env = {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    net: new PortableNet(systemTimers, serverTlsOf(config)),
    http: systemHttpClient,
    scripts: systemScriptRunner,
    log,
  };
  if (config.sentinel_listen !== "") {
    const { host, port } = addressOf(config.sentinel_listen);
    await checkAddressFree(host, port);
  }
  await mkdir(dirname(config["store.path"]), { recursive: true });
  const store = await openStore(env, config["store.path"]);
  let handle: HttpHandler = async () => new Response("starting\n", { status: 503 });
  const listening = systemHttpServer.listen(listenOf(config), (request) => handle(request));
  const listener = await listening.catch(async (error) => {
    await store.close();
    throw error;
  });
  const addr = config.advertise === "" ? listener.address : config.advertise;
  const machine = config.machine === "" ? machineId() : config.machine;
  const controller = new Controller(env, config, store, {
    pid: process.pid,
    addr,
    version: VERSION,
    machine,
  });
  handle = controller.handle;
  let stopped: Promise<void> | null = null;
  const stop = (): Promise<void> =>
    (stopped ??= (async () => {
      await controller.drain();
      await controller.stop();
      await listener.close();
      await store.close();
    })());
  await controller.run().catch(async (error) => {
    await stop();
    throw error;
  });
  log.info("controller-serving", { address: listener.address, store: store.description });
  return { address: listener.address, stop };
}

/** Runs until it is told to stop; the exit status comes back. @throws what {@link startController} throws */
async function run(options: { readonly file: string; readonly text: string }): Promise<number> {
  const controller = await startController(parseControllerFile(options));
  await new Promise<void>((resolve) =>
    onStopSignal((_, earlier) => (earlier === 0 ? resolve() : process.exit(1))),
  );
  await controller.stop();
  return 0;
}

/** What the command line calls: `runController({file, text})`, and `runController.helpConfig()`. */
export const runController = Object.assign(run, { helpConfig: helpControllerConfig });

function parseControllerFile(source: { readonly file: string; readonly text: string }): ControllerConfig {
  let values: Record<string, unknown>;
  try {
    values = parseToml(source.text);
  } catch (error) {
    throw new ShoalError("CONFIG", `Cannot read ${source.file}: ${errorTextOf(error)}`, error);
  }
  return parseControllerConfig(values, source);
}
