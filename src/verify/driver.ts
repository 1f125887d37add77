/**
 * How the checker reaches what it checks. One interface, so that the same checker judges a proxy, a bare
 * server, Redis Cluster or Sentinel, with our client or with somebody else's.
 */
import type { Reply } from "../redis/reply-decoder.ts";

/** A command: name and arguments, one character per byte. */
export type Words = readonly string[];

/**
 * What became of a request.
 *   reply    the server's answer; for a transaction, the array of EXEC
 *   refused  it has not run, and never will: not sent, or an error that says so
 *   doubt    nobody can tell: it may have run, or may even run later (a frozen server that wakes up)
 */
export type Outcome =
  | { readonly kind: "reply"; readonly reply: Reply }
  | { readonly kind: "refused"; readonly text: string }
  | { readonly kind: "doubt"; readonly text: string };

/** One client: its requests run one after the other. */
export interface Session {
  /** One command as it is, several as MULTI … EXEC. Must not reject, and must never send anything twice. */
  run(commands: readonly Words[]): Promise<Outcome>;
  close(): void;
}

export interface Driver {
  /** What is checked, for the report: "127.0.0.1:19000". */
  readonly name: string;
  open(): Session;
}

/**
 * Error replies after which the command has surely not run. Everything else counts as doubt: that makes the
 * check weaker where it is wrong, never unjust.
 */
const REFUSED_CODES = new Set(
  (
    "MOVED ASK TRYAGAIN CLUSTERDOWN LOADING READONLY MASTERDOWN NOAUTH NOPERM WRONGPASS OOM CROSSSLOT " +
    "EXECABORT BUSY NOREPLICAS MISCONF WRONGTYPE"
  ).split(" "),
);
const MAY_HAVE_RUN = /may have run|not confirmed|connection was closed/i;
/** What Shoal's proxies say of a request that has not left them. */
const NOT_SENT = /^ERR Cannot reach server |not sent|did not run|has not run/i;

/** What an error reply says about whether the command has run. */
export function outcomeOfError(text: string): Outcome {
  if (MAY_HAVE_RUN.test(text)) return { kind: "doubt", text };
  const code = text.slice(0, text.indexOf(" "));
  return { kind: REFUSED_CODES.has(code) || NOT_SENT.test(text) ? "refused" : "doubt", text };
}
