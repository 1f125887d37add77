import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SLACK_BYTES } from "../env/net.ts";
import { INLINE_BYTES_MAX, InlineRequest } from "./inline-request.ts";
import { INCOMPLETE, PROTOCOL_ERROR, RequestScanner } from "./request-scanner.ts";
import { hostileBuffer } from "./testing/buffers.ts";

const allocate = (size: number) => Buffer.alloc(size);

/** The words of a line; null while it is not whole; the error's text. `consumed`: bytes of the line. */
function read(text: string): { words: string[] | null | string; consumed: number } {
  const inline = new InlineRequest(allocate);
  const start = 5;
  const result = inline.read(hostileBuffer(text, start), start, start + text.length);
  if (result === INCOMPLETE) return { words: null, consumed: 0 };
  if (result === PROTOCOL_ERROR) return { words: inline.error, consumed: 0 };
  return { words: wordsOf(inline), consumed: result - start };
}

function wordsOf(inline: InlineRequest): string[] {
  if (inline.length === 0) return [];
  const scanner = new RequestScanner();
  expect(scanner.scan(inline.bytes, 0, inline.length)).toBe(inline.length);
  return Array.from({ length: scanner.argc }, (_, i) =>
    Buffer.from(inline.bytes.subarray(scanner.argStart[i], scanner.argEnd[i])).toString("latin1"),
  );
}

describe("lines", () => {
  test.each([
    ["PING\r\n", ["PING"]],
    ["PING\n", ["PING"]],
    ["\r\n", []],
    ["\n", []],
    ["   \t \r\n", []],
    ["  SET\tk   v  \r\n", ["SET", "k", "v"]],
    ['SET k "a b"\r\n', ["SET", "k", "a b"]],
    ['SET k ""\r\n', ["SET", "k", ""]],
    ["SET k ''\r\n", ["SET", "k", ""]],
    ['SET k "\\x41\\xfF\\n\\r\\t\\b\\a\\"\\\\\\q"\r\n', ["SET", "k", 'A\xff\n\r\t\b\x07"\\q']],
    ['SET k "\\xZZ\\x4"\r\n', ["SET", "k", "xZZx4"]],
    ["SET k 'a\\'b\\n\\\\x'\r\n", ["SET", "k", "a'b\\n\\\\x"]],
    ['SET k a"b c"\r\n', ["SET", "k", "ab c"]],
    ["ECHO \xe9\xff\r\n", ["ECHO", "\xe9\xff"]],
    ["ECHO a\r\r\n", ["ECHO", "a"]],
  ])("%j", (text, words) => {
    expect(read(text)).toEqual({ words, consumed: text.length });
    expect(read(`${text}GET k\r\n`)).toEqual({ words, consumed: text.length });
    for (let cut = 0; cut < text.length; cut++)
      expect(read(text.slice(0, cut))).toEqual({ words: null, consumed: 0 });
  });

  test.each(['SET k "a\r\n', "SET k 'a\r\n", 'SET k "a"b\r\n', "SET k 'a'b\r\n", 'SET k "a\\\r\n', "'\n"])(
    "%j: unbalanced quotes",
    (text) => {
      expect(read(text).words).toBe("unbalanced quotes in request");
    },
  );

  test("a line end behind the end is not seen", () => {
    const bytes = Buffer.from("PING\r\n\r\n");
    const inline = new InlineRequest(allocate);
    expect(inline.read(bytes, 0, 4)).toBe(INCOMPLETE);
    expect(inline.read(bytes, 0, 5)).toBe(INCOMPLETE);
    expect(inline.read(bytes, 0, 6)).toBe(6);
  });
});

describe("long lines", () => {
  test("the longest one, in the most words that fit", () => {
    const text = `${"a ".repeat(INLINE_BYTES_MAX / 2)}\n`;
    expect(read(text)).toEqual({
      words: Array.from({ length: INLINE_BYTES_MAX / 2 }, () => "a"),
      consumed: text.length,
    });
    expect(read(`${"b".repeat(INLINE_BYTES_MAX)}\n`).consumed).toBe(INLINE_BYTES_MAX + 1);
  });

  test("one that is longer, whole or not", () => {
    expect(read("a".repeat(INLINE_BYTES_MAX)).words).toBeNull();
    expect(read("a".repeat(INLINE_BYTES_MAX + 1)).words).toBe("too big inline request");
    expect(read(`${"a".repeat(INLINE_BYTES_MAX + 1)}\n`).words).toBe("too big inline request");
  });
});

describe("random lines", () => {
  const anyByte = fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte));

  /** A word as redis-cli would write it. */
  function quote(word: string): string {
    const escaped = [...word].map((char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
    return `"${escaped.join("")}"`;
  }

  test("whatever bytes a word has, quoted it comes back", () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyByte, { maxLength: 20 }), { minLength: 1, maxLength: 6 }), (lists) => {
        const words = lists.map((list) => list.join(""));
        expect(read(`${words.map(quote).join(" ")}\r\n`).words).toEqual(words);
      }),
    );
  });

  test("rubbish never throws, and a line is taken as a whole or refused", () => {
    const inline = new InlineRequest(allocate);
    const chars = fc.oneof(anyByte, fc.constantFrom(..."\"'\\x \t\r\nab"));
    fc.assert(
      fc.property(fc.array(chars, { maxLength: 80 }), (list) => {
        const text = list.join("");
        const bytes = hostileBuffer(text, 0);
        expect(bytes.length).toBe(text.length + SLACK_BYTES);
        const result = inline.read(bytes, 0, text.length);
        const newline = text.indexOf("\n");
        if (newline < 0) expect(result).toBe(INCOMPLETE);
        else expect([PROTOCOL_ERROR, newline + 1]).toContain(result);
        if (result > 0) wordsOf(inline);
      }),
      { numRuns: 1000 },
    );
  });
});
