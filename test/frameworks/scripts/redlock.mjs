// redlock: several holders, one at a time: node redlock.mjs PORT
import assert from "node:assert/strict";
import Redis from "ioredis";
import Redlock from "redlock";

const port = Number(process.argv[2]);
const clients = Array.from({ length: 4 }, () => new Redis(port, "127.0.0.1"));
const lockers = clients.map((client) => {
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  const locker = new Redlock([client], { retryCount: 400, retryDelay: 5, retryJitter: 5 });
  locker.on("clientError", (error) => {
    // A lock that somebody holds is no error of the client.
    if (!(error instanceof Redlock.LockError)) console.error(error);
  });
  return locker;
});

// A counter that only a lock protects: read, wait, write.
const ROUNDS = 15;
let inside = 0;
async function count(locker, client) {
  for (let i = 0; i < ROUNDS; i++) {
    const lock = await locker.lock("locks:counter", 5000);
    assert.equal(++inside, 1, "two hold the lock");
    const value = Number(await client.get("counter"));
    await new Promise((resolve) => setImmediate(resolve));
    await client.set("counter", value + 1);
    inside--;
    await lock.unlock();
  }
}
await Promise.all(lockers.map((locker, i) => count(locker, clients[i])));
assert.equal(await clients[0].get("counter"), String(ROUNDS * lockers.length));

// Held: refused; extended: still held; run out: free.
const impatient = new Redlock([clients[1]], { retryCount: 0 });
let held = await lockers[0].lock("locks:held", 300);
await assert.rejects(impatient.lock("locks:held", 100), Redlock.LockError);
held = await held.extend(5000);
assert.ok((await clients[2].pttl("locks:held")) > 3000);
await assert.rejects(impatient.lock("locks:held", 100), Redlock.LockError);
await held.unlock();
await (await impatient.lock("locks:held", 20)).unlock();

// Several resources of one lock: in one slot by a tag.
const both = await lockers[0].lock(["{locks}:a", "{locks}:b"], 1000);
await assert.rejects(impatient.lock("{locks}:b", 100), Redlock.LockError);
await both.unlock();

for (const client of clients) client.disconnect();
console.log("round of work done");
