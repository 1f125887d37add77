/**
 * What a session that waits for a key has sent already: the keys of its next requests are fetched with it.
 *
 * Without it a pipeline over keys that have not come would take a round trip to the source for each request.
 * Only a hint: each request asks for its keys in its turn all the same, and a key that is fetched for a
 * request which is refused then has merely moved a little earlier.
 */
import { lookupCommand } from "../../commands/command-lookup.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import { arityFits } from "../../commands/command.ts";
import { readLatin1 } from "../../base/bytes.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";
import { slotOf } from "../../routing/slot-of.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { SLOT_MOVING } from "../slots/slot-states.ts";
import type { WantedKey } from "./wanted-keys.ts";

/** Requests of one session that are looked at in advance. */
const LOOK_AHEAD_REQUESTS_MAX = 256;

const scanner = new RequestScanner();
const positions = new KeyPositions();

/** The keys in moving slots that the requests name which wait in `session`, the held one included. */
export function keysAhead(plane: DataPlane, session: Session): WantedKey[] {
  const { mask, states } = plane.slots;
  const { database } = session.lane;
  const ahead: WantedKey[] = [];
  const input = session.waitingInput;
  const block = input === null ? null : input.block;
  if (input === null || block === null) return ahead;
  const { bytes } = block;
  scanner.bytes = bytes;
  let at = input.start;
  for (let i = 0; i < LOOK_AHEAD_REQUESTS_MAX && at < input.end; i++) {
    at = scanner.scan(bytes, at, input.end);
    // Not whole, inline, or none: the session itself will see.
    if (at < 0) break;
    if (scanner.argc === 0) continue;
    const command = lookupCommand(bytes, scanner.argStart[0], scanner.argEnd[0]);
    if (command === null || !arityFits(command, scanner.argc)) continue;
    const count = findKeys(command, scanner, positions);
    for (let k = 0; k < count; k++) {
      const [start, end] = [scanner.argStart[positions.at[k]], scanner.argEnd[positions.at[k]]];
      const slot = slotOf(bytes, start, end, mask);
      if (states.of(slot) === SLOT_MOVING) ahead.push({ slot, database, key: readLatin1(bytes, start, end) });
    }
  }
  // A later request may be a long one that has not come whole; the scanner is for others after this.
  scanner.shrink();
  return ahead;
}
