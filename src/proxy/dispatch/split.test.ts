/** Cut and put together again: what servers get and what the client gets, against a model of one server. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type QuietConnection, QuietPlane } from "../../../test/support/quiet-plane.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";
import { slotOf } from "../../routing/slot-of.ts";

/** Sizes on both sides of the slab, of the block classes, and of what goes on as a LargeReply. */
const VALUE_BYTES = [0, 1, 9, 10, 64, 99, 100, 1000, 4075, 16_383, 16_384, 20_000, 70_000];

type Store = ReadonlyMap<string, string>;

function request(words: readonly string[]): Buffer {
  const text = words.map((word) => `$${Buffer.byteLength(word, "latin1")}\r\n${word}\r\n`).join("");
  return Buffer.from(`*${words.length}\r\n${text}`, "latin1");
}

/** What a server answers to MGET. */
function values(store: Store, keys: readonly string[], missing: string): Buffer {
  const text = keys
    .map((key) => store.get(key))
    .map((value) => (value === undefined ? missing : `$${value.length}\r\n${value}\r\n`));
  return Buffer.from(`*${keys.length}\r\n${text.join("")}`, "latin1");
}

/** The requests in `bytes`, as words. */
function requestsIn(bytes: Buffer): string[][] {
  const scanner = new RequestScanner();
  const requests: string[][] = [];
  for (let at = 0; at < bytes.length;) {
    at = scanner.scan(bytes, at, bytes.length);
    expect(at).toBeGreaterThan(0);
    const words = Array.from({ length: scanner.argc }, (_, i) =>
      bytes.toString("latin1", scanner.argStart[i], scanner.argEnd[i]),
    );
    requests.push(words);
  }
  return requests;
}

function groupOf(key: string, groups: number): number {
  return slotOf(Buffer.from(key, "latin1"), 0, key.length, 1023) % groups;
}

/** Hands a reply over in pieces that end at `cuts` (shares of its length). */
function receiveCut(connection: QuietConnection, reply: Buffer, cuts: readonly number[]): void {
  const ends = cuts.map((cut) => Math.floor(cut * reply.length)).sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, reply.length]) {
    if (end > start) connection.receive(reply.subarray(start, end));
    start = Math.max(start, end);
  }
}

const key = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((number) => `k${number}`),
  fc.string({ unit: fc.constantFrom("a", "{", "}", "\r", "\n", "$", "\xff"), maxLength: 12 }),
);
const value = fc
  .tuple(fc.constantFrom(...VALUE_BYTES), fc.constantFrom("x", "$", "\r\n", "*1\r\n$-1\r\n"))
  .map(([size, unit]) => unit.repeat(Math.ceil(size / unit.length)).slice(0, size));
const cuts = fc.array(fc.nat(999), { maxLength: 3 }).map((list) => list.map((share) => share / 1000));

test("MGET over any groups answers as one server does, however the parts arrive", () => {
  const scenario = fc.record({
    groups: fc.integer({ min: 1, max: 5 }),
    store: fc.uniqueArray(fc.tuple(key, value), {
      selector: ([name]) => name,
      maxLength: 12,
      size: "max",
    }),
    calls: fc.array(fc.array(key, { minLength: 1, maxLength: 40, size: "max" }), {
      minLength: 1,
      maxLength: 3,
    }),
    missing: fc.constantFrom("$-1\r\n", "_\r\n"),
    order: fc.integer({ min: 0, max: 4 }),
    cuts,
  });
  const property = fc.property(scenario, ({ groups, store: entries, calls, missing, order, cuts: at }) => {
    const store: Store = new Map(entries);
    const rig = new QuietPlane(groups);
    const client = rig.client();
    client.receive(Buffer.concat(calls.map((keys) => request(["MGET", ...keys]))));
    const replies = rig.servers.map((server, group) => {
      const asked = requestsIn(server.take());
      for (const [name, ...keys] of asked) {
        expect(name).toBe("MGET");
        expect(new Set(keys.map((each) => groupOf(each, groups)))).toEqual(new Set([group]));
      }
      return Buffer.concat(asked.map(([, ...keys]) => values(store, keys, missing)));
    });
    for (let i = 0; i < groups; i++) {
      const group = (i + order) % groups;
      receiveCut(rig.servers[group], replies[group], at);
      rig.endTurn();
    }
    const expected = Buffer.concat(calls.map((keys) => values(store, keys, missing)));
    expect(client.take().equals(expected)).toBe(true);
    expect(rig.plane.requests.inUse).toBe(0);
  });
  fc.assert(property);
});

