/** A change of users, made on the primaries of all groups too (`acl_forward`). */
import { readLatin1 } from "../../base/bytes.ts";
import { bulk } from "../../resp/reply-writer.ts";
import type { ReplyOwner } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";

const ERROR = 45;

/** Sends the request to each; settles when all have answered, with the error for the client or null. */
export async function forwardToGroups(
  groups: readonly Upstream[],
  request: readonly string[],
): Promise<string | null> {
  const text = `*${request.length}\r\n${request.map(bulk).join("")}`;
  const errors = await Promise.all(groups.map((upstream) => forward(upstream, text)));
  const failed = errors.findIndex((error) => error !== null);
  if (failed < 0) return null;
  const group = groups[failed].target.group;
  return `ERR The proxy's users are changed, but not those of group ${group}: ${errors[failed]}`;
}

function forward(upstream: Upstream, text: string): Promise<string | null> {
  if (!upstream.prepare()) return Promise.resolve(upstream.refusal);
  return new Promise((resolve) => {
    const owner: ReplyOwner = {
      onReply: (_request, bytes, start, end) =>
        resolve(bytes[start] === ERROR ? readLatin1(bytes, start + 1, end - 2) : null),
      onFailure: (_request, error) => resolve(error),
    };
    upstream.begin(owner, 0);
    upstream.output.appendLatin1(text);
    upstream.flushSoon();
  });
}
