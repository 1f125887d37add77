/**
 * How the replies of several servers become one: a function per MERGE_* of the command table.
 *
 * Small replies are decoded and written anew; those that can be large (MGET, KEYS) are put together from
 * their bytes.
 */
import type { Block } from "../../base/block-pool.ts";
import { type Bytes, copyBytes, writeLatin1 } from "../../base/bytes.ts";
import * as c from "../../commands/command.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import { array, errorReply, integer } from "../../resp/reply-writer.ts";
import type { Gather, Merge, Part } from "./gather.ts";

/** Room for "*n\r\n". */
const HEADER_BYTES_MAX = 16;

const STAR = 42;
const DOLLAR = 36;
const ZERO = 48;
const CR = 13;
const LF = 10;

const scanner = new ReplyScanner();

function writes(gather: Gather): boolean {
  return (gather.command.flags & c.FLAG_READONLY) === 0;
}

/** The first part's reply as it is, when all have succeeded. */
const allSucceeded: Merge = (gather) => {
  const error = gather.errorText(writes(gather));
  return error ?? handOver(gather, gather.parts[0]);
};

const oneSucceeded: Merge = (gather) => {
  const part = gather.parts.find((each) => each.error === null);
  return part === undefined ? gather.errorText(false) : handOver(gather, part);
};

function handOver(gather: Gather, part: Part): null {
  const block = part.block as Block;
  part.block = null;
  gather.finishWithBlock(block, part.length);
  return null;
}

/** Folds the parts' integers. */
function fold(combine: (a: number, b: number) => number): Merge {
  return (gather) =>
    gather.errorText(writes(gather)) ??
    // Not `reduce(combine)`: it hands over an index and the array as well, and Math.min takes them for
    // numbers.
    integer(gather.parts.map((part) => valueOf(part) as number).reduce((a, b) => combine(a, b)));
}

/** Folds arrays of integers element by element (SCRIPT EXISTS); single integers too. */
function foldEach(combine: (a: number, b: number) => number): Merge {
  return (gather) => {
    const error = gather.errorText(writes(gather));
    if (error !== null) return error;
    const values = gather.parts.map(valueOf);
    if (!Array.isArray(values[0])) return integer((values as number[]).reduce(combine));
    const columns = (values as number[][]).reduce((sum, list) =>
      sum.map((value, i) => combine(value, list[i])),
    );
    return array(columns.map((value) => integer(value)));
  };
}

/** The arrays of all parts end to end, in the order of the groups. */
const concatenated: Merge = (gather) => {
  const error = gather.errorText(false);
  if (error !== null) return error;
  const bodies = gather.parts.map((part) => {
    const { bytes } = part.block as Block;
    const bodyStart = bytes.indexOf(LF) + 1;
    return { part, bodyStart, count: countOf(bytes, bodyStart) };
  });
  const total = bodies.reduce((sum, body) => sum + body.count, 0);
  const size = bodies.reduce((sum, body) => sum + body.part.length - body.bodyStart, HEADER_BYTES_MAX);
  const block = gather.plane.env.net.blocks.take(size);
  let at = writeLatin1(block.bytes, 0, `*${total}\r\n`);
  for (const { part, bodyStart } of bodies) {
    (part.block as Block).bytes.copy(block.bytes, at, bodyStart, part.length);
    at += part.length - bodyStart;
  }
  gather.finishWithBlock(block, at);
  return null;
};

/** The number in "*n\r\n" whose body begins at `bodyStart`; 0 for a null. */
function countOf(bytes: Uint8Array, bodyStart: number): number {
  let count = 0;
  for (let at = 1; at < bodyStart - 2; at++) count = bytes[at] === 45 ? 0 : count * 10 + bytes[at] - 48;
  return count;
}

/**
 * One element per key, in the request's order. `partOfKey[i]`: which part answers key i; each part keeps the
 * order.
 */
export function mergeByKey(partOfKey: Uint16Array): Merge {
  return (gather) => {
    const error = gather.errorText(false);
    if (error !== null) return error;
    const { parts } = gather;
    const next: number[] = [];
    let size = HEADER_BYTES_MAX;
    for (const part of parts) {
      const { bytes } = part.block as Block;
      size += part.length;
      next.push(bytes[0] === STAR ? bytes.indexOf(LF) + 1 : part.length);
    }
    const merged = gather.plane.env.net.blocks.take(size);
    const count = partOfKey.length;
    let at = writeLatin1(merged.bytes, 0, `*${count}\r\n`);
    for (let i = 0; i < count;) {
      const index = partOfKey[i];
      const part = parts[index];
      const { bytes } = part.block as Block;
      const from = next[index];
      let to = from;
      // Neighbours of the same part are copied together.
      do {
        if (to >= part.length) return tooFew(gather, part, merged);
        to = elementEnd(bytes, to, part.length);
      } while (++i < count && partOfKey[i] === index);
      copyBytes(merged.bytes, at, bytes, from, to);
      at += to - from;
      next[index] = to;
    }
    gather.finishWithBlock(merged, at);
    return null;
  };
}

/**
 * Where the element at `at` ends. The reply that it is part of has been scanned, so what makes up nearly all
 * of them (a text, or its null) needs no checks.
 */
function elementEnd(bytes: Bytes, at: number, end: number): number {
  if (bytes[at] !== DOLLAR) return scanner.scan(bytes, at, end);
  let length = bytes[at + 1] - ZERO;
  // A null, "$-1".
  if (length < 0) return bytes.indexOf(LF, at) + 1;
  let position = at + 2;
  for (let byte = bytes[position]; byte !== CR; byte = bytes[++position]) length = length * 10 + byte - ZERO;
  return position + 2 + length + 2;
}

function tooFew(gather: Gather, part: Part, block: Block): string {
  gather.plane.env.net.blocks.give(block);
  return errorReply(`ERR Group ${part.group} answered ${gather.command.name} with too few elements`);
}

export function valueOf(part: Part): unknown {
  return part.block === null ? null : decodeReply(part.block.bytes, 0, part.length);
}

const unknown: Merge = (gather) =>
  errorReply(`ERR Command '${gather.command.name}' is not supported by the proxy yet`);

const MERGES: Readonly<Record<number, Merge>> = {
  [c.MERGE_NONE]: allSucceeded,
  [c.MERGE_ALL_SUCCEEDED]: allSucceeded,
  [c.MERGE_ONE_SUCCEEDED]: oneSucceeded,
  [c.MERGE_SUM]: fold((a, b) => a + b),
  [c.MERGE_MIN]: fold(Math.min),
  [c.MERGE_MAX]: fold(Math.max),
  [c.MERGE_LOGICAL_AND]: foldEach((a, b) => (a !== 0 && b !== 0 ? 1 : 0)),
  [c.MERGE_LOGICAL_OR]: foldEach((a, b) => (a !== 0 || b !== 0 ? 1 : 0)),
  [c.MERGE_CONCAT]: concatenated,
};

/** The merge that the table names for a command. */
export function mergeOf(command: c.Command): Merge {
  return MERGES[command.merge] ?? unknown;
}
