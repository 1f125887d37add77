/**
 * The way in to what is measured: one connection to a proxy, or, for Redis Cluster, one to each node that is
 * needed, found by MOVED and ASK. One per client.
 */
import { clusterSlot } from "../failover/cluster-slot.ts";
import { type Words } from "./dataset.ts";
import { RespPipe } from "./resp-pipe.ts";

/** A client's connection(s). */
export interface Entrance {
  /** The reply's beginning; redirections have been followed. */
  send(words: Words): Promise<string>;
  close(): void;
}

/** Redirections of one request; also tries again after TRYAGAIN. */
const HOPS_MAX = 20;

export function openProxy(port: number): Promise<Entrance> {
  return RespPipe.open("127.0.0.1", port);
}

/** `owners`: by slot, the port that is thought to own it; shared by all clients, as a library's cache is. */
export async function openCluster(owners: number[]): Promise<Entrance> {
  const pipes = new Map<number, Promise<RespPipe>>();
  const pipeTo = (port: number): Promise<RespPipe> => {
    const known = pipes.get(port) ?? RespPipe.open("127.0.0.1", port);
    pipes.set(port, known);
    return known;
  };
  for (const port of new Set(owners)) await pipeTo(port);
  return {
    async send(words) {
      const slot = clusterSlot(words[1]);
      let reply = "";
      let asked = 0;
      for (let hop = 0; hop < HOPS_MAX; hop++) {
        const pipe = await pipeTo(asked === 0 ? owners[slot] : asked);
        if (asked !== 0) void pipe.send(["ASKING"]);
        reply = await pipe.send(words);
        asked = 0;
        const [kind, , address] = reply.trimEnd().split(" ");
        if (kind === "-MOVED") owners[slot] = portOf(address);
        else if (kind === "-ASK") asked = portOf(address);
        else if (kind !== "-TRYAGAIN") return reply;
      }
      return reply;
    },
    close() {
      for (const pipe of pipes.values()) void pipe.then((open) => open.close());
    },
  };
}

function portOf(address: string): number {
  return Number(address.split(":")[1]);
}
