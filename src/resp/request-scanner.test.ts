import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HEADROOM_BYTES, SLACK_BYTES } from "../env/net.ts";
import {
  BULK_BYTES_MAX,
  INCOMPLETE,
  INLINE,
  PROTOCOL_ERROR,
  REQUEST_ARGUMENTS_MAX,
  RequestScanner,
} from "./request-scanner.ts";
import { hostileBuffer, watched } from "./testing/buffers.ts";

/** fast-check prints the seed of a failing run. */
const RUNS = { numRuns: 300 };

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

/** What the scanner found, as words; it must have been left after a whole request. */
function wordsOf(scanner: RequestScanner, bytes: Uint8Array): string[] {
  return Array.from({ length: scanner.argc }, (_, i) =>
    Buffer.from(bytes.subarray(scanner.argStart[i], scanner.argEnd[i])).toString("latin1"),
  );
}

/** Scans text that begins at `start` of a buffer with rubbish around it. */
function scan(text: string, start = 7) {
  const scanner = new RequestScanner();
  const bytes = hostileBuffer(text, start);
  const result = scanner.scan(bytes, start, start + text.length);
  return { scanner, bytes, result, consumed: result < 0 ? result : result - start };
}

/**
 * Feeds a text piece by piece as a session does: what is not whole is kept, moved to the front of another
 * buffer, and looked at again no sooner than `bytesNeeded` says. The requests' words come back, or the
 * error's text.
 */
function feed(text: string, cuts: readonly number[], keepPartial: boolean): (string[] | string)[] {
  const ends = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
  const feeder = new Feeder(text, keepPartial);
  for (const end of [...ends, text.length]) while (feeder.step(end));
  return feeder.found;
}

class Feeder {
  readonly found: (string[] | string)[] = [];
  readonly #scanner = new RequestScanner();
  readonly #text: string;
  readonly #keepPartial: boolean;
  #partial = false;
  #kept = 0;
  #needed = 0;
  #over = false;

  constructor(text: string, keepPartial: boolean) {
    this.#text = text;
    this.#keepPartial = keepPartial;
  }

  /** Looks at what has arrived, the text up to `end`. True: there may be more to see in it. */
  step(end: number): boolean {
    const scanner = this.#scanner;
    const start = this.#partial ? 0 : 11;
    const length = end - this.#kept;
    if (this.#over || length <= 0 || (this.#partial && length < this.#needed)) return false;
    const bytes = hostileBuffer(this.#text.slice(this.#kept, end), start);
    const next = this.#partial
      ? scanner.resume(bytes, start, start + length)
      : scanner.scan(bytes, start, start + length);
    if (next === INCOMPLETE) return this.#incomplete(start, length);
    if (next < 0) {
      this.found.push(next === INLINE ? "inline" : scanner.error);
      this.#over = true;
      return false;
    }
    if (scanner.argc > 0) this.found.push(wordsOf(scanner, bytes));
    this.#kept += next - start;
    this.#partial = false;
    return true;
  }

  #incomplete(start: number, length: number): false {
    this.#needed = this.#scanner.bytesNeeded;
    expect(this.#needed).toBeGreaterThan(length);
    if (this.#keepPartial && !this.#partial) this.#scanner.rebase(start, 0);
    this.#partial = this.#keepPartial;
    return false;
  }
}

const word = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }).map((text) => Buffer.from(text).toString("latin1")),
  fc.constantFrom("", "\r\n", "*1\r\n", "$3\r\n", "0", "x".repeat(300)),
);
const requests = fc.array(fc.array(word, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 });
const cuts = fc.array(fc.nat(5000), { maxLength: 12 });

describe("whole requests", () => {
  test.each([[["PING"]], [["SET", "k", "v"]], [["SET", "", "\r\n$3\r\n"]], [["ECHO", "\x00\xff"]]])(
    "%j",
    (words) => {
      const { scanner, bytes, consumed } = scan(encode(words));
      expect(consumed).toBe(encode(words).length);
      expect(wordsOf(scanner, bytes)).toEqual(words);
    },
  );

  test.each(["*0\r\n", "*-1\r\n", "*-99\r\n"])("%j is no request and no mistake", (text) => {
    const { scanner, consumed } = scan(text);
    expect(consumed).toBe(text.length);
    expect(scanner.argc).toBe(0);
  });

  test("the two bytes behind a header's number and behind an argument are skipped unseen", () => {
    const { scanner, bytes, consumed } = scan("*2\rX$4\rYECHOab$1\r\nzcd");
    expect(consumed).toBe(21);
    expect(wordsOf(scanner, bytes)).toEqual(["ECHO", "z"]);
  });

  test("an argument of just the longest length is waited for", () => {
    const { scanner, result } = scan(`*2\r\n$4\r\nECHO\r\n$${BULK_BYTES_MAX}\r\n`);
    expect(result).toBe(INCOMPLETE);
    expect(scanner.pendingBulkBytes).toBe(BULK_BYTES_MAX);
    expect(scanner.argsSeen).toBe(1);
    expect(scanner.bytesNeeded).toBe(
      `*2\r\n$4\r\nECHO\r\n$${BULK_BYTES_MAX}\r\n`.length + BULK_BYTES_MAX + 2,
    );
  });

  test("more arguments than the arrays had room for, and fewer again", () => {
    const many = Array.from({ length: 100_000 }, (_, i) => String(i));
    const scanner = new RequestScanner();
    for (const words of [many, ["GET", "k"]]) {
      const text = encode(words);
      const bytes = hostileBuffer(text, 0);
      expect(scanner.scan(bytes, 0, text.length)).toBe(text.length);
      expect(wordsOf(scanner, bytes)).toEqual(words);
    }
    scanner.shrink();
    expect(scanner.argStart.length).toBeLessThan(1000);
  });

  test("random requests, end to end", () => {
    fc.assert(
      fc.property(requests, (list) => {
        expect(feed(list.map(encode).join(""), [], false)).toEqual(list);
      }),
      RUNS,
    );
  });
});