test("MSET is cut with its values, and every word gets to its server once", () => {
  const pairs = fc.uniqueArray(fc.tuple(key, value), {
    selector: ([name]) => name,
    minLength: 1,
    maxLength: 30,
  });
  const property = fc.property(fc.integer({ min: 1, max: 5 }), pairs, (groups, entries) => {
    const rig = new QuietPlane(groups);
    const client = rig.client();
    client.receive(request(["MSET", ...entries.flat()]));
    const stored: [string, string][] = [];
    for (const [group, server] of rig.servers.entries()) {
      for (const [name, ...words] of requestsIn(server.take())) {
        expect(name).toBe("MSET");
        for (let i = 0; i < words.length; i += 2) {
          expect(groupOf(words[i], groups)).toBe(group);
          stored.push([words[i], words[i + 1]]);
        }
        server.receive(Buffer.from("+OK\r\n"));
      }
    }
    expect(new Map(stored)).toEqual(new Map(entries));
    expect(stored.length).toBe(entries.length);
    expect(client.take().toString()).toBe("+OK\r\n");
  });
  fc.assert(property);
});

test("a part that is an error, too short or no array is the answer to all of it", () => {
  const tooFew = "-ERR Group g2 answered mget with too few elements\r\n";
  // How many keys the second group is asked for, what it answers, what the client gets.
  const answers: [number, string, string][] = [
    [3, "-WRONGTYPE no\r\n", "-WRONGTYPE no\r\n"],
    [3, "!8\r\nERR text\r\n", "-ERR text\r\n"],
    [2, "*1\r\n$1\r\nv\r\n", tooFew],
    [1, "*0\r\n", tooFew],
    [1, "*-1\r\n", tooFew],
    [1, "$9\r\n$99\r\n$99\r\r\n", tooFew],
    [1, "+OK\r\n", tooFew],
  ];
  const all = Array.from({ length: 40 }, (_, i) => `k${i}`);
  for (const [count, part, expected] of answers) {
    const rig = new QuietPlane(2);
    const client = rig.client();
    const own = all.filter((each) => groupOf(each, 2) === 0);
    const others = all.filter((each) => groupOf(each, 2) === 1).slice(0, count);
    client.receive(request(["MGET", ...own, ...others]));
    rig.servers[1].receive(Buffer.from(part));
    expect(client.take().length).toBe(0);
    rig.servers[0].receive(values(new Map(), own, "$-1\r\n"));
    expect(client.take().toString()).toBe(expected);
    expect(rig.plane.requests.inUse).toBe(0);
  }
});

test("the servers of one call are told apart, whatever the call before had", () => {
  const rig = new QuietPlane(4);
  const client = rig.client();
  const keyOf = (group: number): string => {
    for (let i = 0; ; i++) if (groupOf(`k${i}`, 4) === group) return `k${i}`;
  };
  for (const groups of [
    [0, 1, 2],
    [2, 1],
    [3, 0, 2, 1],
    [1, 3],
  ]) {
    client.receive(request(["MGET", ...groups.map(keyOf)]));
    for (const [group, server] of rig.servers.entries()) {
      const asked = requestsIn(server.take());
      expect(asked).toEqual(groups.includes(group) ? [["MGET", keyOf(group)]] : []);
      if (asked.length > 0) server.receive(Buffer.from(`*1\r\n$1\r\n${group}\r\n`));
    }
    const text = groups.map((group) => `$1\r\n${group}\r\n`).join("");
    expect(client.take().toString()).toBe(`*${groups.length}\r\n${text}`);
  }
});
