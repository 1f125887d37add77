/** What a proxy reports to the controllers, made of the master's status. */
import { type ProxyReport, REPORT_LIMITS } from "../../contract/schemas.ts";
import type { MasterStatus } from "./proxy-master.ts";

/**
 * Null before clients can connect: the controller shall not call a proxy serving that does not listen yet.
 */
export function reportOf(status: MasterStatus, pid: number, machine: string): ProxyReport | null {
  if (status.state === "waiting" || status.state === "starting") return null;
  const workers = status.workers.flatMap((worker) => (worker.pid === null ? [] : [{ pid: worker.pid }]));
  return {
    addr: status.address,
    pid,
    machine,
    state: status.state,
    workers,
    map: status.acked,
    login: status.login,
    servers: status.servers.slice(0, REPORT_LIMITS.serversMax),
    counters: { ...status.counters },
    slotCalls: { ...status.slotCalls },
  };
}
