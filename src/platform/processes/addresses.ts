/** Whether an address can be listened on. */
import { createServer } from "node:net";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import { portHolder } from "./port-holder.ts";

/**
 * Listens on the address alone (no SO_REUSEPORT) and stops again. The workers share their port, so a second
 * proxy on the same address would quietly take half of the first one's clients; this is what notices it.
 * @throws ShoalError ADDRESS_IN_USE naming the address and, where it can be found, who has it
 */
export async function checkAddressFree(host: string, port: number): Promise<void> {
  const error = await tryListen(host, port);
  if (error === null) return;
  if (error.code !== "EADDRINUSE") {
    throw new ShoalError("START_FAILED", `Cannot listen on ${host}:${port}: ${errorTextOf(error)}`, error);
  }
  const holder = portHolder(port);
  const who = holder === null ? "another process has it" : `${holder} has it`;
  throw new ShoalError("ADDRESS_IN_USE", `Cannot listen on ${host}:${port}: ${who}`);
}

/**
 * The first `count` ports from `from` on, without those of `taken`, that nobody listens on. @throws
 * ShoalError LIMIT
 */
export async function findFreePorts(
  host: string,
  from: number,
  count: number,
  taken: ReadonlySet<number>,
): Promise<number[]> {
  const ports: number[] = [];
  for (let port = from; ports.length < count; port++) {
    if (port > 65535) {
      throw new ShoalError(
        "LIMIT",
        `Cannot find ${count} free ports from ${from} on: only ${ports.length} are free`,
      );
    }
    if (!taken.has(port) && (await tryListen(host, port)) === null) ports.push(port);
  }
  return ports;
}

function tryListen(host: string, port: number): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
