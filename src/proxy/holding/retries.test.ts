/** Which requests of a broken connection are sent again, in which order, and when; byte by byte. */
import { beforeEach, expect, test } from "bun:test";
import { slotOf } from "../../routing/slot-of.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import { encodeRequest } from "../../../test/support/resp-client.ts";
import { type QuietConnection, QuietPlane } from "../../../test/support/quiet-plane.ts";

const MAY_HAVE_RUN = /^-ERR Cannot reach server .*the command may have run\r\n$/;

let quiet: QuietPlane;
let nowMs: number;

beforeEach(() => {
  quiet = new QuietPlane(2);
  nowMs = 0;
  Object.assign(quiet.plane.env.clock, { nowMs: () => nowMs });
  // With each map a server is asked for its version, until one has said it.
  applyMap(() => ({}));
  const asked = quiet.servers.find((server) => server.drop() > 0) as QuietConnection;
  const version = "redis_version:7.0.15\r\n";
  asked.receive(Buffer.from(`$${version.length}\r\n${version}\r\n`));
});

/** A key of g1 (slots are dealt out in stripes), in another slot for each `salt`. */
function keyOfG1(salt: string): string {
  for (let i = 0; ; i++) {
    const key = `${salt}${i}`;
    if (slot(key) % 2 === 0) return key;
  }
}

function slot(key: string): number {
  const bytes = Buffer.from(key);
  return slotOf(bytes, 0, bytes.length, 1023);
}

function breakServer(server: QuietConnection): void {
  server.close();
  server.handler.onClose("gone");
  quiet.endTurn();
}

/** The next map; by default another server is g1's primary. */
function applyMap(change: (map: ClusterMap) => Partial<ClusterMap> = withOtherPrimary): void {
  const map = quiet.plane.slots.map as ClusterMap;
  quiet.plane.applyMap({ ...map, ...change(map), version: map.version + 1 });
  quiet.endTurn();
}

function withOtherPrimary(map: ClusterMap): Partial<ClusterMap> {
  const primary = `127.0.0.1:${2000 + map.version}`;
  return { groups: map.groups.map((group) => (group.id === "g1" ? { ...group, primary } : group)) };
}

/** The newest connection; its handshake is answered, and what was sent behind it comes back. */
function greet(): { server: QuietConnection; received: string } {
  const server = quiet.servers.at(-1) as QuietConnection;
  server.drop();
  server.receive(Buffer.from("+PONG\r\n"));
  quiet.endTurn();
  return { server, received: server.take().toString("latin1") };
}

function send(client: QuietConnection, ...requests: readonly (readonly string[])[]): void {
  client.receive(Buffer.concat(requests.map((words) => encodeRequest(words))));
  quiet.endTurn();
}

function wordsOf(...requests: readonly (readonly string[])[]): string {
  return Buffer.concat(requests.map((words) => encodeRequest(words))).toString("latin1");
}

function repliesOf(client: QuietConnection): string {
  return client.take().toString("latin1");
}

test("reads wait for the next primary, in their order, and go before what came later; writes fail", () => {
  const [a, b, d] = ["a", "b", "d"].map(keyOfG1);
  const client = quiet.client();
  send(client, ["GET", a], ["GET", b], ["STRLEN", a]);
  quiet.servers[0].drop();
  const writer = quiet.client();
  send(writer, ["SET", a, "1"]);
  breakServer(quiet.servers[0]);
  expect(repliesOf(writer)).toMatch(MAY_HAVE_RUN);
  expect(repliesOf(client)).toBe("");
  send(client, ["SET", d, "later"]);
  applyMap();
  const { server, received } = greet();
  expect(received).toBe(wordsOf(["GET", a], ["GET", b], ["STRLEN", a], ["SET", d, "later"]));
  server.receive(Buffer.from("$1\r\n1\r\n$-1\r\n:5\r\n+OK\r\n"));
  expect(repliesOf(client)).toBe("$1\r\n1\r\n$-1\r\n:5\r\n+OK\r\n");
  expect(quiet.plane.counters.readsSentAgain).toBe(3);
  expect(quiet.plane.requests.inUse).toBe(0);
});

