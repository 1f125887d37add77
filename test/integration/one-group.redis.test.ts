/**
 * A cluster of one group: all slots are on one server, so commands over several slots mean what they mean
 * there.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ProxyProcess, TRANSPORTS } from "../support/proxy-process.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { RespClient } from "../support/resp-client.ts";

setDefaultTimeout(30_000);

/** The keys of each line are in different slots. */
const CONVERSATIONS: readonly string[] = [
  "MSET a 1 b 2 c 3 / MGET a b c d / MSETNX a 1 e 2 / MSETNX e 1 f 2",
  "MSET a 1 b 2 c 3 / DEL a b / EXISTS a b c e / TOUCH c e x / UNLINK c e",
  "SADD s1 a b / SADD s2 b c / SINTER s1 s2 / SUNIONSTORE s3 s1 s2 / SMOVE s1 s2 a / SINTERCARD 2 s1 s2",
  "RPUSH l1 x y / LMOVE l1 l2 LEFT RIGHT / RPOPLPUSH l1 l2 / BLMOVE l2 l3 LEFT LEFT 0",
  "RPUSH l1 x y / RPUSH l3 z / LMPOP 3 l2 l1 l3 LEFT",
  "RPUSH l4 x / BLPOP l1 l2 l4 0 / ZADD z1 1 a / BZPOPMIN z9 z1 0",
  "SET a 1 / RENAME a b / COPY b c / RENAMENX b c / BITOP OR d b c",
  "PFADD p1 a / PFADD p2 b / PFMERGE p3 p1 p2 / PFCOUNT p1 p3",
  "XADD x1 1-1 f v / XADD x2 1-1 f v / XREAD STREAMS x1 x2 0 0",
  "RPUSH l 2 1 / SET w_1 5 / SET w_2 3 / SORT l BY w_* GET # GET w_* / SORT l STORE sorted",
  "MULTI / SET a 1 / SET b 2 / MGET a b / FLUSHDB / DBSIZE / EXEC / DBSIZE",
  "WATCH a / WATCH b c / SET b 1 / MULTI / SET d 1 / EXEC / WATCH a / MULTI / SET d 1 / EXEC",
  "EVAL return{redis.call('SET',KEYS[1],1),redis.call('SET',KEYS[2],2)} 2 a b / MGET a b",
];

describe.each(TRANSPORTS.map((io) => ({ io })))("one group over $io", ({ io }) => {
  let servers: RedisProcess[];
  let proxy: ProxyProcess;

  beforeAll(async () => {
    servers = await Promise.all([0, 1].map(() => RedisProcess.start()));
    proxy = await ProxyProcess.start([servers[0].addr], { io });
  });
  afterAll(async () => {
    await proxy.dispose();
    await Promise.all(servers.map((server) => server.dispose()));
  });

  test.each(CONVERSATIONS.map((line) => [line]))("%s", async (line) => {
    for (const server of servers) await server.command("FLUSHALL");
    const [ours, theirs] = [await proxy.connect(), await RespClient.connect(servers[1].port)];
    for (const call of line.split(" / ")) {
      const words = call.split(" ");
      expect([call, await ours.text(...words)]).toEqual([call, await theirs.text(...words)]);
    }
    ours.close();
    theirs.close();
  });
});
