import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SLACK_BYTES } from "../env/net.ts";
import { decodeReply, ReplyError } from "./reply-decoder.ts";
import { REPLY_BROKEN, REPLY_INCOMPLETE, ReplyScanner } from "./reply-scanner.ts";
import { hostileBuffer, watched } from "./testing/buffers.ts";
import { sampleReplies } from "./testing/replies.ts";

const RUNS = { numRuns: 500 };

/** Where the reply at the beginning of `text` ends; or what the scanner says instead. */
function scan(text: string): number {
  const start = 9;
  const result = new ReplyScanner().scan(hostileBuffer(text, start), start, start + text.length);
  return result < 0 ? result : result - start;
}

/**
 * Lengths of the replies in `text`, fed in pieces: the elements that are whole are dropped, as upstreams do.
 */
function feed(text: string, cuts: readonly number[]): number[] {
  const scanner = new ReplyScanner();
  const lengths: number[] = [];
  let replyStart = 0;
  let from = 0;
  let fresh = true;
  for (const end of [...new Set(cuts)].sort((a, b) => a - b).concat(text.length)) {
    for (;;) {
      const bytes = hostileBuffer(text.slice(from, end), 3);
      const bytesEnd = 3 + end - from;
      if (fresh && from >= end) break;
      const next = fresh ? scanner.scan(bytes, 3, bytesEnd) : scanner.resume(bytes, 3, bytesEnd);
      if (next === REPLY_BROKEN) return [...lengths, next];
      if (next === REPLY_INCOMPLETE) {
        expect(scanner.position).toBeGreaterThanOrEqual(3);
        from += scanner.position - 3;
        fresh = false;
        break;
      }
      from += next - 3;
      lengths.push(from - replyStart);
      replyStart = from;
      fresh = true;
    }
  }
  return lengths;
}

const WHOLE = [
  "+OK\r\n",
  "+\r\n",
  "-ERR no\r\n",
  ":0\r\n",
  ":-9223372036854775808\r\n",
  "$-1\r\n",
  "$0\r\n\r\n",
  "$5\r\nhello\r\n",
  "$4\r\n\r\n*1\r\n",
  "*-1\r\n",
  "*0\r\n",
  "*2\r\n$1\r\na\r\n$-1\r\n",
  "*3\r\n*0\r\n*2\r\n:1\r\n*-1\r\n+x\r\n",
  "_\r\n",
  "#t\r\n",
  ",3.14\r\n",
  ",-inf\r\n",
  "(12345678901234567890123\r\n",
  "!5\r\nERR x\r\n",
  "=7\r\ntxt:abc\r\n",
  "~2\r\n:1\r\n:2\r\n",
  "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
  "%0\r\n",
  ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
  "|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
  "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n%1\r\n|0\r\n+k\r\n~1\r\n_\r\n",
];

describe("whole replies", () => {
  test.each(WHOLE)("%j", (text) => {
    expect(scan(text)).toBe(text.length);
    expect(scan(`${text}+next\r\n`)).toBe(text.length);
    for (let cut = 0; cut < text.length; cut++)
      expect([cut, scan(text.slice(0, cut))]).toEqual([cut, REPLY_INCOMPLETE]);
    expect(
      feed(
        text + text,
        Array.from({ length: text.length * 2 }, (_, i) => i),
      ),
    ).toEqual([text.length, text.length]);
  });

  test("random ones, in random pieces, and their values", () => {
    fc.assert(
      fc.property(
        fc.array(sampleReplies, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(400)),
        (replies, at) => {
          const text = replies.map((reply) => reply.text).join("");
          const cuts = at.map((cut) => cut % (text.length + 1));
          expect(feed(text, cuts)).toEqual(replies.map((reply) => reply.text.length));
          expect(feed(text, [])).toEqual(replies.map((reply) => reply.text.length));
        },
      ),
      RUNS,
    );
  });

  test("a wide and a deep one", () => {
    const wide = `*100000\r\n${":1\r\n".repeat(100_000)}`;
    expect(scan(wide)).toBe(wide.length);
    const deep = `${"*1\r\n".repeat(100_000)}:1\r\n`;
    expect(scan(deep)).toBe(deep.length);
  });

  test("while a body arrives, `bodyEnd` says where it ends", () => {
    const scanner = new ReplyScanner();
    const text = "*2\r\n:1\r\n$1000000\r\nabc";
    expect(scanner.scan(hostileBuffer(text, 0), 0, text.length)).toBe(REPLY_INCOMPLETE);
    expect(scanner.position).toBe(8);
    expect(scanner.remaining).toBe(1);
    expect(scanner.bodyEnd).toBe(8 + "$1000000\r\n".length + 1_000_000 + 2);
  });
});

describe("what is no reply", () => {
  test.each([
    "PING\r\n",
    "\r\n",
    "$\r\n",
    "$a\r\n",
    "$1a\r\n",
    "*\r\n",
    "*1\r\nx\r\n",
    "$?\r\n",
    `*${"1".repeat(40)}\r\n`,
  ])("%j", (text) => {
    expect(scan(text)).toBe(REPLY_BROKEN);
    expect(
      feed(
        text,
        Array.from({ length: text.length }, (_, i) => i),
      ),
    ).toEqual([REPLY_BROKEN]);
  });

  const rubbish = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc.array(fc.constantFrom(..."*$-+:~>%|!=_#,(0159\r\na"), { maxLength: 60 }).map((list) => list.join("")),
    fc.tuple(sampleReplies, fc.nat(), fc.constantFrom(..."*$-09\r\nx", "")).map(([{ text }, place, byte]) => {
      const at = place % text.length;
      return text.slice(0, at) + byte + text.slice(at + 1);
    }),
  );

  test("rubbish never throws, never reads outside", () => {
    fc.assert(
      fc.property(rubbish, (text) => {
        const { bytes, lowest, highest } = watched(hostileBuffer(text, 16));
        const result = new ReplyScanner().scan(bytes, 16, 16 + text.length);
        if (result >= 0) expect(result).toBeWithin(17, 16 + text.length + 1);
        else expect([REPLY_INCOMPLETE, REPLY_BROKEN]).toContain(result);
        if (text !== "") expect(lowest()).toBeGreaterThanOrEqual(16);
        expect(highest()).toBeLessThan(16 + text.length + SLACK_BYTES);
      }),
      { numRuns: 2000 },
    );
  });

  test("rubbish in pieces is what it is as a whole", () => {
    fc.assert(
      fc.property(rubbish, fc.array(fc.nat(60)), (text, at) => {
        const cuts = at.map((cut) => cut % (text.length + 1));
        expect(feed(text, cuts)).toEqual(feed(text, []));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("decodeReply", () => {
  /** ReplyError as {error}, to compare with samples. */
  function plain(value: unknown): unknown {
    if (value instanceof ReplyError) return { error: value.text };
    if (Array.isArray(value)) return value.map(plain);
    if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, plain(item)]));
    return value;
  }

  test("every type", () => {
    fc.assert(
      fc.property(sampleReplies, ({ text, value }) => {
        expect(plain(decodeReply(hostileBuffer(text, 5), 5, 5 + text.length))).toEqual(value);
      }),
      RUNS,
    );
  });
});
