/** One client at the Sentinel face, without a socket: requests in any pieces, passwords, limits. */
import { expect, test } from "bun:test";
import { readLatin1 } from "../../base/bytes.ts";
import { OutputQueue } from "../../base/output-queue.ts";
import type { Connection } from "../../env/net.ts";
import { PortableNet } from "../../platform/portable/portable-net.ts";
import { systemTimers } from "../../platform/timers.ts";
import { InlineRequest } from "../../resp/inline-request.ts";
import { encodeRequest } from "../../../test/support/resp-client.ts";
import type { QuorumView, SentinelDesk } from "./sentinel-desk.ts";
import type { SentinelMaster } from "./sentinel-master.ts";
import {
  OUTPUT_BYTES_MAX,
  OUTPUT_PAUSE_BYTES,
  REQUEST_BYTES_MAX,
  SentinelSession,
} from "./sentinel-session.ts";
import { SUBSCRIPTIONS_MAX } from "./sentinel-subscriptions.ts";

const { blocks } = new PortableNet(systemTimers);

const MASTER: SentinelMaster = {
  name: "shoal",
  addr: "10.0.0.1:19000",
  runId: "",
  down: false,
  agreedDown: false,
  switching: false,
  replicas: [],
};

class Rig {
  readonly session: SentinelSession;
  readonly output = new OutputQueue(blocks, 4096);
  state = "open";
  reading = true;
  quorum: QuorumView = { usable: 3, needed: 2, obstacle: null };

  constructor(password = "") {
    const desk: SentinelDesk = {
      password,
      runId: "0".repeat(40),
      pid: 1,
      port: 26379,
      version: "0",
      redisVersion: "7.0.15",
      clients: 1,
      masters: () => [MASTER],
      peers: () => [],
      settings: () => ({ downAfterMs: 3000, quorum: 2, otherSentinels: 0, epoch: 1 }),
      quorum: () => this.quorum,
    };
    const connection = {
      output: this.output,
      remoteAddress: "::ffff:10.0.0.9:5555",
      localAddress: "",
      flushSoon: () => {},
      callOnDrain: () => {},
      setReading: (reading: boolean) => (this.reading = reading),
      close: () => (this.state = "closed"),
      closeAfterFlush: () => (this.state = "closing"),
    } as unknown as Connection;
    const inline = new InlineRequest((size) => Buffer.alloc(size));
    const owner = { desk, inline, onSubscriptions: () => {}, onGone: () => {} };
    this.session = new SentinelSession(connection, owner, 7);
  }

  /** Sends bytes and takes what is answered. */
  send(bytes: string | Uint8Array): string {
    const all = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
    this.session.onData(all, 0, all.length);
    return this.take();
  }

  ask(...words: string[]): string {
    return this.send(encodeRequest(words));
  }

  take(): string {
    let text = "";
    while (this.output.length > 0) {
      const { headBlock, headStart, headEnd } = this.output;
      text += readLatin1(headBlock.bytes, headStart, headEnd);
      this.output.sent(headEnd - headStart);
    }
    return text;
  }
}

const ADDRESS = "*2\r\n$8\r\n10.0.0.1\r\n$5\r\n19000\r\n";

test("requests are answered in order, however they arrive", () => {
  const words = ["SENTINEL", "get-master-addr-by-name", "shoal"];
  const bytes = Buffer.concat([encodeRequest(["PING"]), encodeRequest(words), Buffer.from("PING x\r\n\r\n")]);
  const expected = `+PONG\r\n${ADDRESS}$1\r\nx\r\n`;
  expect(new Rig().send(bytes)).toBe(expected);
  for (const size of [1, 2, 3, 7, 20]) {
    const rig = new Rig();
    let answered = "";
    for (let at = 0; at < bytes.length; at += size) answered += rig.send(bytes.subarray(at, at + size));
    expect([size, answered]).toEqual([size, expected]);
  }
  expect(new Rig().session.host).toBe("10.0.0.9");
});