const TEXTS = [
  encode(["SET", "key", "value"]),
  encode(["ECHO", "\r\n*1\r\n", ""]),
  `${encode(["A"])}*0\r\n*-1\r\n${encode(["BC", "d"])}`,
  encode(["x".repeat(120), "y"]),
];

describe("pieces", () => {
  test.each(TEXTS)("%j, cut at every place", (text) => {
    const whole = feed(text, [], false);
    for (let cut = 0; cut <= text.length; cut++) {
      expect([cut, ...feed(text, [cut], true)]).toEqual([cut, ...whole]);
      expect([cut, ...feed(text, [cut], false)]).toEqual([cut, ...whole]);
    }
  });

  test.each(TEXTS)("%j, byte by byte", (text) => {
    const every = Array.from({ length: text.length }, (_, i) => i);
    expect(feed(text, every, true)).toEqual(feed(text, [], false));
    expect(feed(text, every, false)).toEqual(feed(text, [], false));
  });

  test("random requests at random cuts", () => {
    fc.assert(
      fc.property(requests, cuts, fc.boolean(), (list, at, keepPartial) => {
        expect(feed(list.map(encode).join(""), at, keepPartial)).toEqual(list);
      }),
      RUNS,
    );
  });

  test("a long request is scanned once, however it arrives", () => {
    const words = Array.from({ length: 2000 }, (_, i) => `word ${i}`);
    const text = encode(words);
    const scanner = new RequestScanner();
    let reads = 0;
    let scanned = scanner.scan(hostileBuffer(text.slice(0, 10), 0), 0, 10);
    for (let end = 10; scanned < 0; end = Math.min(text.length, end + 50)) {
      const counting = watched(hostileBuffer(text.slice(0, end), 0));
      scanned = scanner.resume(counting.bytes, 0, end);
      reads += counting.reads();
    }
    expect(wordsOf(scanner, hostileBuffer(text, 0))).toEqual(words);
    expect(reads).toBeLessThan(text.length * 2);
  });

  test("bytesNeeded never asks for more than the request has", () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), fc.nat(400), (words, cut) => {
        const text = encode(words);
        const { scanner, result } = scan(text.slice(0, cut % text.length));
        expect(result).toBe(INCOMPLETE);
        expect(scanner.bytesNeeded).toBeLessThanOrEqual(text.length);
        expect(scanner.bytesNeeded).toBeGreaterThan(cut % text.length);
      }),
      RUNS,
    );
  });
});

