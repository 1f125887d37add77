/** Asking a server or a proxy whether it serves: one PING, as any client would send it. */
import { createConnection } from "node:net";

const PROBE_TIMEOUT_MS = 1000;

/**
 * serving: answered PONG (or wants a password, which is an answer too)
 * loading: a server that still reads its data
 * silent:  no connection, no answer, or another one
 */
export type ProbeResult = "serving" | "loading" | "silent";

export function probe(host: string, port: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    let text = "";
    const finish = (result: ProbeResult): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => finish("silent"));
    socket.on("error", () => finish("silent"));
    socket.on("close", () => resolve("silent"));
    socket.on("connect", () => socket.write("*1\r\n$4\r\nPING\r\n"));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n")) return;
      if (text.startsWith("+PONG") || text.startsWith("-NOAUTH")) finish("serving");
      else finish(text.startsWith("-LOADING") ? "loading" : "silent");
    });
  });
}
