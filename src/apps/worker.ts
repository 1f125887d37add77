/**
 * One worker process of a proxy: the data plane on its event loop, told what to do by the master over IPC.
 *
 *   start ─▶ map in force ─▶ listen ─▶ ready        map ─▶ in force ─▶ ack        drain, or the master gone
 *   ─▶ exit
 */
import { DataPlane } from "../proxy/data-plane.ts";
import type { ServerLogin } from "../contract/schemas.ts";
import type { ProxyConfig } from "../proxy/proxy-config.ts";
import type { MasterMessage, WorkerMessage } from "../proxy/master/worker-messages.ts";
import { createWorkerEnv } from "../platform/worker-env.ts";
import { answerPeer, MasterPeers } from "../proxy/worker-peers.ts";
import { errorCodeOf, errorTextOf } from "../base/shoal-error.ts";
import { serverTlsOf } from "../proxy/tls-config.ts";
import { VERSION } from "./version.ts";

const STATS_PERIOD_MS = 1000;
/** After the drain bound: what is left is cut. */
const EXIT_GRACE_MS = 200;

const send = (message: WorkerMessage): void => {
  if (process.connected) process.send?.(message);
};

function start(message: Extract<MasterMessage, { type: "start" }>): (message: MasterMessage) => void {
  const { worker, map, users = [] } = message;
  const config = { ...message.config };
  if (message.login !== undefined) useLogin(config, message.login);
  const { env, stopLoop } = createWorkerEnv(
    config.io,
    config.log_level,
    { proxy: config.id, worker },
    serverTlsOf(config),
    config.busy_poll_us,
  );
  const peers = new MasterPeers(config.workers > 1, (id, question) => send({ type: "ask", id, question }));
  const plane = new DataPlane(env, config, { pid: process.pid, worker, version: VERSION }, peers, {
    onMapSettled: ({ version, term }) => send({ type: "ack", version, term }),
  });
  plane.sights.onChange = () => send({ type: "servers", servers: plane.sights.all() });
  plane.applyMap(map);
  plane.users.merge(users);
  send({ type: "ready", address: plane.listen() });
  env.timers.every(STATS_PERIOD_MS, () =>
    send({ type: "stats", counters: plane.stats(), slotCalls: plane.slots.sampler.take() }),
  );

  let draining = false;
  const drain = (): void => {
    if (draining) return;
    draining = true;
    const exit = (): void => {
      plane.stop();
      stopLoop();
      process.exit(0);
    };
    plane.clients.drain(() => env.timers.after(EXIT_GRACE_MS, exit));
    env.timers.after(config.drain_timeout_ms, exit);
  };
  process.on("disconnect", drain);
  process.on("SIGTERM", drain);

  return (next) => {
    if (next.type === "drain") drain();
    else if (next.type === "answers") peers.answered(next.id, next.answers);
    else if (next.type === "users") plane.users.merge(next.records);
    else if (next.type === "login") useLogin(config, next.login ?? message.config);
    else if (next.type === "control") plane.writeStop.setControlLost(next.lost);
    else if (next.type === "ask")
      send({ type: "answer", id: next.id, answer: answerPeer(plane, next.question) });
    else if (next.type === "map") {
      try {
        plane.applyMap(next.map);
      } catch (error) {
        env.log.warn("map refused", { reason: errorTextOf(error), version: next.map.version });
      }
    }
  };
}

/** Whoever connects to a server reads the configuration at that moment: from now on, this login. */
function useLogin(
  config: { server_username: string; server_password: string },
  login: ServerLogin | ProxyConfig,
): void {
  config.server_username = "user" in login ? login.user : login.server_username;
  config.server_password = "user" in login ? login.password : login.server_password;
}

let handle: ((message: MasterMessage) => void) | null = null;
// Ctrl-C reaches the whole terminal group; the master decides what it means.
process.on("SIGINT", () => undefined);
// Without a master there is nobody to serve for; `start` puts a drain in place of this.
process.on("disconnect", () => handle ?? process.exit(1));
process.on("message", (message: MasterMessage) => {
  try {
    if (message.type === "start") handle = start(message);
    else handle?.(message);
  } catch (error) {
    if (handle !== null) throw error;
    send({ type: "failed", code: errorCodeOf(error) ?? "START_FAILED", message: errorTextOf(error) });
    process.exit(1);
  }
});
