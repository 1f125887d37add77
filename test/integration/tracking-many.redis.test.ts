/** A thousand sessions that track at once. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { until } from "../support/until.ts";
import { TrackingClient } from "./tracking-client.ts";

setDefaultTimeout(30_000);

const SESSIONS = 1000;

let servers: RedisProcess[];

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.dispose()));
});

/** Of the first server's clients: the field's values. */
async function fieldOfClients(field: string): Promise<string[]> {
  const list = String(await servers[0].command("CLIENT", "LIST"));
  return [...list.matchAll(new RegExp(` ?\\b${field}=(-?\\d+)`, "g"))].map((found) => found[1]);
}

describe.each(TRANSPORTS)("many tracking sessions (%s)", (io) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start(servers, io);
  });
  afterAll(() => rig.dispose());

  test("each is told of a common key and of its own, once", async () => {
    const writer = await TrackingClient.connect(rig.port);
    await writer.call("FLUSHALL");
    const hot = [0, 1, 2].map((index) => rig.keyIn(index, "hot"));
    const numbers = Array.from({ length: SESSIONS }, (_, i) => i);
    const sessions = await Promise.all(numbers.map(() => TrackingClient.connect(rig.port)));
    await Promise.all(sessions.map((session) => session.call("CLIENT", "TRACKING", "ON")));
    await Promise.all(sessions.map((session, i) => session.call("MGET", hot[i % 3], `own:${i}`)));
    const expectTold = async (keyOf: (i: number) => string): Promise<void> => {
      await until(() => sessions.every(({ pushes }) => pushes.length === 1), "each is told of its key");
      sessions.forEach(({ pushes }, i) => expect(pushes.splice(0)).toEqual([["invalidate", [keyOf(i)]]]));
    };
    await writer.call("MSET", ...hot.flatMap((key) => [key, "1"]));
    await expectTold((i) => hot[i % 3]);
    await writer.batch(numbers.map((i) => ["SET", `own:${i}`, "1"]));
    await expectTold((i) => `own:${i}`);

    // One connection on which the server tells of changes serves them all, and goes when they have gone.
    const told = new Set((await fieldOfClients("redir")).filter((id) => Number(id) > 0));
    expect(told.size).toBe(1);
    for (const session of sessions) session.close();
    const there = async (): Promise<string[]> => (await fieldOfClients("id")).filter((id) => told.has(id));
    await until(async () => (await there()).length === 0, "the connection for telling is gone");
    writer.close();
  });
});
