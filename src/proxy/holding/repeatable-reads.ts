/**
 * Which requests of a connection that broke may be sent again: what only reads, on one server, for a client
 * that is still there, and was not sent for the second time already.
 *
 *   sent, no reply   GET a · SET b 1 · GET b · SET a 2      (one client's)
 *   sent again               no        yes     no           and GET a: no, SET a stands behind it
 *
 * A read must not see what its own client has asked for after it. So it is not sent again when a request that
 * may write stands behind it, from the same client, for one of the same slots: that one may have run.
 */
import type { Bytes } from "../../base/bytes.ts";
import * as c from "../../commands/command.ts";
import { lookupCommand, lookupSubcommand } from "../../commands/command-lookup.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import { isBlockingCall } from "../../commands/special-key-finders.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";
import type { DataPlane } from "../data-plane.ts";
import { slotOfArgument } from "../dispatch/locate.ts";
import type { Call } from "../dispatch/call.ts";
import type { Session } from "../downstream/session.ts";
import { KIND_OWNED, KIND_PLAIN, type Request } from "../request.ts";
import type { UpstreamTarget } from "../upstream/handshake.ts";
import type { Unanswered } from "../upstream/sent-requests.ts";

/** `bytes[start, end)` of the block that was handed in. */
export interface LostRead {
  readonly request: Request;
  readonly start: number;
  readonly end: number;
}

/** What a request of a connection that broke is; null for `slots`: whatever it touches, nobody knows. */
interface Sent {
  readonly reads: boolean;
  readonly slots: readonly number[] | null;
}

const scanner = new RequestScanner();
const positions = new KeyPositions();

/** The session that waits for the request; null when none does any more, or it is the proxy's own. */
export function sessionOf(request: Request): Session | null {
  const session = request.session ?? request.owner?.session ?? null;
  return session === null || session.closed ? null : session;
}

/**
 * Reads a request again. Its keys are in `found` then; null when it is no command of the table.
 */
export function readCall(session: Session, bytes: Bytes, start: number, end: number): Call | null {
  if (scanner.scan(bytes, start, end) < 0 || scanner.argc === 0) return null;
  scanner.bytes = bytes;
  const { argStart, argEnd, argc } = scanner;
  const outer = lookupCommand(bytes, argStart[0], argEnd[0]);
  if (outer === null) return null;
  const command =
    outer.subcommands !== null && argc > 1
      ? (lookupSubcommand(outer, bytes, argStart[1], argEnd[1]) ?? outer)
      : outer;
  if (!c.arityFits(command, argc)) return null;
  return { session, command, request: scanner, bytes, start, end };
}

/** The argument indexes of a call's keys; valid until the next call. */
export function keysOf(call: Call): readonly number[] {
  const count = findKeys(call.command, call.request, positions);
  return count <= 0 ? [] : Array.from(positions.at.subarray(0, count));
}

/** The requests from `head` on that may be sent again, in order. The first `repeated` were already. */
export function repeatableReads(
  plane: DataPlane,
  target: UpstreamTarget,
  head: Request | null,
  { block, bounds }: Unanswered,
  repeated: number,
): LostRead[] {
  const requests: Request[] = [];
  for (let each = head; each !== null; each = each.nextInUpstream) requests.push(each);
  const written = new Map<Session, Set<number> | null>();
  const reads: LostRead[] = [];
  // From the last to the first: what stands behind a request is known when it is looked at.
  for (let i = requests.length - 1; i >= 0; i--) {
    const request = requests[i];
    const session = sessionOf(request);
    if (session === null) continue;
    const sent = look(plane, session, block.bytes, bounds[i], bounds[i + 1]);
    if (!sent.reads) noteWrite(written, session, sent.slots);
    else if (
      i >= repeated &&
      isOneRead(request) &&
      !overlaps(written.get(session), sent.slots) &&
      mayMove(session, target)
    )
      reads.push({ request, start: bounds[i], end: bounds[i + 1] });
  }
  return reads.reverse();
}

function look(plane: DataPlane, session: Session, bytes: Bytes, start: number, end: number): Sent {
  const call = readCall(session, bytes, start, end);
  if (call === null) return { reads: false, slots: null };
  const { flags, group } = call.command;
  const slots = keysOf(call).map((index) => slotOfArgument(plane, call, index));
  const reads = (flags & c.FLAG_READONLY) !== 0 && group !== "scripting";
  if (!reads) return { reads, slots: slots.length === 0 ? null : slots };
  // Without a key it is about a whole server, and while slots move two servers have a part of the answer.
  const whole = slots.length === 0 && plane.slots.states.unsettled;
  return { reads: !whole && !isBlockingCall(call.command, scanner), slots };
}

/** Stands for itself: not part of a transaction, and its reply is wanted. */
function isOneRead({ kind, owner, replicas }: Request): boolean {
  if (replicas > 0) return false;
  return kind === KIND_PLAIN || (kind === KIND_OWNED && owner?.repeats === true);
}

function noteWrite(written: Map<Session, Set<number> | null>, session: Session, slots: Sent["slots"]): void {
  const before = written.get(session);
  if (slots === null || before === null) written.set(session, null);
  else written.set(session, new Set([...(before ?? []), ...slots]));
}

function overlaps(written: Set<number> | null | undefined, slots: Sent["slots"]): boolean {
  if (written === undefined) return false;
  // A read without keys sees all slots.
  if (written === null || slots === null || slots.length === 0) return true;
  return slots.some((slot) => written.has(slot));
}

/**
 * Whether the group's primary may answer. What a client tracks was announced on the lost connection. What
 * was read from a replica goes to the primary, unless the client reads from replicas only, or has sent the
 * primary something since, which may have run before this.
 */
function mayMove({ tracking, reads }: Session, { anyRole = false, group }: UpstreamTarget): boolean {
  if (tracking !== null) return false;
  return !anyRole || reads === null || (reads.policy.from !== "replica" && !reads.of(group).touched);
}
