// ioredis, as an application would use it: node ioredis.mjs PORT
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import Redis from "ioredis";

const redis = new Redis(Number(process.argv[2]), "127.0.0.1");
redis.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
const p = "ioredis:";

assert.equal(await redis.set(`${p}s`, "value", "EX", 100), "OK");
assert.equal(await redis.get(`${p}s`), "value");
assert.equal(await redis.incrby(`${p}n`, 5), 5);
await redis.mset({ [`${p}a`]: "1", [`${p}b`]: "2", [`${p}c`]: "3" });
assert.deepEqual(await redis.mget(`${p}a`, `${p}b`, `${p}c`, `${p}none`), ["1", "2", "3", null]);

const hash = { name: "Ada", born: "1815" };
assert.equal(await redis.hset(`${p}h`, hash), 2);
assert.deepEqual({ ...(await redis.hgetall(`${p}h`)) }, hash);
await redis.rpush(`${p}l`, "x", "y", "z");
assert.deepEqual(await redis.lrange(`${p}l`, 0, -1), ["x", "y", "z"]);
await redis.sadd(`${p}set`, "m", "n");
assert.deepEqual([...(await redis.smembers(`${p}set`))].sort(), ["m", "n"]);
await redis.zadd(`${p}z`, 1, "one", 2.5, "two");
assert.equal(Number(await redis.zscore(`${p}z`, "two")), 2.5);
assert.deepEqual(await redis.zrange(`${p}z`, 0, -1), ["one", "two"]);
const id = await redis.xadd(`${p}x`, "*", "field", "entry");
assert.deepEqual(await redis.xrange(`${p}x`, "-", "+"), [[id, ["field", "entry"]]]);

assert.equal(await redis.eval("return redis.call('incr', KEYS[1]) + ARGV[1]", 1, `${p}script`, 10), 11);
redis.defineCommand("addUp", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" });
assert.equal(await redis.addUp(`${p}script`, 4), 5);

const pipeline = redis.pipeline();
for (let i = 0; i < 1000; i++) pipeline.set(`${p}p:${i}`, i).get(`${p}p:${i}`);
const results = await pipeline.exec();
assert.equal(results.length, 2000);
for (let i = 0; i < 1000; i++) assert.deepEqual(results[2 * i + 1], [null, String(i)]);

const seen = new Set();
for await (const keys of redis.scanStream({ match: `${p}p:*`, count: 100 }))
  for (const key of keys) seen.add(key);
assert.equal(seen.size, 1000);

const binary = randomBytes(3_000_000);
await redis.set(`${p}big`, binary);
assert.ok(binary.equals(await redis.getBuffer(`${p}big`)));

await assert.rejects(redis.lpush(`${p}s`, "x"), { name: "ReplyError", message: /^WRONGTYPE/ });
await assert.rejects(redis.call("NOSUCH"), { name: "ReplyError", message: /unknown command/ });
await assert.rejects(redis.rename(`${p}a`, `${p}b`), { name: "ReplyError", message: /^CROSSSLOT/ });

const second = new Redis({ port: Number(process.argv[2]), db: 5, connectionName: "second" });
assert.equal(await second.get(`${p}s`), null);
await second.set(`${p}s`, "of five");
assert.equal(await second.client("GETNAME"), "second");
assert.equal(await redis.get(`${p}s`), "value");
assert.match(await redis.client("LIST"), /name=second/);
assert.ok((await redis.del(`${p}a`, `${p}b`, `${p}c`)) === 3);
await second.quit();
await redis.quit();
console.log("round of work done");
