/**
 * Whether a session's user may make a call, and the error if not; texts of Redis 7.0 (server.c,
 * processCommand). Called for users with limited rights only, once per request, before anything is done with
 * it.
 */
import { readLatin1 } from "../../base/bytes.ts";
import { argumentIs, type ArgumentView, keywordBytes } from "../../commands/argument-view.ts";
import { type Command, FINDER_SORT } from "../../commands/command.ts";
import type { DataPlane } from "../data-plane.ts";
import { argument, type Call, fail } from "../dispatch/call.ts";
import { endTransaction, endWatch } from "../dispatch/transaction-commands.ts";
import type { DenialReason } from "./acl-log.ts";
import { ALLOWED, DENIED_CHANNEL, DENIED_COMMAND, DENIED_KEY } from "./selector.ts";
import type { User } from "./user.ts";

const BY = keywordBytes("by");
const GET = keywordBytes("get");
const LIMIT = keywordBytes("limit");
const STORE = keywordBytes("store");

const SCRIPTS = new Set(["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"]);

const NO_PERMISSION = "NOPERM this user has no permissions to access one of the";

/**
 * Whether the call was refused: it has got its answer, and the transaction that it would have been part of
 * is spoilt.
 */
export function refusedByRights(plane: DataPlane, call: Call): boolean {
  const { session, command } = call;
  session.info.lastCommand = command;
  const text = deniedText(plane, call);
  if (text === null) return false;
  if (session.transaction !== null) session.transaction.failed = true;
  if (command.name !== "exec") return fail(session, text);
  endTransaction(session);
  endWatch(session);
  return fail(session, `EXECABORT Transaction discarded because of: ${text}`);
}

/** Null when it is allowed; else the error, and the log has the denial. */
function deniedText(plane: DataPlane, call: Call): string | null {
  const { session, command, request } = call;
  const { user } = session;
  const { result, index } = user.check(command, request);
  if (result === ALLOWED) return beyondRights(plane, call);
  const deny = (reason: DenialReason, object: string): void => {
    plane.users.denied(session, { reason, object, username: user.name });
  };
  switch (result) {
    case DENIED_KEY:
      deny("key", argument(call, index));
      return `${NO_PERMISSION} keys used as arguments`;
    case DENIED_CHANNEL:
      deny("channel", argument(call, index));
      return `${NO_PERMISSION} channels used as arguments`;
    default:
      deny("command", command.name);
      return `NOPERM this user has no permissions to run the '${command.name}' command`;
  }
}

/** As `ACL DRYRUN` says it; null when it is allowed. */
export function dryRunText(user: User, command: Command, request: ArgumentView): string | null {
  const { result, index } = user.check(command, request);
  if (result === ALLOWED) return null;
  if (result === DENIED_COMMAND) return `This user has no permissions to run the '${command.name}' command`;
  const object = readLatin1(request.bytes, request.argStart[index], request.argEnd[index]);
  const what = result === DENIED_KEY ? "key" : "channel";
  return `This user has no permissions to access the '${object}' ${what}`;
}

/** What the rules allow, but would give more than they say. */
function beyondRights(plane: DataPlane, call: Call): string | null {
  const { session, command } = call;
  const { user } = session;
  if (SCRIPTS.has(command.name) && !user.unrestricted && !plane.config.restricted_scripts) {
    plane.users.denied(session, { reason: "command", object: command.name, username: user.name });
    return (
      `NOPERM this user has limited rights, and the servers would run '${command.name}' with the proxy's; ` +
      "set restricted_scripts in proxy.toml to allow it"
    );
  }
  if (command.finder !== FINDER_SORT) return null;
  const option = readingOption(call);
  if (option === null || user.readsAllKeys(command, call.request)) return null;
  return `ERR ${option} option of SORT denied due to insufficient ACL permissions.`;
}

/** The first option of SORT that reads other keys than its own. */
function readingOption({ request, bytes }: Call): "BY" | "GET" | null {
  for (let i = 2; i < request.argc; i++) {
    const followed = i + 1 < request.argc;
    if (followed && argumentIs(request, i, GET)) return "GET";
    if (followed && argumentIs(request, i, BY)) {
      const star = bytes.indexOf(42, request.argStart[++i]);
      if (star >= 0 && star < request.argEnd[i]) return "BY";
    } else if (argumentIs(request, i, LIMIT)) i += 2;
    else if (argumentIs(request, i, STORE)) i++;
  }
  return null;
}
