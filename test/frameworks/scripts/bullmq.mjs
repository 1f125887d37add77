// BullMQ: queue, workers, delayed jobs, retries, rate limit, a flow, events: node bullmq.mjs PORT [PREFIX]
import assert from "node:assert/strict";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

const [port, prefix] = process.argv.slice(2);
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
const options = prefix === undefined ? { connection } : { connection, prefix };

const failed = (error) => {
  console.error(error);
  process.exit(1);
};
const watched = (part) => {
  part.on("error", failed);
  return part;
};

// A queue with two workers: each job is done once, a failing one is tried again.
const queue = watched(new Queue("mail", options));
const events = watched(new QueueEvents("mail", options));
await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
const done = [];
const work = async (job) => {
  if (job.name === "fails once" && job.attemptsMade === 0) throw new Error("the first time fails");
  done.push(job.data.n);
  return job.data.n * 2;
};
const workers = [1, 2].map(() => watched(new Worker("mail", work, { ...options, concurrency: 4 })));
await Promise.all(workers.map((worker) => worker.waitUntilReady()));
const jobs = await queue.addBulk(Array.from({ length: 60 }, (_, n) => ({ name: "send", data: { n } })));
const retried = await queue.add("fails once", { n: 60 }, { attempts: 2 });
const results = await Promise.all([...jobs, retried].map((job) => job.waitUntilFinished(events, 10_000)));
assert.deepEqual(
  results,
  Array.from({ length: 61 }, (_, n) => n * 2),
);
assert.deepEqual(
  done.toSorted((a, b) => a - b),
  Array.from({ length: 61 }, (_, n) => n),
);
assert.equal((await queue.getJob(retried.id)).attemptsMade, 2);
assert.deepEqual(await queue.getJobCounts("completed", "failed", "waiting", "active"), {
  completed: 61,
  failed: 0,
  waiting: 0,
  active: 0,
});

// Delayed jobs are done when their time has come, the earlier first; a worker waits in a blocking pop.
const begun = Date.now();
const late = await queue.add("send", { n: 101 }, { delay: 500 });
const early = await queue.add("send", { n: 100 }, { delay: 250 });
await early.waitUntilFinished(events, 10_000);
assert.ok(Date.now() - begun >= 240);
await late.waitUntilFinished(events, 10_000);
assert.ok(Date.now() - begun >= 490);
assert.deepEqual(done.slice(-2), [100, 101]);

// By priority, and paused meanwhile.
const urgent = watched(new Queue("urgent", options));
await urgent.pause();
for (const n of [3, 1, 2]) await urgent.add("send", { n }, { priority: n });
await urgent.resume();
const order = [];
const finished = new Promise((resolve) => {
  const one = async (job) => {
    if (order.push(job.data.n) === 3) resolve();
  };
  workers.push(watched(new Worker("urgent", one, options)));
});
await finished;
assert.deepEqual(order, [1, 2, 3]);

// Rate limit: two jobs in 200 ms, so that six take more than 400.
const limited = watched(new Queue("limited", options));
const times = [];
await limited.addBulk(Array.from({ length: 6 }, (_, n) => ({ name: "send", data: { n } })));
await new Promise((resolve) => {
  const one = async () => {
    if (times.push(Date.now()) === 6) resolve();
  };
  workers.push(watched(new Worker("limited", one, { ...options, limiter: { max: 2, duration: 200 } })));
});
assert.ok(times[5] - times[0] >= 380, `six jobs took ${times[5] - times[0]} ms`);

// A flow: the parent is done after its children, in one MULTI.
const flow = watched(new FlowProducer(options));
const tree = await flow.add({
  name: "parent",
  queueName: "mail",
  data: { n: 300 },
  children: [301, 302].map((n) => ({ name: "child", queueName: "mail", data: { n } })),
});
assert.equal(await tree.job.waitUntilFinished(events, 10_000), 600);
assert.equal(done.at(-1), 300);
assert.deepEqual(Object.values(await tree.job.getChildrenValues()).toSorted(), [602, 604]);

await Promise.all(workers.map((worker) => worker.close()));
await queue.obliterate({ force: true });
await Promise.all([flow.close(), events.close(), queue.close(), urgent.close(), limited.close()]);
console.log("round of work done");
