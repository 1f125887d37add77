import { describe, expect, test } from "bun:test";
import { decodeReply } from "./reply-decoder.ts";
import { ReplyScanner } from "./reply-scanner.ts";
import * as w from "./reply-writer.ts";

/** The meaning of an encoded reply, which must be one whole reply. */
function meaning(text: string): unknown {
  const bytes = Buffer.alloc(text.length + 64);
  bytes.write(text, "latin1");
  expect(new ReplyScanner().scan(bytes, 0, text.length)).toBe(text.length);
  return decodeReply(bytes, 0, text.length);
}

describe.each([2, 3] as const)("RESP%p", (protocol) => {
  test("maps, nulls and texts", () => {
    const pairs = [
      [w.bulk("a"), w.integer(1)],
      [w.bulk("b"), w.array([w.simple("x"), w.nullReply(protocol)])],
    ] as const;
    const flat = ["a", 1, "b", ["x", null]];
    expect(meaning(w.map(protocol, pairs))).toEqual(
      protocol === 2
        ? flat
        : new Map<unknown, unknown>([
            ["a", 1],
            ["b", ["x", null]],
          ]),
    );
    expect(meaning(w.verbatim(protocol, "text\r\nof \xff bytes"))).toBe("text\r\nof \xff bytes");
    expect(w.nullReply(protocol)).toBe(protocol === 2 ? "$-1\r\n" : "_\r\n");
  });
});

test("an error is one line whatever it says", () => {
  expect(w.errorReply("ERR a\r\nb\nc")).toBe("-ERR a  b c\r\n");
});

test("large integers keep every digit", () => {
  expect(w.integer(9223372036854775807n)).toBe(":9223372036854775807\r\n");
});
