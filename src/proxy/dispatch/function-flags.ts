/**
 * Which functions say that they do not write, for CLIENT PAUSE WRITE: only a server knows.
 *
 *   first FCALL in a pause ─▶ its session is held ─▶ FUNCTION LIST ─▶ known until the pause ends
 *
 * It stays right that long: what changes functions is a write, and waits for the pause's end as well.
 * Rejected: to know it at all times; every worker of every proxy would have to hear of each FUNCTION LOAD.
 */
import { type Bytes } from "../../base/bytes.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { requestOf } from "./ask-groups.ts";
import { argument, type Call } from "./call.ts";
import { listOf, pairsOf } from "./fleet-values.ts";

export class FunctionFlags {
  readonly #plane: DataPlane;
  /** Names of functions that do not write; null while no server has been asked. */
  #readers: Set<string> | null = null;
  /** Sessions that wait for the answer; null while none is to come. */
  #waiting: Session[] | null = null;

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** Whether an FCALL may write. Null: not known yet; its session is held and looks at it again. */
  writes(call: Call): boolean | null {
    if (this.#readers !== null) return !this.#readers.has(argument(call, 1));
    const { session } = call;
    if (this.#waiting === null && !this.#ask(session)) return true;
    this.#waiting?.push(session);
    session.hold(HOLD_WAIT);
    return null;
  }

  forget(): void {
    this.#readers = null;
  }

  /** False: there is nobody to ask. */
  #ask(session: Session): boolean {
    const upstream = session.lane.groups.find((each) => each.prepare());
    if (upstream === undefined) return false;
    this.#waiting = [];
    const known = (readers: Set<string>): void => {
      // A pause that has ended in the meantime has no use for it.
      if (this.#plane.pause.active) this.#readers = readers;
      const waiting = this.#waiting ?? [];
      this.#waiting = null;
      for (const each of waiting) each.release(HOLD_WAIT);
    };
    upstream.begin(
      {
        onReply: (_request, bytes: Bytes, start, end) => known(readersOf(decodeReply(bytes, start, end))),
        // All count as writers then, which is the careful answer.
        onFailure: () => known(new Set()),
      },
      0,
    );
    upstream.output.appendLatin1(requestOf("FUNCTION", "LIST"));
    upstream.flushSoon();
    return true;
  }
}

/** The names of those with the flag no-writes in a reply to FUNCTION LIST. */
function readersOf(reply: unknown): Set<string> {
  const readers = new Set<string>();
  for (const library of listOf(reply)) {
    const functions = new Map(pairsOf(library)).get("functions");
    for (const each of listOf(functions)) {
      const fields = new Map(pairsOf(each));
      if (listOf(fields.get("flags")).includes("no-writes")) readers.add(String(fields.get("name")));
    }
  }
  return readers;
}
