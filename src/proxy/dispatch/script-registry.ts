/**
 * The scripts that clients have shown to this worker, so that a server which does not know one can be told.
 *
 *   SCRIPT LOAD, EVAL ─▶ remembered by SHA1
 *   EVALSHA, first time on a connection ─▶ sent as EVAL with the text    (a new server, a switch, a moved
 *   slot)
 *
 * Without it a client that loaded its script on one group would get NOSCRIPT from the others. Bounded by
 * count and bytes; the oldest go first, and a client then gets the NOSCRIPT that every client handles.
 */
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import { bulk } from "../../resp/reply-writer.ts";
import type { Call } from "./call.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { sha1Hex } from "./sha1.ts";
import type { Transaction } from "./transaction.ts";

/** Scripts that are remembered. */
const SCRIPTS_MAX = 4096;
/** Bytes of their texts together. */
const SCRIPT_BYTES_MAX = 32 << 20;

export class ScriptRegistry {
  readonly #bySha = new Map<string, string>();
  #bytes = 0;

  /** Remembers the script in argument `index`. */
  remember(bytes: Bytes, start: number, end: number): void {
    if (end - start > SCRIPT_BYTES_MAX) return;
    const sha = sha1Hex(bytes, start, end);
    if (this.#bySha.has(sha)) return;
    this.#bySha.set(sha, readLatin1(bytes, start, end));
    this.#bytes += end - start;
    while (this.#bySha.size > SCRIPTS_MAX || this.#bytes > SCRIPT_BYTES_MAX) this.#forgetOldest();
  }

  /** The text of a script, a character per byte; null when it is not known here. */
  textOf(sha: string): string | null {
    return this.#bySha.get(sha.toLowerCase()) ?? null;
  }

  /** SCRIPT FLUSH. */
  clear(): void {
    this.#bySha.clear();
    this.#bytes = 0;
  }

  /**
   * What to do for a call of the scripting family: remembers the scripts that it shows, and gives other
   * words for it where the server behind `upstream` has not been shown the script yet. Null: send it as it
   * is.
   *
   * A call is put into other words before it is sent and not after a NOSCRIPT, because by then later
   * requests of the session may have run: it would lose its place.
   */
  wordsFor(call: Call, upstream: Upstream): string | null {
    const { command, request, bytes } = call;
    const { name } = command;
    if (name === "eval" || name === "eval_ro") this.remember(bytes, request.argStart[1], request.argEnd[1]);
    if (name !== "evalsha" && name !== "evalsha_ro") return null;
    const sha = readLatin1(bytes, request.argStart[1], request.argEnd[1]).toLowerCase();
    if (upstream.scripts.has(sha)) return null;
    const words = this.asEval(call);
    if (words !== null) upstream.scripts.add(sha);
    return words;
  }

  /**
   * Puts a call into a transaction; EVALSHA of a known script as EVAL, because its NOSCRIPT could not be
   * mended there.
   */
  queueIn(transaction: Transaction, call: Call): void {
    const words = this.asEval(call);
    if (words === null) transaction.queue(call);
    else transaction.queueWords(words);
  }

  /**
   * An EVALSHA call as the EVAL call that means the same, encoded; null for others and for unknown scripts.
   */
  asEval(call: Call): string | null {
    const { command, request, bytes } = call;
    if (command.name !== "evalsha" && command.name !== "evalsha_ro") return null;
    const text = this.textOf(readLatin1(bytes, request.argStart[1], request.argEnd[1]));
    if (text === null) return null;
    const name = command.name === "evalsha" ? "EVAL" : "EVAL_RO";
    const rest = readLatin1(bytes, request.argEnd[1] + 2, call.end);
    return `*${request.argc}\r\n${bulk(name)}${bulk(text)}${rest}`;
  }

  #forgetOldest(): void {
    const [sha, text] = this.#bySha.entries().next().value as [string, string];
    this.#bySha.delete(sha);
    this.#bytes -= text.length;
  }
}