test("with a password nothing is told to who has not shown it", () => {
  const rig = new Rig("secret");
  const locked = "-NOAUTH Authentication required.\r\n";
  for (const words of [["PING"], ["SENTINEL", "masters"], ["SUBSCRIBE", "+switch-master"], ["NOPE"]])
    expect(rig.ask(...words)).toBe(locked);
  expect(rig.ask("HELLO", "3")).toMatch(/^-NOAUTH HELLO must be called/);
  for (const words of [
    ["AUTH", "wrong"],
    ["AUTH", "admin", "secret"],
    ["HELLO", "3", "AUTH", "default", "no"],
  ])
    expect(rig.ask(...words)).toMatch(/^-WRONGPASS /);
  expect(rig.ask("PING")).toBe(locked);
  expect(rig.ask("AUTH", "secret")).toBe("+OK\r\n");
  expect(rig.ask("SENTINEL", "get-master-addr-by-name", "shoal")).toBe(ADDRESS);
  expect(rig.ask("RESET")).toBe("+RESET\r\n");
  expect(rig.ask("PING")).toBe(locked);
  expect(rig.ask("HELLO", "3", "AUTH", "default", "secret")).toMatch(/^%6\r\n/);
  expect(rig.ask("SENTINEL", "get-master-addr-by-name", "nobody")).toBe("_\r\n");
});

test("nothing can be changed; CKQUORUM says what stands in the way", () => {
  const rig = new Rig();
  for (const [word, instead] of [
    ["failover", "shoal failover"],
    ["monitor", "shoal group add"],
    ["remove", "shoal group remove"],
    ["set", "controller.toml"],
    ["reset", "shoal server remove"],
  ]) {
    expect(rig.ask("SENTINEL", word, "shoal")).toContain(instead);
  }
  expect(rig.ask("SENTINEL", "config", "set", "a", "b")).toMatch(/^-ERR Cannot run SENTINEL CONFIG SET/);
  expect(rig.ask("SENTINEL", "ckquorum", "shoal")).toMatch(/^\+OK 3 usable Sentinels\./);
  rig.quorum = { usable: 1, needed: 2, obstacle: null };
  expect(rig.ask("SENTINEL", "ckquorum", "shoal")).toMatch(/^-NOQUORUM 1 usable Sentinels\. Not enough/);
  rig.quorum = { usable: 3, needed: 2, obstacle: "No controller leads" };
  expect(rig.ask("SENTINEL", "ckquorum", "shoal")).toBe(
    "-NOQUORUM 3 usable Sentinels. No controller leads\r\n",
  );
});

test("requests and subscriptions are bounded", () => {
  const rig = new Rig();
  expect(rig.send(`*2\r\n$4\r\nPING\r\n$${REQUEST_BYTES_MAX * 2}\r\n${"x".repeat(REQUEST_BYTES_MAX)}`)).toBe(
    "-ERR Protocol error: too big request\r\n",
  );
  expect(rig.state).toBe("closing");
  expect(new Rig().send("*1\r\n+PING\r\n")).toBe("-ERR Protocol error: expected '$', got '+'\r\n");
  const many = new Rig();
  for (let i = 0; i < SUBSCRIPTIONS_MAX; i++) many.ask("SUBSCRIBE", `c${i}`);
  expect(many.ask("PSUBSCRIBE", "one-more")).toMatch(/^-ERR Cannot subscribe to more than/);
  expect(many.ask("SUBSCRIBE", "c0")).toMatch(/^\*3\r\n\$9\r\nsubscribe/);
});

test("who does not read is not read, and closed when what it is told piles up", () => {
  const rig = new Rig();
  const echo = encodeRequest(["PING", "x".repeat(60_000)]);
  const bytes = Buffer.concat(Array.from({ length: 40 }, () => echo));
  rig.session.onData(bytes, 0, bytes.length);
  expect(rig.reading).toBe(false);
  expect(rig.output.length).toBeLessThan(OUTPUT_PAUSE_BYTES + 70_000);
  let answered = 0;
  while (rig.output.length > 0) {
    answered += rig.take().length;
    rig.session.onDrain();
  }
  expect(answered).toBe(40 * 60_010);
  expect(rig.reading).toBe(true);
  rig.ask("PSUBSCRIBE", "*");
  const message = { channel: "+switch-master", text: "x".repeat(1 << 20) };
  for (let i = 0; rig.state === "open" && i < OUTPUT_BYTES_MAX >> 19; i++) rig.session.tell([message]);
  expect(rig.state).toBe("closed");
});
