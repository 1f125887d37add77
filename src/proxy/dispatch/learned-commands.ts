/**
 * Commands that the built-in table does not know (modules, newer servers): looked up on a server once, never
 * guessed.
 *
 *   unknown name ─▶ hold the session ─▶ COMMAND INFO name ─▶ remember the answer, known or not ─▶ look at
 *   the request again
 *
 * What was learned is forgotten after a while, so that a module which is loaded later gets its chance; the
 * number of names is bounded, because they come from clients.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { commandFromInfoReply } from "../../commands/command-info-reply.ts";
import { COMMANDS } from "../../commands/command-lookup.ts";
import type { Command } from "../../commands/command.ts";
import { decodeReply } from "../../resp/reply-decoder.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import type { ReplyOwner, Request } from "../request.ts";

/** Names that are remembered. Ids of learned commands end where the counters end. */
const LEARNED_MAX = 1000;
/** How long an answer holds, in seconds. */
const LEARNED_FOR_S = 60;
/** Between a command and its subcommand in Redis's names. */
const BAR = 124;
/** Longer names are of no server. */
const NAME_BYTES_MAX = 128;

export class LearnedCommands {
  readonly #plane: DataPlane;
  readonly #byName = new Map<string, { readonly command: Command | null; readonly tick: number }>();
  readonly #ids = new Map<string, number>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** The command; null when no server knows it; undefined when none has been asked. */
  get(bytes: Bytes, start: number, end: number): Command | null | undefined {
    if (end - start > NAME_BYTES_MAX || end === start) return null;
    // COMMAND INFO also takes "config|get", which is no command that one could call.
    if (bytes.subarray(start, end).includes(BAR)) return null;
    const known = this.#byName.get(nameOf(bytes, start, end));
    if (known === undefined || this.#plane.tick - known.tick > LEARNED_FOR_S) return undefined;
    return known.command;
  }

  /** Asks a server; the session looks at its request again when the answer is there. */
  ask(session: Session, bytes: Bytes, start: number, end: number): boolean {
    const name = nameOf(bytes, start, end);
    const { groups } = session.lane;
    const upstream = groups.find((each) => each.state === "ready") ?? groups.find((each) => each.prepare());
    if (upstream === undefined) {
      if (this.#plane.holding.enterAny(session, groups)) return false;
      session.answer(`-${groups[0].refusal}\r\n`);
      return true;
    }
    session.hold(HOLD_WAIT);
    const owner: ReplyOwner = {
      onReply: (_request: Request, reply: Bytes, from: number, to: number) => {
        this.#learn(name, decodeReply(reply, from, to));
        session.release(HOLD_WAIT);
      },
      onFailure: (_request, text) => {
        // Not remembered: the next look asks another server, or says that there is none.
        this.#plane.env.log.warn("command not looked up", { command: name, reason: text });
        session.release(HOLD_WAIT);
      },
    };
    upstream.begin(owner, 0);
    upstream.output.appendLatin1(`*3\r\n$7\r\nCOMMAND\r\n$4\r\nINFO\r\n$${name.length}\r\n${name}\r\n`);
    upstream.flushSoon();
    return false;
  }

  #learn(name: string, reply: unknown): void {
    const entry = Array.isArray(reply) ? reply[0] : null;
    this.#remember(
      name,
      commandFromInfoReply(entry, () => this.#idOf(name)),
    );
  }

  #remember(name: string, command: Command | null): void {
    if (this.#byName.size >= LEARNED_MAX) this.#byName.clear();
    this.#byName.set(name, { command, tick: this.#plane.tick });
  }

  /** Ids stay with their names, so that counters do; when all are given, the last one is shared. */
  #idOf(name: string): number {
    const id = this.#ids.get(name) ?? COMMANDS.length + Math.min(this.#ids.size, LEARNED_MAX);
    this.#ids.set(name, id);
    return id;
  }
}

function nameOf(bytes: Bytes, start: number, end: number): string {
  return readLatin1(bytes, start, end).toLowerCase();
}
