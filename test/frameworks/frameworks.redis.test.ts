/**
 * Frameworks that break on other proxies, unchanged, in processes of their own against a proxy. Each has a
 * script in scripts/ that does a round of work and checks it; this file starts them.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { Rig, type Transport, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";

const RUN_TIMEOUT_MS = 40_000;
setDefaultTimeout(RUN_TIMEOUT_MS + 5000);

const SCRIPTS = join(import.meta.dir, "scripts");

interface Round {
  readonly name: string;
  /** PORT stands for the proxy's. */
  readonly command: readonly string[];
  /** Succeeds where the framework is installed. */
  readonly probe: readonly string[];
  /** What to install it with. */
  readonly install: string;
}

/** Debian's packages are for Debian's Python, which need not be the first on the PATH. */
const PYTHON = "/usr/bin/python3";

function node(name: string, script: string, ...more: string[]): Round {
  const probe = ["node", "-e", `import("${name}").then(() => process.exit(0), () => process.exit(1))`];
  return {
    name: [name, ...more].join(" "),
    command: ["node", script, "PORT", ...more],
    probe,
    install: "npm ci",
  };
}

function python(name: string, script: string, ...more: string[]): Round {
  const probe = [PYTHON, "-c", `import ${name}`];
  const install = `apt-get install python3-${name}`;
  return { name: [name, ...more].join(" "), command: [PYTHON, script, "PORT", ...more], probe, install };
}

function sidekiq(...more: string[]): Round {
  const probe = ["ruby", "-rsidekiq", "-rredis-namespace", "-e", "0"];
  const install = "apt-get install ruby-sidekiq ruby-redis-namespace";
  return {
    name: ["sidekiq", ...more].join(" "),
    command: ["ruby", "sidekiq.rb", "PORT", ...more],
    probe,
    install,
  };
}

/** What runs over several groups, on any transport. */
const NODE_ROUNDS: readonly Round[] = [
  node("bullmq", "bullmq.mjs", "{bull}"),
  node("connect-redis", "express-session.mjs"),
  node("redlock", "redlock.mjs"),
  node("@socket.io/redis-adapter", "socket-io.mjs"),
  node("@socket.io/redis-adapter", "socket-io.mjs", "sharded"),
];
const DEBIAN_ROUNDS: readonly Round[] = [
  sidekiq("{sidekiq}"),
  python("celery", "celery-queue.py", "{celery}"),
];
/** With their keys spread over all slots, which they use together: for a cluster of one group. */
const ROUNDS_OF_ONE_GROUP: readonly Round[] = [
  node("bullmq", "bullmq.mjs"),
  sidekiq(),
  python("rq", "rq-queue.py"),
  python("celery", "celery-queue.py"),
];

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script to its end, and with it whatever it has started. */
function run(round: Round, port: number): Promise<Outcome> {
  const [program, ...args] = round.command.map((word) => (word === "PORT" ? String(port) : word));
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
    const options = { cwd: SCRIPTS, env, detached: true };
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    const late = setTimeout(() => process.kill(-(child.pid ?? 0), "SIGKILL"), RUN_TIMEOUT_MS);
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(late);
      resolve({ status, stdout, stderr });
    });
  });
}

/** A test that is skipped where the framework is not installed; in CI all must be there. */
function testRound(round: Round, body: () => Promise<void>): void {
  const [program, ...args] = round.probe;
  const there = spawnSync(program, args, { cwd: SCRIPTS }).status === 0;
  if (there) test(round.name, body);
  else if (process.env["CI"] === "true") {
    test(round.name, () => {
      throw new Error(`${round.name} is not installed: ${round.install}`);
    });
  } else test.skip(`${round.name} (not installed: ${round.install})`, body);
}

function describeRounds(what: string, io: Transport, groups: number, body: (rigOf: () => Rig) => void): void {
  describe(what, () => {
    let servers: RedisProcess[];
    let rig: Rig;
    beforeAll(async () => {
      servers = await Promise.all(Array.from({ length: groups }, () => RedisProcess.start()));
      rig = await Rig.start(servers, io);
    });
    afterAll(async () => {
      await rig.dispose();
      await Promise.all(servers.map((server) => server.dispose()));
    });
    beforeEach(async () => {
      for (const server of servers) await server.command("FLUSHALL");
    });
    body(() => rig);
  });
}

function testDone(round: Round, rigOf: () => Rig): void {
  testRound(round, async () => {
    const { status, stdout, stderr } = await run(round, rigOf().port);
    const failure = status === 0 ? "" : stderr;
    expect({ status, stdout, failure }).toEqual({ status: 0, stdout: "round of work done\n", failure: "" });
  });
}

for (const io of TRANSPORTS) {
  describeRounds(`frameworks over three groups (${io})`, io, 3, (rigOf) => {
    const rounds = io === TRANSPORTS[0] ? [...NODE_ROUNDS, ...DEBIAN_ROUNDS] : NODE_ROUNDS;
    for (const round of rounds) testDone(round, rigOf);
  });
}

describeRounds("frameworks over one group, without any setting", TRANSPORTS[0], 1, (rigOf) => {
  for (const round of ROUNDS_OF_ONE_GROUP) testDone(round, rigOf);
});

describeRounds("without a tag over three groups", TRANSPORTS[0], 3, (rigOf) => {
  const untagged = [node("bullmq", "bullmq.mjs"), python("rq", "rq-queue.py")];
  for (const round of untagged) {
    testRound({ ...round, name: `${round.name} is told at once what is wrong` }, async () => {
      const { status, stderr } = await run(round, rigOf().port);
      expect(status).not.toBe(0);
      expect(stderr).toMatch(/CROSSSLOT Key.*slot/);
    });
  }
});
