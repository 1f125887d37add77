// ioredis in Sentinel mode: node sentinel-ioredis.mjs NAME SENTINELPORT…
// Prints the port of the server that it has reached, whenever that is another one; runs until its input ends.
import Redis from "ioredis";

const [name, ...ports] = process.argv.slice(2);
const sentinels = ports.map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const redis = new Redis({ name, sentinels, failoverDetector: true });
redis.on("error", () => {});

process.stdin.on("end", () => process.exit()).resume();
let last = "";
for (;;) {
  const info = await redis.info("server").catch(() => "");
  const port = /tcp_port:(\d+)/.exec(info)?.[1] ?? last;
  if (port !== last) console.log(port);
  last = port;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
