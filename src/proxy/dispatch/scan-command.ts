/**
 * SCAN over all groups, one group after the other.
 *
 *   client's cursor = server's cursor * 4096 + the group's number        0 begins, 0 ends
 *
 * A server's cursor has as many bits as its hash table has, so the product stays far below the 64 bits that
 * clients read. Groups are scanned in the order of their numbers; a group that is gone is passed over, its
 * keys are in the others.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { GROUP_NUMBER_MAX, type MapGroup } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { type Call, fail } from "./call.ts";
import { Gather } from "./gather.ts";

const GROUPS = BigInt(GROUP_NUMBER_MAX + 1);
/** Cursors are unsigned 64-bit numbers. */
const CURSOR_MAX = (1n << 64n) - 1n;

export function scan(plane: DataPlane, call: Call): boolean {
  const { session, request, bytes, end } = call;
  const cursor = parseCursor(readLatin1(bytes, request.argStart[1], request.argEnd[1]));
  if (cursor === null) return fail(session, "ERR invalid cursor");
  const groups = groupsInOrder(plane);
  const number = Number(cursor % GROUPS);
  const at = cursor === 0n ? 0 : groups.findIndex((group) => group.number >= number);
  if (at < 0) {
    session.answer("*2\r\n$1\r\n0\r\n*0\r\n");
    return true;
  }
  const group = groups[at];
  const serverCursor = group.number === number ? cursor / GROUPS : 0n;
  const upstream = session.lane.groups.find((each) => each.target.group === group.id) as Upstream;
  const following = groups[at + 1];
  const gather = new Gather(plane, session, call.command, (parts) => {
    const part = parts.parts[0];
    if (part.error !== null) return errorReply(part.error);
    const reply = (part.block as { bytes: Bytes }).bytes;
    return withCursor(reply, part.length, group, following);
  });
  if (gather.begin(upstream)) {
    const words = serverCursor.toString();
    upstream.output.appendLatin1(`*${request.argc}\r\n$4\r\nSCAN\r\n$${words.length}\r\n${words}\r\n`);
    upstream.output.append(bytes, request.argEnd[1] + 2, end);
    upstream.flushSoon();
  }
  gather.seal();
  return true;
}

/** As strtoul reads it: with a sign or not, no digits are 0, negative counts down from 2^64; else null. */
function parseCursor(text: string): bigint | null {
  const [, sign, digits] = /^([+-]?)(\d*)$/.exec(text) ?? ["", "", null];
  if (digits === null || (digits === "" && sign !== "")) return null;
  const cursor = BigInt(digits);
  if (cursor > CURSOR_MAX) return null;
  return sign === "-" ? BigInt.asUintN(64, -cursor) : cursor;
}

function groupsInOrder(plane: DataPlane): MapGroup[] {
  return [...(plane.slots.map?.groups ?? [])].sort((a, b) => a.number - b.number);
}

/** The server's reply with the cursor for the client in place of its own. "*2\r\n$n\r\ncursor\r\n…" */
function withCursor(reply: Bytes, length: number, group: MapGroup, following: MapGroup | undefined): string {
  const cursorStart = reply.indexOf(10, reply.indexOf(10) + 1) + 1;
  const cursorEnd = reply.indexOf(13, cursorStart);
  const serverCursor = BigInt(readLatin1(reply, cursorStart, cursorEnd));
  let cursor = "0";
  if (serverCursor !== 0n) cursor = (serverCursor * GROUPS + BigInt(group.number)).toString();
  else if (following !== undefined) cursor = String(following.number);
  return `*2\r\n$${cursor.length}\r\n${cursor}\r\n${readLatin1(reply, cursorEnd + 2, length)}`;
}