test("a read must not see what its client has written after it", () => {
  const [a, b] = ["a", "b"].map(keyOfG1);
  const client = quiet.client();
  send(client, ["GET", a], ["GET", b], ["SET", a, "1"], ["GET", a]);
  const other = quiet.client();
  send(other, ["GET", a], ["DBSIZE"], ["FLUSHALL"]);
  breakServer(quiet.servers[0]);
  expect(repliesOf(client)).toMatch(MAY_HAVE_RUN);
  applyMap();
  expect(greet().received).toBe(wordsOf(["GET", b], ["GET", a]));
});

test("not: parts of a transaction, scripts, replies that nobody wants, a client that is gone", () => {
  const a = keyOfG1("a");
  const transaction = quiet.client();
  send(transaction, ["MULTI"], ["GET", a], ["EXEC"]);
  const script = quiet.client();
  send(script, ["EVAL_RO", "return 1", "1", a]);
  const muted = quiet.client();
  send(muted, ["CLIENT", "REPLY", "OFF"], ["GET", a]);
  const gone = quiet.client();
  send(gone, ["GET", a], ["MGET", a, keyOfG1("other")]);
  quiet.servers[0].drop();
  breakServer(quiet.servers[0]);
  gone.handler.onClose("reset");
  expect(repliesOf(transaction)).toContain("the command may have run");
  expect(repliesOf(script)).toMatch(MAY_HAVE_RUN);
  applyMap();
  expect(greet().received).toBe("");
  expect(quiet.plane.requests.inUse).toBe(0);
});