describe("mistakes, in Redis's words", () => {
  const LENGTH = "invalid multibulk length";
  const BULK = "invalid bulk length";
  test.each([
    ["*a\r\n", LENGTH],
    ["*\r\n", LENGTH],
    ["*-\r\n", LENGTH],
    ["*-0\r\n", LENGTH],
    ["*--1\r\n", LENGTH],
    ["*+1\r\n", LENGTH],
    ["*01\r\n", LENGTH],
    ["*00\r\n", LENGTH],
    ["*1a\r\n", LENGTH],
    ["*1.0\r\n", LENGTH],
    [`*${REQUEST_ARGUMENTS_MAX + 1}\r\n`, LENGTH],
    ["*99999999999999999999\r\n", LENGTH],
    ["*1\r\nPING\r\n", "expected '$', got 'P'"],
    ["*1\r\n*1\r\n", "expected '$', got '*'"],
    ["*2\r\n$1\r\na\r\n\xff", "expected '$', got '\xff'"],
    ["*1\r\n$\r\n", BULK],
    ["*1\r\n$-1\r\n", BULK],
    ["*1\r\n$a\r\n", BULK],
    ["*1\r\n$1a\r\n", BULK],
    ["*1\r\n$01\r\n", BULK],
    ["*1\r\n$00\r\n", BULK],
    [`*1\r\n$${BULK_BYTES_MAX + 1}\r\n`, BULK],
    ["*1\r\n$99999999999999999999\r\n", BULK],
  ])("%j: %s", (text, error) => {
    const { scanner, result } = scan(text);
    expect(result).toBe(PROTOCOL_ERROR);
    expect(scanner.error).toBe(error);
    for (let cut = 1; cut < text.length; cut++) {
      // Cut short it is the same mistake, or not known to be one yet.
      const part = scan(text.slice(0, cut));
      if (part.result === PROTOCOL_ERROR) expect(part.scanner.error).toBe(error);
      else expect(part.result).toBe(INCOMPLETE);
    }
    // Byte by byte it is not looked at before a request of that many arguments could be there.
    const padded = text + "x".repeat(20);
    const every = Array.from({ length: padded.length }, (_, i) => i);
    expect(feed(padded, every, true)).toEqual([error]);
    expect(feed(padded, every, false)).toEqual([error]);
  });

  test("anything else that does not begin with * is an inline request", () => {
    for (const text of ["PING\r\n", "\r\n", "$1\r\n", " *1\r\n", "\0"])
      expect(scan(text).result).toBe(INLINE);
  });

  test("nothing is not a request yet", () => {
    expect(scan("").result).toBe(INCOMPLETE);
  });
});

describe("rubbish", () => {
  const rubbish = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc.array(fc.constantFrom(..."*$-0159\r\nabPING"), { maxLength: 60 }).map((list) => list.join("")),
    fc
      .tuple(
        fc.array(word, { minLength: 1, maxLength: 4 }),
        fc.nat(200),
        fc.constantFrom(..."*$-09\r\nx", ""),
      )
      .map(([words, at, byte]) => {
        const text = encode(words);
        return text.slice(0, at % text.length) + byte + text.slice((at % text.length) + 1);
      }),
  );

  test("never throws, never reads outside, and gets somewhere or says why not", () => {
    fc.assert(
      fc.property(rubbish, (text) => {
        const start = 32;
        const { bytes, lowest, highest } = watched(hostileBuffer(text, start));
        const scanner = new RequestScanner();
        const result = scanner.scan(bytes, start, start + text.length);
        if (result >= 0) expect(result).toBeWithin(start + 1, start + text.length + 1);
        else expect([INCOMPLETE, PROTOCOL_ERROR, INLINE]).toContain(result);
        if (result === PROTOCOL_ERROR) expect(scanner.error).not.toBe("");
        if (result === INCOMPLETE) expect(scanner.bytesNeeded).toBeGreaterThan(text.length);
        if (text !== "") expect(lowest()).toBeGreaterThanOrEqual(start);
        expect(highest()).toBeLessThan(start + text.length + SLACK_BYTES);
      }),
      { numRuns: 2000 },
    );
  });

  test("what stands behind the end changes nothing", () => {
    fc.assert(
      fc.property(rubbish, (text) => {
        const results = ["0", "9", "\r", "\n", "$", "\xff"].map((fill) => {
          const scanner = new RequestScanner();
          const bytes = Buffer.from(text + fill.repeat(SLACK_BYTES), "latin1");
          const result = scanner.scan(bytes, 0, text.length);
          return [
            result,
            result === PROTOCOL_ERROR ? scanner.error : "",
            result >= 0 ? wordsOf(scanner, bytes) : [],
          ];
        });
        for (const result of results) expect(result).toEqual(results[0]);
      }),
      { numRuns: 1000 },
    );
  });

  test("the same in pieces as whole", () => {
    fc.assert(
      fc.property(rubbish, cuts, (text, at) => {
        const whole = feed(text, [], false);
        const pieces = feed(text, at, true);
        // A mistake is seen when as many bytes are there as the request must have.
        const unseen = pieces.length < whole.length && typeof whole.at(-1) === "string";
        expect(pieces).toEqual(unseen ? whole.slice(0, -1) : whole);
      }),
      { numRuns: 1000 },
    );
  });
});

test("a request in pieces that is resumed again ends at the same place", () => {
  const text = `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$30\r\n${"v".repeat(30)}\r\n`;
  const bytes = Buffer.from(text + " ".repeat(SLACK_BYTES), "latin1");
  const scanner = new RequestScanner();
  expect(scanner.scan(bytes, 0, text.length - 10)).toBe(INCOMPLETE);
  for (let i = 0; i < 3; i++) expect(scanner.resume(bytes, 0, text.length)).toBe(text.length);
  expect(wordsOf(scanner, bytes)).toEqual(["SET", "k", "v".repeat(30)]);
});

test("a header fits the slack, and the slack the headroom", () => {
  expect(SLACK_BYTES).toBeGreaterThan("$4294967296\r\n".length * 2);
  expect(HEADROOM_BYTES).toBeGreaterThan(SLACK_BYTES);
});
