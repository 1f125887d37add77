/**
 * MIGRATE as the proxy sends it, and what its answers mean. Pure; the texts are those of Redis's cluster.c.
 *
 *   +OK                       the keys that the source had are at the target, and gone from the source
 *   +NOKEY                    the source has none of them
 *   -ERR Target instance replied with error: …
 *                             at least one key was refused and stays; the text is that of the first one, the
 *                             others have moved all the same
 *   -IOERR …                  nobody knows: the source keeps its copy, the target may have one as well. Asked
 *                             again it is NOKEY, OK or BUSYKEY, each of which says what is so
 */
import { bulk } from "../../resp/reply-writer.ts";

/** Whom the source shall be towards the target. Nothing to say: null. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface MigrateOrder {
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly timeoutMs: number;
  /** The source keeps its copy; it is deleted when the target's replicas have theirs. */
  readonly copy: boolean;
  readonly credentials: Credentials | null;
  /** Latin-1: a character per byte. */
  readonly keys: readonly string[];
}

/** The request, encoded. Never with REPLACE: what the target has is newer than what the source has. */
export function migrateRequest(order: MigrateOrder): string {
  const { credentials } = order;
  const words = ["MIGRATE", order.host, String(order.port), "", String(order.database)];
  words.push(String(order.timeoutMs));
  if (order.copy) words.push("COPY");
  if (credentials !== null) {
    if (credentials.user === "") words.push("AUTH", credentials.password);
    else words.push("AUTH2", credentials.user, credentials.password);
  }
  words.push("KEYS", ...order.keys);
  return `*${words.length}\r\n${words.map(bulk).join("")}`;
}

/**
 * What an answer means:
 *   moved      what the source had is at the target
 *   absent     the source has none of the keys
 *   busy       the target has the key already: the source's copy is the old one
 *   unclear    the connection between source and target failed; ask again, when the target answers
 *   wait       the source or the target can't do it now; ask again
 *   refused    it will not get better by asking again
 */
export interface MigrateAnswer {
  readonly kind: "moved" | "absent" | "busy" | "unclear" | "wait" | "refused";
  /** The error's text, without what the source puts in front of the target's words. */
  readonly text: string;
}

const FROM_TARGET = "Target instance replied with error: ";
/** Codes of errors that pass: loading a file, a script that runs, a primary that is being replaced. */
const PASSING = new Set(["LOADING", "BUSY", "READONLY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN"]);

/** Reads one reply, "+OK" or "-ERR …", without its line end. */
export function readMigrateReply(reply: string): MigrateAnswer {
  if (reply === "+OK") return { kind: "moved", text: "" };
  if (reply === "+NOKEY") return { kind: "absent", text: "" };
  if (!reply.startsWith("-")) return { kind: "refused", text: `ERR an answer that is none: ${reply}` };
  const at = reply.indexOf(FROM_TARGET);
  const text = at < 0 ? reply.slice(1) : reply.slice(at + FROM_TARGET.length);
  const code = text.split(" ", 1)[0];
  if (at >= 0 && code === "BUSYKEY") return { kind: "busy", text };
  if (code === "IOERR") return { kind: "unclear", text };
  return { kind: PASSING.has(code) ? "wait" : "refused", text };
}

/** The error for a client whose key could not be pulled: the cause's own code in front. */
export function pullError(key: string, source: string, target: string, cause: string): string {
  const [, code, rest] = /^([A-Z]+) (.*)$/s.exec(cause) ?? ["", "ERR", cause];
  return `${code} Cannot move key '${key}' from group ${source} to group ${target}: ${rest}`;
}
