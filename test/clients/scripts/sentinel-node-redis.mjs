// node-redis in Sentinel mode: node sentinel-node-redis.mjs NAME SENTINELPORT…
// Prints the port of the server that it has reached, whenever that is another one; runs until its input ends.
import { createSentinel } from "redis";

const [name, ...ports] = process.argv.slice(2);
const sentinelRootNodes = ports.map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const sentinel = createSentinel({ name, sentinelRootNodes });
sentinel.on("error", () => {});
await sentinel.connect();

process.stdin.on("end", () => process.exit()).resume();
let last = "";
for (;;) {
  const info = await sentinel.use((client) => client.info("server")).catch(() => "");
  const port = /tcp_port:(\d+)/.exec(info)?.[1] ?? last;
  if (port !== last) console.log(port);
  last = port;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
