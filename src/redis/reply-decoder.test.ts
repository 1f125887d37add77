import { describe, expect, test } from "bun:test";
import { type Reply, ReplyDecoder, ReplyError } from "./reply-decoder.ts";

const WIRE =
  "+OK\r\n-ERR no\r\n:-12\r\n$5\r\na\r\n\xffb\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n" +
  "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n-WRONGTYPE y\r\n$-1\r\n*1\r\n*1\r\n*0\r\n+last\r\n";
const VALUES: Reply[] = [
  "OK",
  new ReplyError("ERR no"),
  -12,
  "a\r\n\xffb",
  "",
  null,
  null,
  [],
  [1, ["x", new ReplyError("WRONGTYPE y")], null],
  [[[]]],
  "last",
];

function decode(chunks: readonly Uint8Array[]): Reply[] {
  const replies: Reply[] = [];
  const decoder = new ReplyDecoder((reply) => replies.push(reply));
  for (const chunk of chunks) {
    // Surrounded by other bytes, as in a transport's buffer.
    const padded = new Uint8Array(chunk.length + 10).fill(42);
    padded.set(chunk, 5);
    decoder.push(padded, 5, 5 + chunk.length);
    padded.fill(0);
  }
  return replies;
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

describe("ReplyDecoder", () => {
  test("whole, byte by byte, and at random cuts", () => {
    const wire = bytesOf(WIRE);
    expect(decode([wire])).toEqual(VALUES);
    expect(decode([...wire].map((byte) => Uint8Array.of(byte)))).toEqual(VALUES);
    for (let round = 0; round < 200; round++) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < wire.length;) {
        const end = Math.min(wire.length, at + 1 + Math.floor(Math.random() * 12));
        chunks.push(wire.subarray(at, end));
        at = end;
      }
      // The cuts are the seed: a failure prints them.
      expect({ cuts: chunks.map((chunk) => chunk.length), replies: decode(chunks) }).toMatchObject({
        replies: VALUES,
      });
    }
  });

  test("rubbish and lengths over the limits are errors", () => {
    for (const wire of [
      "hello\r\n",
      "$x\r\n",
      "*99999999999\r\n",
      "$999999999999\r\n",
      "*1\r\n".repeat(40),
    ]) {
      expect(() => decode([bytesOf(wire)])).toThrow("Cannot read a server's reply");
    }
  });
});
