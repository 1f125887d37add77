/** Whatever is sent, answered and broken in whatever order: what comes back is what had no answer. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Block, BlockPool } from "../../base/block-pool.ts";
import { OutputQueue } from "../../base/output-queue.ts";
import { KEPT_BYTES_MAX, SentRequests } from "./sent-requests.ts";

const BLOCK_BYTES = 4 << 10;

function pieceOf(number: number, size: number): Buffer {
  const value = `${number}:`.padEnd(size, "v");
  return Buffer.from(`*2\r\n$3\r\nGET\r\n$${value.length}\r\n${value}\r\n`, "latin1");
}

/** A connection as the upstream and the transport treat it, and a list as the model. */
class Rig {
  readonly out = new Set<Block>();
  readonly pool = new BlockPool((size) => ({ bytes: Buffer.alloc(size, 0xee), address: 0 }));
  readonly output: OutputQueue;
  readonly progress = { enqueued: 0, answered: 0 };
  readonly sent: SentRequests;
  readonly model: Buffer[] = [];
  /** Where each request ends in the stream, and how far that has been sent. */
  readonly #ends: number[] = [];
  #sentBytes = 0;

  constructor() {
    const take = this.pool.take.bind(this.pool);
    const give = this.pool.give.bind(this.pool);
    this.pool.take = (size) => {
      const block = take(size);
      this.out.add(block);
      return block;
    };
    this.pool.give = (block) => {
      expect(this.out.delete(block)).toBe(true);
      give(block);
    };
    this.output = new OutputQueue(this.pool, BLOCK_BYTES);
    this.sent = new SentRequests(this.pool, this.output, this.progress);
  }

  request(size: number, adopted: boolean): void {
    const bytes = pieceOf(this.progress.enqueued++, size);
    this.model.push(adopted ? Buffer.from("*1\r\n$8\r\nNOT-KEPT\r\n") : bytes);
    this.#ends.push((this.#ends.at(-1) ?? 0) + bytes.length);
    if (!adopted) {
      this.output.append(bytes, 0, bytes.length);
      return;
    }
    const block = this.pool.take(bytes.length);
    bytes.copy(block.bytes);
    this.output.adopt(block, 0, bytes.length);
  }

  /** Sends up to `most` bytes, as a socket that takes no more at the moment. */
  send(most: number): void {
    for (let left = most; left > 0 && this.output.length > 0;) {
      const size = Math.min(left, this.output.headEnd - this.output.headStart);
      this.output.sent(size);
      this.#sentBytes += size;
      left -= size;
    }
  }

  answer(most: number): void {
    const { progress } = this;
    for (let left = most; left > 0 && this.#ends[progress.answered] <= this.#sentBytes; left--)
      progress.answered++;
    if (progress.answered === progress.enqueued) this.sent.idle();
  }

  /** The connection breaks: what has no answer, as texts; null when that is not known. */
  break(): string[] | null {
    this.output.clear();
    const unanswered = this.sent.recover();
    if (unanswered === null) return null;
    const { block, bounds } = unanswered;
    const texts = bounds
      .slice(1)
      .map((end, i) => Buffer.from(block.bytes.subarray(bounds[i], end)).toString("latin1"));
    this.pool.give(block);
    return texts;
  }

  get expected(): string[] | null {
    const left = this.model.slice(this.progress.answered);
    return left.length === 0 ? null : left.map((bytes) => bytes.toString("latin1"));
  }
}

interface Step {
  kind: "request" | "large" | "send" | "answer";
  size: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("request", "request", "request", "large", "send", "send", "answer"),
    size: fc.oneof(fc.nat(12), fc.nat(300), fc.nat(9000)),
  }) as fc.Arbitrary<Step>,
  { maxLength: 120 },
);

test("what was not answered comes back, number for number, and every block goes home", () => {
  fc.assert(
    fc.property(steps, (list) => {
      const rig = new Rig();
      for (const { kind, size } of list) {
        if (kind === "request") rig.request(size, false);
        else if (kind === "large") rig.request(size, true);
        else if (kind === "send") rig.send(size < 5 ? Infinity : size * 3);
        else rig.answer(size);
      }
      const { expected } = rig;
      expect(rig.break()).toEqual(expected as string[]);
      expect(rig.out.size).toBe(0);
    }),
    { numRuns: 400 },
  );
});

test("a connection that owes nothing owns no memory; one that always owes, little", () => {
  const rig = new Rig();
  let most = 0;
  for (let turn = 0; turn < 5000; turn++) {
    for (let i = 0; i < 5; i++) rig.request(40, false);
    rig.send(Infinity);
    rig.answer(turn < 2 ? 3 : 5);
    most = Math.max(most, rig.out.size);
  }
  expect(most).toBeLessThanOrEqual(3);
  rig.answer(Infinity);
  expect(rig.out.size).toBe(0);
});

test("more than may be kept: nothing is known until all of it is out, then it is kept again", () => {
  const rig = new Rig();
  const size = 3000;
  for (let i = 0; i * size < KEPT_BYTES_MAX * 1.5; i++) {
    rig.request(size, false);
    rig.send(Infinity);
  }
  const peak = [...rig.out].reduce((sum, block) => sum + block.bytes.length, 0);
  expect(peak).toBeLessThanOrEqual(KEPT_BYTES_MAX + BLOCK_BYTES);
  rig.answer(rig.progress.enqueued - 1);
  rig.request(10, false);
  rig.send(Infinity);
  const { answered } = rig.progress;
  rig.progress.answered++;
  rig.request(10, false);
  rig.send(Infinity);
  expect(answered).toBeGreaterThan(0);
  expect(rig.break()).toEqual(rig.expected as string[]);
  expect(rig.out.size).toBe(0);

  const broken = new Rig();
  for (let i = 0; i * size < KEPT_BYTES_MAX * 1.5; i++) broken.request(size, false);
  broken.send(KEPT_BYTES_MAX * 1.2);
  expect(broken.break()).toBeNull();
  expect(broken.out.size).toBe(0);
});

test("bytes that are no whole request at the end: nothing is trusted", () => {
  const rig = new Rig();
  rig.request(10, false);
  rig.progress.enqueued++;
  rig.output.appendLatin1("*2\r\n$3\r\nGET\r\n");
  expect(rig.break()).toBeNull();
  expect(rig.out.size).toBe(0);
});
