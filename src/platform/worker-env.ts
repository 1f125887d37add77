/** The env of a worker: real time, chance and disk, and one of the two transports. */
import type { Env } from "../env/env.ts";
import type { LogFields } from "../env/log.ts";
import type { Net, TlsClientOptions } from "../env/net.ts";
import { systemClock } from "./clock.ts";
import { systemDisk } from "./disk.ts";
import { EpollNet } from "./epoll/epoll-net.ts";
import { createPinoLog, type LogLevel } from "./pino-log.ts";
import { PortableNet } from "./portable/portable-net.ts";
import { systemRandom } from "./random.ts";
import { systemTimers } from "./timers.ts";

export interface WorkerEnv {
  readonly env: Env;
  /** Ends the event loop of the epoll transport. */
  stopLoop(): void;
}

/**
 * `io`: "epoll", "portable", or "auto": epoll on Linux, unless every request goes by TLS to a server anyhow.
 * `serverTls`: how outgoing connections go by TLS; null: they don't. `busyPollUs`: how long epoll's loop
 * looks for events before it sleeps.
 * @throws ShoalError CONFIG for TLS files that are of no use
 */
export function createWorkerEnv(
  io: string,
  level: LogLevel,
  fields: LogFields,
  serverTls: TlsClientOptions | null,
  busyPollUs: number,
): WorkerEnv {
  const fastest = process.platform === "linux" && serverTls === null ? "epoll" : "portable";
  const chosen = io === "auto" ? fastest : io;
  const epoll = chosen === "epoll" ? new EpollNet(systemClock, systemTimers, serverTls, busyPollUs) : null;
  const net: Net = epoll ?? new PortableNet(systemTimers, serverTls);
  epoll?.run();
  const log = createPinoLog(level, fields);
  return {
    env: { clock: systemClock, timers: systemTimers, random: systemRandom, net, disk: systemDisk, log },
    stopLoop: () => epoll?.stop(),
  };
}
