/** Fills a server with the keys that redis-benchmark will ask for, so that every GET finds a value. */
import { connect } from "node:net";
import { KEYS, VALUE_BYTES } from "./load.ts";

/** "+OK\r\n" */
const REPLY_BYTES = 5;

/** Sets all keys, `key:000000000000` and on. @throws Error when the connection ends before all are set */
export function fillKeyspace(port: number): Promise<void> {
  const value = "x".repeat(VALUE_BYTES);
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let received = 0;
    socket.on("data", (chunk) => {
      received += chunk.length;
      if (received < KEYS * REPLY_BYTES) return;
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
    socket.once("end", () => reject(new Error(`Cannot fill the server on port ${port}: it closed`)));
    const requests: string[] = [];
    for (let i = 0; i < KEYS; i++) {
      const key = `key:${String(i).padStart(12, "0")}`;
      requests.push(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`);
    }
    socket.write(requests.join(""));
  });
}
