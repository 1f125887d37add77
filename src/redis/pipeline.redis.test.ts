import { expect, test } from "bun:test";
import { RedisProcess } from "../../test/support/redis-process.ts";
import { ReplyError } from "./reply-decoder.ts";

test("a pipeline's replies come together, errors among them; a frozen server fails all", async () => {
  const redis = await RedisProcess.start();
  try {
    const { client } = redis;
    const commands = [["SET", "k", "v"], ["GET", "k"], ["LPUSH", "k", "x"], ["PING"]];
    const [set, get, push, ping] = await client.pipeline(commands);
    expect([set, get, ping]).toEqual(["OK", "v", "PONG"]);
    expect(push).toBeInstanceOf(ReplyError);
    const many = Array.from({ length: 3000 }, (_, index) => ["ECHO", String(index)]);
    expect(await client.pipeline(many)).toEqual(many.map(([, text]) => text));
    expect(await client.pipeline([])).toEqual([]);
    redis.signal("SIGSTOP");
    await expect(client.pipeline(commands, 200)).rejects.toThrow("no answer within 200 ms");
    redis.signal("SIGCONT");
  } finally {
    redis.signal("SIGCONT");
    await redis.dispose();
  }
});
