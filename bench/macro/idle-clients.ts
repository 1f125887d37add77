/**
 * A process that holds connections: `idle-clients.ts PORT COUNT`. Prints one line when each of them has made
 * one request and got its reply; closes them when its input ends.
 */
import { connect } from "node:net";

/** Connections that are being opened at a time: a listener's queue is short. */
const OPENING_MAX = 200;
const REQUEST = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n";

const [port, count] = process.argv.slice(2).map(Number);
let opened = 0;
let served = 0;

function open(): void {
  if (opened === count) return;
  opened++;
  const socket = connect(port, "127.0.0.1", () => socket.write(REQUEST));
  socket.once("data", () => {
    if (++served === count) process.stdout.write("ready\n");
    open();
  });
  socket.once("error", (error) => fail(error.message));
  socket.once("end", () => fail("closed by the other side"));
}

function fail(reason: string): void {
  process.stderr.write(`Cannot hold ${count} connections to port ${port}: ${reason} at number ${served}\n`);
  process.exit(1);
}

for (let i = 0; i < OPENING_MAX; i++) open();
process.stdin.once("end", () => process.exit(0));
process.stdin.resume();
