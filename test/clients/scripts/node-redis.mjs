// node-redis, as an application would use it: node node-redis.mjs PORT
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createClient, ErrorReply, RESP_TYPES } from "redis";

const url = `redis://127.0.0.1:${process.argv[2]}`;
const redis = createClient({ url });
redis.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
await redis.connect();
const p = "node-redis:";

assert.equal(await redis.set(`${p}s`, "value", { EX: 100 }), "OK");
assert.equal(await redis.get(`${p}s`), "value");
assert.equal(await redis.incrBy(`${p}n`, 5), 5);
await redis.mSet([`${p}a`, "1", `${p}b`, "2", `${p}c`, "3"]);
assert.deepEqual(await redis.mGet([`${p}a`, `${p}b`, `${p}c`, `${p}none`]), ["1", "2", "3", null]);

await redis.hSet(`${p}h`, { name: "Ada", born: "1815" });
assert.deepEqual({ ...(await redis.hGetAll(`${p}h`)) }, { name: "Ada", born: "1815" });
await redis.rPush(`${p}l`, ["x", "y", "z"]);
assert.deepEqual(await redis.lRange(`${p}l`, 0, -1), ["x", "y", "z"]);
await redis.sAdd(`${p}set`, ["m", "n"]);
assert.deepEqual([...(await redis.sMembers(`${p}set`))].sort(), ["m", "n"]);
await redis.zAdd(`${p}z`, [
  { score: 1, value: "one" },
  { score: 2.5, value: "two" },
]);
assert.equal(await redis.zScore(`${p}z`, "two"), 2.5);
assert.deepEqual(await redis.zRangeWithScores(`${p}z`, 0, -1), [
  { value: "one", score: 1 },
  { value: "two", score: 2.5 },
]);
const id = await redis.xAdd(`${p}x`, "*", { field: "entry" });
const entries = await redis.xRange(`${p}x`, "-", "+");
assert.deepEqual(
  entries.map((entry) => [entry.id, { ...entry.message }]),
  [[id, { field: "entry" }]],
);

assert.equal(
  await redis.eval("return redis.call('incr', KEYS[1])", { keys: [`${p}script`], arguments: [] }),
  1,
);
const sha = await redis.scriptLoad("return ARGV[1]");
assert.equal(await redis.evalSha(sha, { keys: [`${p}script`], arguments: ["said"] }), "said");

// Commands of one turn of the event loop go out as one pipeline.
const values = await Promise.all(
  Array.from({ length: 1000 }, async (_, i) => {
    void redis.set(`${p}p:${i}`, String(i));
    return redis.get(`${p}p:${i}`);
  }),
);
assert.deepEqual(
  values,
  Array.from({ length: 1000 }, (_, i) => String(i)),
);

const seen = new Set();
for await (const keys of redis.scanIterator({ MATCH: `${p}p:*`, COUNT: 100 }))
  for (const key of keys) seen.add(key);
assert.equal(seen.size, 1000);

const binary = randomBytes(3_000_000);
await redis.set(`${p}big`, binary);
const buffers = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
assert.ok(binary.equals(await buffers.get(`${p}big`)));

await assert.rejects(
  redis.lPush(`${p}s`, "x"),
  (error) => error instanceof ErrorReply && error.message.startsWith("WRONGTYPE"),
);
await assert.rejects(redis.sendCommand(["NOSUCH"]), ErrorReply);
await assert.rejects(redis.rename(`${p}a`, `${p}b`), (error) => error.message.startsWith("CROSSSLOT"));

const second = createClient({ url, database: 5, name: "second" });
await second.connect();
assert.equal(await second.get(`${p}s`), null);
await second.set(`${p}s`, "of five");
assert.equal(await second.clientGetName(), "second");
assert.equal(await redis.get(`${p}s`), "value");
assert.ok((await redis.clientList()).some((client) => client.name === "second"));
assert.equal(await redis.del([`${p}a`, `${p}b`, `${p}c`]), 3);
await second.close();
await redis.close();
console.log("round of work done");