test("parts of a command that is cut by server; when their keys are apart by then, the error", () => {
  const keys = [keyOfG1("a"), keyOfG1("b")];
  const elsewhere = ["x0", "x1", "x2", "x3", "x4"].find((key) => slot(key) % 2 === 1) as string;
  const client = quiet.client();
  send(client, ["MGET", keys[0], elsewhere, keys[1]]);
  quiet.servers[1].receive(Buffer.from("*1\r\n$1\r\nx\r\n"));
  breakServer(quiet.servers[0]);
  expect(repliesOf(client)).toBe("");
  applyMap();
  const { server, received } = greet();
  expect(received).toBe(wordsOf(["MGET", ...keys]));
  server.receive(Buffer.from("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
  expect(repliesOf(client)).toBe("*3\r\n$1\r\na\r\n$1\r\nx\r\n$1\r\nb\r\n");

  send(client, ["MGET", ...keys]);
  breakServer(server);
  applyMap(({ ranges }) => ({
    ranges: ranges.map((range) => (range.from === slot(keys[0]) ? { ...range, group: "g2" } : range)),
  }));
  applyMap();
  greet();
  expect(repliesOf(client)).toMatch(/^-ERR The keys .* are on several servers now\r\n$/);
  expect(quiet.plane.requests.inUse).toBe(0);
});

test("only once: a read that takes its server with it must not take the next one, too", () => {
  const a = keyOfG1("a");
  const client = quiet.client();
  send(client, ["GET", a]);
  breakServer(quiet.servers[0]);
  applyMap();
  const { server, received } = greet();
  expect(received).toBe(wordsOf(["GET", a]));
  const other = quiet.client();
  send(other, ["GET", a]);
  breakServer(server);
  expect(repliesOf(client)).toMatch(MAY_HAVE_RUN);
  expect(repliesOf(other)).toBe("");
  applyMap();
  expect(greet().received).toBe(wordsOf(["GET", a]));
});

test("bounded in time, like all that waits; with no time for holding, the error at once", () => {
  const a = keyOfG1("a");
  const client = quiet.client();
  send(client, ["GET", a]);
  breakServer(quiet.servers[0]);
  nowMs = 9999;
  quiet.plane.holding.check();
  expect(repliesOf(client)).toBe("");
  nowMs = 10_000;
  quiet.plane.holding.check();
  expect(repliesOf(client)).toMatch(/^-ERR Cannot reach server 127.0.0.1:1001 of group g1: gone\r\n$/);

  applyMap((map) => ({ ...withOtherPrimary(map), options: { hold_timeout_ms: 0 } }));
  send(client, ["GET", a]);
  const { server, received } = greet();
  expect(received).toBe(wordsOf(["GET", a]));
  breakServer(server);
  expect(repliesOf(client)).toMatch(MAY_HAVE_RUN);
});

test("a slot that is locked meanwhile: not before the map after that, and at the slot's new home", () => {
  const [a, b] = ["a", "b"].map(keyOfG1);
  const client = quiet.client();
  send(client, ["GET", a]);
  breakServer(quiet.servers[0]);
  const at = slot(a);
  applyMap((map) => ({
    ...withOtherPrimary(map),
    ranges: map.ranges.map((range) =>
      range.from === at ? { ...range, move: { to: "g2", phase: "locked" as const } } : range,
    ),
  }));
  send(quiet.client(), ["GET", b]);
  // Its home is there, and must not be asked while it is locked.
  expect(greet().received).toBe(wordsOf(["GET", b]));
  send(client, ["SET", a, "1"]);
  quiet.servers[1].drop();
  applyMap(({ ranges }) => ({
    ranges: ranges.map((range) => (range.from === at ? { from: at, to: at, group: "g2" } : range)),
  }));
  expect(quiet.servers[1].take().toString()).toBe(wordsOf(["GET", a], ["SET", a, "1"]));
  quiet.servers[1].receive(Buffer.from("$-1\r\n+OK\r\n"));
  expect(repliesOf(client)).toBe("$-1\r\n+OK\r\n");
});

test("what the proxy asks for itself, on a client's behalf or not, is told to who has asked", () => {
  const client = quiet.client();
  send(client, ["ECHO", "here"]);
  const [session] = quiet.plane.clients.all();
  const upstream = quiet.plane.slots.lane(0, 2).groups[0];
  const failures: string[] = [];
  const onFailure = (_request: unknown, text: string): void => void failures.push(text);
  for (const owner of [
    { onReply: () => undefined, onFailure },
    { session, onReply: () => undefined, onFailure },
  ]) {
    upstream.begin(owner, 0);
    upstream.output.append(encodeRequest(["GET", keyOfG1("a")]), 0, wordsOf(["GET", keyOfG1("a")]).length);
  }
  breakServer(quiet.servers[0]);
  expect(failures).toHaveLength(2);
});

test("a reply that was half here: taken again whole, or, when the client has half of it, cut", () => {
  const a = keyOfG1("a");
  const first = quiet.client();
  send(first, ["GET", a]);
  const half = Buffer.from(`$${64 << 10}\r\n${"v".repeat(32 << 10)}`);
  quiet.servers[0].receive(half);
  breakServer(quiet.servers[0]);
  expect(first.closed).toBe(true);

  applyMap();
  const client = quiet.client();
  send(client, ["GET", a]);
  const { server } = greet();
  server.receive(Buffer.from("$-1\r\n"));
  client.drop();
  const elsewhere = ["x0", "x1", "x2", "x3", "x4"].find((key) => slot(key) % 2 === 1) as string;
  // Its turn comes later, so nothing of it has gone to the client.
  send(client, ["GET", elsewhere], ["GET", a]);
  server.receive(half);
  breakServer(server);
  quiet.servers[1].receive(Buffer.from("$1\r\nx\r\n"));
  applyMap();
  const next = greet();
  next.server.receive(Buffer.from("$1\r\nv\r\n"));
  expect(repliesOf(client)).toBe("$1\r\nx\r\n$1\r\nv\r\n");
  expect(quiet.plane.requests.inUse).toBe(0);
});
