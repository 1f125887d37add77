/**
 * CLIENT PAUSE: for a while requests are held, all or those that may write. The proxy holds them itself: a
 * pause at the servers would stop the connections that all clients share.
 *
 *   CLIENT PAUSE ms ─▶ every worker: no session is plain ─▶ each request passes `holds` ─▶ held, or goes on
 *   time over, CLIENT UNPAUSE ─▶ sessions are plain again, the held requests are looked at again
 *
 * While nothing is paused this costs the common path nothing: the question is part of `session.plain`.
 */
import { readLatin1 } from "../../base/bytes.ts";
import * as c from "../../commands/command.ts";
import type { Timer } from "../../env/env.ts";
import { OK } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_WAIT } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { FunctionFlags } from "./function-flags.ts";
import { answer, argument, type Call, fail, parseInteger } from "./call.ts";

/** The longest that a timer counts. Redis takes more; nobody waits 24 days. */
const PAUSE_MS_MAX = 2 ** 31 - 1;
/** Bytes of a script that are looked at for its flags. */
const SHEBANG_BYTES_MAX = 1024;

/** Commands that are no writes by their flags and yet are replicated (Redis's CMD_MAY_REPLICATE). */
const MAY_REPLICATE = new Set(["eval", "evalsha", "fcall", "publish", "spublish", "pfcount"]);

/** What the other workers of the proxy are told. `ms` 0 ends the pause. */
export interface PauseOrder {
  readonly ms: number;
  readonly writesOnly: boolean;
}

export class Pause {
  active = false;
  readonly #plane: DataPlane;
  #writesOnly = true;
  #endMs = 0;
  #timer: Timer | null = null;
  readonly #held = new Set<Session>();
  readonly #functions: FunctionFlags;

  constructor(plane: DataPlane) {
    this.#plane = plane;
    this.#functions = new FunctionFlags(plane);
  }

  /** Clients whose requests are held. */
  get heldCount(): number {
    let count = 0;
    for (const session of this.#held) if (!session.closed) count++;
    return count;
  }

  /** Begins a pause, ends it, or makes it longer or stricter: never shorter or laxer, as at a server. */
  order({ ms, writesOnly }: PauseOrder): void {
    if (ms === 0) {
      this.#end();
      return;
    }
    const now = this.#plane.env.clock.nowMs();
    const endMs = now + Math.min(ms, PAUSE_MS_MAX);
    this.#writesOnly = this.active ? this.#writesOnly && writesOnly : writesOnly;
    this.#endMs = this.active ? Math.max(this.#endMs, endMs) : endMs;
    this.active = true;
    this.#timer?.cancel();
    this.#timer = this.#plane.env.timers.after(this.#endMs - now, () => this.#end());
    for (const session of this.#plane.clients.all()) session.updatePlain();
  }

  /** Whether a request has to wait; then its session is held. */
  holds(call: Call): boolean {
    if (this.#writesOnly && call.command.name === "fcall") {
      const writes = this.#functions.writes(call);
      // Held as well, until a server has said what its functions do.
      if (writes === null) return true;
      if (!writes) return false;
    } else if (this.#writesOnly && !mayWrite(this.#plane, call)) return false;
    this.#held.add(call.session);
    call.session.hold(HOLD_WAIT);
    return true;
  }

  #end(): void {
    this.active = false;
    this.#functions.forget();
    this.#timer?.cancel();
    this.#timer = null;
    for (const session of this.#plane.clients.all()) session.updatePlain();
    const held = [...this.#held];
    this.#held.clear();
    for (const session of held) session.release(HOLD_WAIT);
  }
}

/** Whether a request may change data. */
export function mayWrite(plane: DataPlane, call: Call): boolean {
  const { command, session, request, bytes } = call;
  if ((command.flags & c.FLAG_WRITE) !== 0) return true;
  if (command.name === "exec") return session.transaction?.mayWrite ?? false;
  if (!MAY_REPLICATE.has(command.name)) return false;
  if (command.name !== "eval" && command.name !== "evalsha") return true;
  const from = request.argStart[1];
  const to = request.argEnd[1];
  const word = readLatin1(bytes, from, Math.min(to, from + SHEBANG_BYTES_MAX));
  return !hasNoWrites(command.name === "eval" ? word : (plane.scripts.textOf(word) ?? ""));
}

/** A script says so in its first line: #!lua flags=no-writes */
function hasNoWrites(script: string): boolean {
  const firstLine = script.split("\n", 1)[0];
  return firstLine.startsWith("#!") && /[\s,=]no-writes\b/.test(firstLine);
}

/** CLIENT PAUSE timeout [WRITE | ALL] */
export function clientPause(plane: DataPlane, call: Call): boolean {
  const { session, request } = call;
  if (request.argc > 4) {
    const word = argument(call, 1);
    return fail(
      session,
      `ERR unknown subcommand or wrong number of arguments for '${word}'. Try CLIENT HELP.`,
    );
  }
  const mode = request.argc === 4 ? argument(call, 3).toLowerCase() : "all";
  if (mode !== "write" && mode !== "all") {
    return fail(session, "ERR CLIENT PAUSE mode must be WRITE or ALL");
  }
  const ms = parseInteger(argument(call, 2));
  if (ms === null) return fail(session, "ERR timeout is not an integer or out of range");
  if (ms < 0) return fail(session, "ERR timeout is negative");
  // A pause of no time holds nobody, but it does not end one that is there either.
  if (ms === 0) return answer(call, OK);
  return everywhere(plane, call, { ms, writesOnly: mode === "write" });
}

/** CLIENT UNPAUSE */
export function clientUnpause(plane: DataPlane, call: Call): boolean {
  return everywhere(plane, call, { ms: 0, writesOnly: true });
}

/** Answers when the proxy's other workers know, so that what comes after the answer is held there too. */
function everywhere(plane: DataPlane, call: Call, order: PauseOrder): boolean {
  const { session } = call;
  if (!plane.peers.any || session.capture !== null) {
    plane.pause.order(order);
    if (plane.peers.any) void plane.peers.ask({ kind: "client-pause", order });
    return answer(call, OK);
  }
  const place = session.reserve();
  plane.pause.order(order);
  void plane.peers.ask({ kind: "client-pause", order }).then(() => session.complete(place, OK));
  return true;
}
