/** What is known of a replica, and when it is known no more. */
import { beforeEach, expect, test } from "bun:test";
import { type QuietConnection, QuietPlane } from "../../../test/support/quiet-plane.ts";
import { NEVER } from "./freshness.ts";
import { OffsetSampler } from "./offset-sampler.ts";
import { ReplicaLink } from "./replica-link.ts";

const REPLICA = "127.0.0.1:2001";
const GROUP = { id: "g1", number: 1, primary: "127.0.0.1:1001", replicas: [REPLICA] };

let quiet: QuietPlane;
let sampler: OffsetSampler;
let nowMs: number;
/** The sampler's connections: to the primary, to the replica. */
let sampling: QuietConnection[];

beforeEach(() => {
  quiet = new QuietPlane(1);
  nowMs = 1000;
  sampling = [];
  Object.assign(quiet.plane.env, { clock: { nowMs: () => nowMs, wallMs: () => nowMs } });
  sampler = new OffsetSampler(quiet.plane, GROUP, () => {});
});

const at = (address: string): QuietConnection => {
  return quiet.servers.findLast(({ remoteAddress }) => remoteAddress === address) as QuietConnection;
};
const follows = (offset: number): string =>
  `*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1001\r\n$9\r\nconnected\r\n:${offset}\r\n`;

/** One round in which both answer, the replica a millisecond after it was asked. */
function round(offset: number, handshake = ""): void {
  sampler.sample(true);
  sampling[0] ??= at(GROUP.primary);
  const primary = `*3\r\n$6\r\nmaster\r\n:${offset}\r\n*0\r\n`;
  sampling[0].receive(Buffer.from(`${handshake}${primary}`));
  nowMs++;
  sampling[1] ??= at(REPLICA);
  sampling[1].receive(Buffer.from(`${handshake}${follows(offset)}`));
}

test("L13: what is known of a replica ends with the connection that told it", () => {
  const [replica] = sampler.replicas;
  round(100, "+PONG\r\n");
  expect([sampler.usable(replica), sampler.freshness.asOfMs(REPLICA)]).toEqual([true, 1000]);
  const { life } = replica;
  round(101);
  expect(replica.life).toBe(life);
  at(REPLICA).handler.onClose("reset");
  expect([sampler.usable(replica), sampler.freshness.asOfMs(REPLICA)]).toEqual([false, NEVER]);
  expect(replica.life).not.toBe(life);
});

test("L13: a connection is read over only when the process behind it is the one that is sampled", () => {
  const [replica] = sampler.replicas;
  round(100, "+PONG\r\n");
  let lost = 0;
  const link = new ReplicaLink(quiet.plane, { ...replica.link.target, database: 7 }, () => lost++);
  link.prepare();
  const connection = at(REPLICA);
  expect(sampler.leadsTo(replica, link)).toBe(false);
  // It stands now; the last answer was given to a question from before.
  nowMs += 10;
  connection.receive(Buffer.from("+OK\r\n+PONG\r\n"));
  expect([link.open, sampler.leadsTo(replica, link)]).toEqual([true, false]);
  nowMs++;
  round(101);
  expect(sampler.leadsTo(replica, link)).toBe(true);
  connection.handler.onClose("reset");
  expect([lost, sampler.leadsTo(replica, link)]).toEqual([1, false]);
});
