/**
 * What a call of 100 keys over 3 groups costs a worker without the kernel's part: cutting, putting together,
 * and the whole way.
 */
import type { Block } from "../../src/base/block-pool.ts";
import { HEADROOM_BYTES, SLACK_BYTES } from "../../src/env/net.ts";
import type { Gather } from "../../src/proxy/dispatch/gather.ts";
import { mergeByKey } from "../../src/proxy/dispatch/merges.ts";
import { slotOf } from "../../src/routing/slot-of.ts";
import { arriving, type QuietConnection, QuietPlane } from "../../test/support/quiet-plane.ts";
import type { MicroCase } from "./measure-case.ts";

const GROUPS = 3;
const KEYS = 100;
/** Different calls in turn. */
const CALLS = 64;
/** Calls that are under way at a time. */
const DEPTH = 8;
const VALUE = "x".repeat(32);

interface Sample {
  /** Which group has key i. */
  readonly groupOfKey: Uint16Array;
  readonly request: Buffer;
  /** What each group's server answers. */
  readonly replies: readonly Buffer[];
}

function bulks(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

/** `reply`: what a server answers for so many keys. */
function sample(index: number, command: string, slotMask: number, reply: (count: number) => string): Sample {
  const keys = Array.from({ length: KEYS }, (_, i) => {
    const number = ((index * KEYS + i + 1) * 2654435761) % 1_000_003;
    return `key:${String(number).padStart(12, "0")}`;
  });
  const groupOfKey = Uint16Array.from(
    keys,
    (key) => slotOf(Buffer.from(key), 0, key.length, slotMask) % GROUPS,
  );
  const replies = Array.from({ length: GROUPS }, (_, group) =>
    Buffer.from(reply(groupOfKey.filter((each) => each === group).length)),
  );
  return { groupOfKey, request: arriving(Buffer.from(bulks([command, ...keys]))), replies };
}

function valuesOf(count: number): string {
  return bulks(Array.from({ length: count }, () => VALUE));
}

/** Hands over what `arriving` has made. */
function hand(connection: QuietConnection, bytes: Buffer): void {
  connection.handler.onData(bytes, HEADROOM_BYTES, bytes.length - SLACK_BYTES);
}

function wholeCase(name: string, command: string, reply: (count: number) => string): MicroCase {
  const rig = new QuietPlane(GROUPS);
  const client = rig.client();
  const samples = Array.from({ length: CALLS }, (_, i) => {
    const { request, replies } = sample(i, command, rig.plane.slots.mask, reply);
    return { request, replies: replies.map(arriving) };
  });
  const answer = ({ replies }: { readonly replies: readonly Buffer[] }): void => {
    for (let group = 0; group < GROUPS; group++) hand(rig.servers[group], replies[group]);
  };
  const pass = (): number => {
    let sum = 0;
    for (let first = 0; first < CALLS; first += DEPTH) {
      for (let k = first; k < first + DEPTH; k++) hand(client, samples[k].request);
      for (const server of rig.servers) sum += server.drop();
      for (let k = first; k < first + DEPTH; k++) answer(samples[k]);
      sum += client.drop();
    }
    return sum;
  };
  const run = (iterations: number): number => {
    let sum = 0;
    for (let i = 0; i < iterations; i++) sum += pass();
    return sum;
  };
  return { name, operations: CALLS, run };
}

/** Only what the merge touches is there. */
function mergeCase(): MicroCase {
  const { plane } = new QuietPlane(GROUPS);
  const { blocks } = plane.env.net;
  let sum = 0;
  const gathers = Array.from({ length: CALLS }, (_, i) => {
    const { groupOfKey, replies } = sample(i, "MGET", plane.slots.mask, valuesOf);
    const parts = replies.map((bytes) => ({
      group: "g",
      block: { bytes, address: 0 },
      length: bytes.length,
      error: null,
    }));
    const finishWithBlock = (block: Block, length: number): void => {
      sum += length;
      blocks.give(block);
    };
    const gather = { plane, parts, errorText: () => null, finishWithBlock } as unknown as Gather;
    return { gather, merge: mergeByKey(groupOfKey) };
  });
  const run = (iterations: number): number => {
    for (let i = 0; i < iterations; i++) for (const { gather, merge } of gathers) merge(gather);
    return sum;
  };
  return { name: `merge: ${KEYS} values of ${VALUE.length} bytes, ${GROUPS} parts`, operations: CALLS, run };
}

export function mgetCases(): MicroCase[] {
  const over = `of ${KEYS} keys over ${GROUPS} groups`;
  return [
    wholeCase(`split: EXISTS ${over}, cut and summed up`, "EXISTS", (count) => `:${count}\r\n`),
    mergeCase(),
    wholeCase(`MGET ${over}, all but the kernel's part`, "MGET", valuesOf),
  ];
}
