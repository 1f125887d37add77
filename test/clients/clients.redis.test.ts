/**
 * Real client libraries, unchanged and with their default settings, against a proxy over three groups. Each
 * has a script in scripts/ that does a round of work and checks it; this file starts them.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";

setDefaultTimeout(60_000);

const SCRIPTS = join(import.meta.dir, "scripts");

/** Where the set-up puts redis-py in a version that Debian has not got. */
const PYTHON_FOLDER = join(import.meta.dir, "../../node_modules/.python");
const WITH_PYTHON_FOLDER = ["env", `PYTHONPATH=${PYTHON_FOLDER}`, "python3"];

interface Client {
  readonly name: string;
  readonly command: readonly string[];
  /** Succeeds where the client is installed. */
  readonly probe: readonly string[];
  /** What to install it with. */
  readonly install: string;
  /** It may be missing in CI too: it can't be had everywhere. */
  readonly optional?: boolean;
}

const NODE_PROBE = (name: string): string[] => [
  "node",
  "-e",
  `require.resolve("${name}", {paths: ["${SCRIPTS}"]})`,
];
const DEBIAN = (packages: string): string => `apt-get install ${packages}`;

/** Debian's package is for Debian's Python, which need not be the first on the PATH. */
const PYTHON =
  ["python3", "/usr/bin/python3"].find((python) => run([python, "-c", "import redis"]).status === 0) ??
  "python3";

const CLIENTS: readonly Client[] = [
  {
    name: "ioredis on Node",
    command: ["node", "ioredis.mjs"],
    probe: NODE_PROBE("ioredis"),
    install: "npm ci",
  },
  {
    name: "ioredis on Bun",
    command: [process.execPath, "ioredis.mjs"],
    probe: NODE_PROBE("ioredis"),
    install: "npm ci",
  },
  {
    name: "node-redis on Node",
    command: ["node", "node-redis.mjs"],
    probe: NODE_PROBE("redis"),
    install: "npm ci",
  },
  {
    name: "node-redis on Bun",
    command: [process.execPath, "node-redis.mjs"],
    probe: NODE_PROBE("redis"),
    install: "npm ci",
  },
  {
    name: "redis-py",
    command: [PYTHON, "redis-py.py"],
    probe: [PYTHON, "-c", "import redis"],
    install: DEBIAN("python3-redis"),
  },
  {
    name: "redis-py with its cache on",
    command: [...WITH_PYTHON_FOLDER, "redis-py-caching.py"],
    probe: [...WITH_PYTHON_FOLDER, "-c", "import redis.cache"],
    install: `python3 -m pip install --target ${PYTHON_FOLDER} 'redis>=5.1'`,
    optional: true,
  },
  {
    name: "redis-rb",
    command: ["ruby", "redis-rb.rb"],
    probe: ["ruby", "-rredis", "-e", "0"],
    install: DEBIAN("ruby-redis"),
  },
  {
    name: "phpredis",
    command: ["php", "phpredis.php"],
    probe: ["php", "-r", "exit(extension_loaded('redis') ? 0 : 1);"],
    install: DEBIAN("php-cli php-redis"),
  },
];

let servers: RedisProcess[];
let rig: Rig;

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

function run(command: readonly string[], input = ""): Outcome {
  const [program, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: SCRIPTS,
    input,
    timeout: 50_000,
  });
  return { status, output: error === undefined ? `${stdout}${stderr}` : error.message };
}

/** A test that is skipped where `probe` fails; in CI everything must be there. */
function testWith(client: Pick<Client, "name" | "probe" | "install" | "optional">, body: () => void): void {
  const there = run(client.probe).status === 0;
  if (there) test(client.name, body);
  else if (process.env["CI"] === "true" && client.optional !== true) {
    test(client.name, () => {
      throw new Error(`${client.name} is not installed: ${client.install}`);
    });
  } else test.skip(`${client.name} (not installed: ${client.install})`, body);
}

describe.each(TRANSPORTS)("real clients (%s)", (io) => {
  beforeAll(async () => {
    servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
    rig = await Rig.start(servers, io);
  });
  afterAll(async () => {
    await rig.dispose();
    await Promise.all(servers.map((server) => server.dispose()));
  });

  beforeEach(async () => {
    const client = await rig.connect();
    expect(await client.call("FLUSHALL")).toBe("OK");
    client.close();
  });

  for (const client of CLIENTS) {
    testWith(client, () => {
      expect(run([...client.command, String(rig.port)])).toEqual({
        status: 0,
        output: "round of work done\n",
      });
    });
  }

  const tools = { probe: ["redis-cli", "--version"], install: DEBIAN("redis-tools") };
  const cli = (...args: string[]): string[] => ["redis-cli", "-p", String(rig.port), ...args];

  testWith({ name: "redis-cli", ...tools }, () => {
    expect(run(cli("SET", "cli:k", "v")).output).toBe("OK\n");
    expect(run(cli("-3", "HGETALL", "cli:none")).output).toBe("\n");
    expect(run(cli("-n", "7", "SET", "cli:k", "of seven")).output).toBe("OK\n");
    expect(run(cli("-x", "SET", "cli:x"), "from stdin").output).toBe("OK\n");
    const session =
      "SELECT 7\nGET cli:k\nSELECT 0\nGET cli:k\nLPUSH cli:k x\nMGET cli:k cli:x\nCLIENT GETNAME\nQUIT\n";
    const answers = run(cli(), session).output;
    expect(answers).toStartWith("OK\nof seven\nOK\nv\nWRONGTYPE");
    expect(answers).toContain("v\nfrom stdin\n");
    const pipe = Array.from({ length: 5000 }, (_, i) => `SET cli:pipe:${i} ${i}\r\n`).join("");
    expect(run(cli("--pipe"), pipe).output).toContain("errors: 0, replies: 5000");
    const keys = run(cli("--scan", "--pattern", "cli:pipe:*"))
      .output.trim()
      .split("\n");
    expect(new Set(keys).size).toBe(5000);
    expect(run(cli("--eval", "/dev/stdin", "cli:k", ",", "x"), "return ARGV[1]").output).toBe("x\n");
    expect(run(cli("--bigkeys")).output).toContain("Biggest string found");
    expect(run(cli("INFO", "server")).output).toContain("redis_version:");
  });

  testWith(
    { name: "redis-benchmark", probe: ["redis-benchmark", "--version"], install: DEBIAN("redis-tools") },
    () => {
      const tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";
      const args = [
        "-p",
        String(rig.port),
        "-n",
        "2000",
        "-c",
        "20",
        "-P",
        "8",
        "-r",
        "1000",
        "-q",
        "-t",
        tests,
      ];
      const { status, output } = run(["redis-benchmark", ...args]);
      expect(status).toBe(0);
      expect(output.match(/requests per second/g)?.length).toBeGreaterThanOrEqual(16);
      expect(output).not.toContain("rror");
    },
  );
});
