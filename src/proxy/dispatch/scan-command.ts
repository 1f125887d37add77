/**
 * SCAN over all groups, one group after the other.
 *
 *   client's cursor = ((server's cursor * 2^14 + stamp) * 2 + pass) * 4096 + the group's number
 *                                                                            0 begins, 0 ends
 *
 * A server's cursor has as many bits as its hash table has, so the product stays far below the 64 bits that
 * clients read. Groups are scanned in the order of their numbers; a group that is gone is passed over, its
 * keys are in the others.
 *
 * Keys that move while the scan goes on must not be missed: one may leave a group that is still to come, for
 * one that has been. So a scan goes in passes, and the cursor carries which one, and the version of the map
 * (its lowest 14 bits, the stamp) with which the first pass began:
 *
 *   first pass: all groups ──▶ second pass: those that have been the target of a move since the stamp ──▶ end
 *        ▲                      (no such group: end)                                   │
 *        └── a new stamp ◀── a move has begun since the stamp ◀────────────────────────┘
 *
 * Why that is enough: a key that the first pass has not seen has moved during it, so it is in a target now,
 * where the second pass sees it, unless it moves during that. If so its slot's move has begun before the
 * stamp, then the key was at the source for all of the first pass, and was seen; or after it, then there is
 * another first pass. A key may come twice, as it may from a server. All state is in the cursor and the map,
 * because the next call may come to another worker or proxy. Rejected: one pass in an order that has the
 * sources before the targets (two groups may send slots to each other).
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { GROUP_NUMBER_MAX, type MapGroup } from "../../topology/cluster-map.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { type Call, fail } from "./call.ts";
import { Gather } from "./gather.ts";

const GROUPS = BigInt(GROUP_NUMBER_MAX + 1);
/** Versions that a stamp tells apart: a scan that lasts through more of them may miss keys that moved. */
const STAMPS = 1 << 14;
/** So far ahead another worker's map may be; its stamp is not taken for one that is very old. */
const STAMPS_AHEAD = 64;
/** Cursors are unsigned 64-bit numbers. */
const CURSOR_MAX = (1n << 64n) - 1n;

/** A client's cursor, taken apart. */
interface Position {
  readonly serverCursor: bigint;
  readonly number: number;
  readonly second: boolean;
  /** The version of the map with which the first pass began. */
  readonly base: number;
}

export function scan(plane: DataPlane, call: Call): boolean {
  const { session, request, bytes, end } = call;
  const cursor = parseCursor(readLatin1(bytes, request.argStart[1], request.argEnd[1]));
  if (cursor === null) return fail(session, "ERR invalid cursor");
  const position = positionOf(plane, cursor);
  const group = groupsOf(plane, position).find(({ number }) => number >= position.number);
  if (group === undefined) {
    const next = afterPass(plane, position);
    session.answer(`*2\r\n$${next.length}\r\n${next}\r\n*0\r\n`);
    return true;
  }
  const upstream = session.lane.groups.find((each) => each.target.group === group.id) as Upstream;
  if (plane.holding.enter(session, upstream)) return false;
  const gather = new Gather(plane, session, call.command, (parts) => {
    const part = parts.parts[0];
    if (part.error !== null) return errorReply(part.error);
    const reply = (part.block as { bytes: Bytes }).bytes;
    return withCursor(plane, reply, part.length, { ...position, number: group.number });
  });
  if (gather.begin(upstream)) {
    const words = (group.number === position.number ? position.serverCursor : 0n).toString();
    upstream.output.appendLatin1(`*${request.argc}\r\n$4\r\nSCAN\r\n$${words.length}\r\n${words}\r\n`);
    upstream.output.append(bytes, request.argEnd[1] + 2, end);
    upstream.flushSoon();
  }
  gather.seal();
  return true;
}

function positionOf(plane: DataPlane, cursor: bigint): Position {
  const { version } = plane.slots.history;
  if (cursor === 0n) return { serverCursor: 0n, number: 0, second: false, base: version };
  const rest = cursor / GROUPS;
  const stamp = Number((rest / 2n) % BigInt(STAMPS));
  const ahead = (stamp - version) & (STAMPS - 1);
  return {
    serverCursor: rest / 2n / BigInt(STAMPS),
    number: Number(cursor % GROUPS),
    second: rest % 2n === 1n,
    base: version + (ahead <= STAMPS_AHEAD ? ahead : ahead - STAMPS),
  };
}

function cursorOf({ serverCursor, number, second, base }: Position): string {
  const rest = (serverCursor * BigInt(STAMPS) + BigInt(base & (STAMPS - 1))) * 2n + (second ? 1n : 0n);
  return (rest * GROUPS + BigInt(number)).toString();
}

/** The groups of a pass, in order. */
function groupsOf(plane: DataPlane, { second, base }: Position): MapGroup[] {
  const groups = [...(plane.slots.map?.groups ?? [])].sort((a, b) => a.number - b.number);
  if (!second) return groups;
  const gained = plane.slots.history.gainedSince(base);
  return groups.filter(({ id }) => gained.has(id));
}

/** The cursor behind the last group of a pass. */
function afterPass(plane: DataPlane, position: Position): string {
  const { history } = plane.slots;
  const { base } = position;
  if (position.second) {
    if (!history.begunSince(base)) return "0";
    return cursorOf(firstOf(groupsOf(plane, { ...position, second: false }), false, history.version));
  }
  const gained = groupsOf(plane, { ...position, second: true });
  return gained.length === 0 ? "0" : cursorOf(firstOf(gained, true, base));
}

function firstOf([{ number }]: readonly MapGroup[], second: boolean, base: number): Position {
  return { serverCursor: 0n, number, second, base };
}

/** As strtoul reads it: with a sign or not, no digits are 0, negative counts down from 2^64; else null. */
function parseCursor(text: string): bigint | null {
  const [, sign, digits] = /^([+-]?)(\d*)$/.exec(text) ?? ["", "", null];
  if (digits === null || (digits === "" && sign !== "")) return null;
  const cursor = BigInt(digits);
  if (cursor > CURSOR_MAX) return null;
  return sign === "-" ? BigInt.asUintN(64, -cursor) : cursor;
}

/** The server's reply with the cursor for the client in place of its own. "*2\r\n$n\r\ncursor\r\n…" */
function withCursor(plane: DataPlane, reply: Bytes, length: number, position: Position): string {
  const cursorStart = reply.indexOf(10, reply.indexOf(10) + 1) + 1;
  const cursorEnd = reply.indexOf(13, cursorStart);
  const serverCursor = BigInt(readLatin1(reply, cursorStart, cursorEnd));
  const following = groupsOf(plane, position).find(({ number }) => number > position.number);
  let cursor: string;
  if (serverCursor !== 0n) cursor = cursorOf({ ...position, serverCursor });
  else if (following === undefined) cursor = afterPass(plane, position);
  else cursor = cursorOf({ ...position, serverCursor: 0n, number: following.number });
  return `*2\r\n$${cursor.length}\r\n${cursor}\r\n${readLatin1(reply, cursorEnd + 2, length)}`;
}
