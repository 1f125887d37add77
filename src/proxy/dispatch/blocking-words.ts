/**
 * What the calls that make a server wait have in their words: how long, from which stream entry on, and what
 * undoes a pop. Pure; words are Latin-1, a character per byte.
 */
import { bulk } from "../../resp/reply-writer.ts";

/** Commands whose reply is all that is left of what they took. */
export const POPS = new Set(["blpop", "brpop", "blmpop", "bzpopmin", "bzpopmax", "bzmpop"]);

/** The last time that fits a timer; 0 in a call means "for ever". */
const FOR_EVER_MS = Number.POSITIVE_INFINITY;

/** Where the timeout stands, and how many ms its unit has. */
function timeoutAt(name: string, words: readonly string[]): { index: number; unitMs: number } {
  if (name === "blmpop" || name === "bzmpop") return { index: 1, unitMs: 1000 };
  if (name !== "xread" && name !== "xreadgroup") return { index: words.length - 1, unitMs: 1000 };
  // GROUP's two names and COUNT's number may spell anything.
  let index = 1;
  while (index < words.length && words[index].toLowerCase() !== "block") {
    const word = words[index].toLowerCase();
    index += word === "group" ? 3 : word === "count" ? 2 : 1;
  }
  return { index: index + 1, unitMs: 1 };
}

/** How long the call waits, in ms; infinite for 0. */
export function timeoutMsOf(name: string, words: readonly string[]): number {
  const { index, unitMs } = timeoutAt(name, words);
  const timeout = Number(words[index]) * unitMs;
  return timeout > 0 ? timeout : FOR_EVER_MS;
}

/** The call's words with `leftMs` as its timeout, which is not over. */
export function withTimeoutMs(name: string, words: readonly string[], leftMs: number): string[] {
  const changed = [...words];
  if (leftMs === FOR_EVER_MS) return changed;
  const { index, unitMs } = timeoutAt(name, words);
  // Neither "0", which would be for ever, nor digits that a server does not take.
  changed[index] = unitMs === 1 ? String(Math.ceil(leftMs)) : (Math.ceil(leftMs) / 1000).toFixed(3);
  return changed;
}

/** The request that undoes a pop; null when there is nothing to undo. Encoded. */
export function putBackRequest(name: string, direction: string, reply: unknown): string | null {
  if (!Array.isArray(reply) || reply.length < 2) return null;
  const key = String(reply[0]);
  switch (name) {
    case "blpop":
      return encoded("LPUSH", key, String(reply[1]));
    case "brpop":
      return encoded("RPUSH", key, String(reply[1]));
    case "bzpopmin":
    case "bzpopmax":
      return encoded("ZADD", key, "NX", String(reply[2]), String(reply[1]));
    case "blmpop": {
      const elements = (reply[1] as unknown[]).map(String).reverse();
      return encoded(direction === "right" ? "RPUSH" : "LPUSH", key, ...elements);
    }
    case "bzmpop": {
      const pairs = (reply[1] as unknown[]).flatMap((pair) => {
        const [member, score] = pair as unknown[];
        return [String(score), String(member)];
      });
      return encoded("ZADD", key, "NX", ...pairs);
    }
    default:
      return null;
  }
}

function encoded(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map(bulk).join("")}`;
}
