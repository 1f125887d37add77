/** Random replies for codec tests: the bytes, and what they mean. */
import fc from "fast-check";

export interface SampleReply {
  /** Latin-1: a character for each byte. */
  readonly text: string;
  /** What `decodeReply` makes of it; errors as {error}. */
  readonly value: unknown;
}

const latin1 = fc
  .array(fc.integer({ min: 0, max: 255 }), { maxLength: 20 })
  .map((list) => String.fromCharCode(...list));
const line = latin1.map((text) => text.replaceAll(/[\r\n]/g, "."));

const scalars = fc.oneof(
  line.map((text) => ({ text: `+${text}\r\n`, value: text })),
  line.map((text) => ({ text: `-${text}\r\n`, value: { error: text } })),
  fc.integer().map((value) => ({ text: `:${value}\r\n`, value })),
  latin1.map((value) => ({ text: `$${value.length}\r\n${value}\r\n`, value })),
  latin1.map((value) => ({ text: `=${value.length + 4}\r\ntxt:${value}\r\n`, value })),
  latin1.map((text) => ({ text: `!${text.length}\r\n${text}\r\n`, value: { error: text } })),
  fc.constantFrom(
    { text: "$-1\r\n", value: null },
    { text: "*-1\r\n", value: null },
    { text: "_\r\n", value: null },
    { text: "#t\r\n", value: true },
    { text: "#f\r\n", value: false },
    { text: ",1.5\r\n", value: 1.5 },
    { text: ",inf\r\n", value: Infinity },
    { text: ",-inf\r\n", value: -Infinity },
    { text: ",nan\r\n", value: NaN },
    { text: "(-12345678901234567890\r\n", value: -12345678901234567890n },
    { text: "$0\r\n\r\n", value: "" },
  ),
);

/** Replies of RESP2 and RESP3, nested up to a few levels. */
export const sampleReplies: fc.Arbitrary<SampleReply> = fc.letrec<{ reply: SampleReply }>((tie) => ({
  reply: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalars,
    fc
      .tuple(fc.constantFrom("*", "~", ">"), fc.array(tie("reply"), { maxLength: 5 }))
      .map(([type, items]) => ({
        text: `${type}${items.length}\r\n${items.map((item) => item.text).join("")}`,
        value: items.map((item) => item.value),
      })),
    fc.array(fc.tuple(fc.integer(), tie("reply")), { maxLength: 4 }).map((pairs) => ({
      text: `%${pairs.length}\r\n${pairs.map(([key, item]) => `:${key}\r\n${item.text}`).join("")}`,
      value: new Map(pairs.map(([key, item]) => [key, item.value])),
    })),
    fc.tuple(scalars, tie("reply")).map(([attribute, item]) => ({
      text: `|1\r\n+about\r\n${attribute.text}${item.text}`,
      value: item.value,
    })),
  ),
})).reply;
