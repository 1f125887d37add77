/**
 * ACL and its words, answered from the proxy's own users. Texts are those of Redis 7.0 (acl.c, aclCommand).
 *
 *   SETUSER ─▶ this worker ─▶ the other workers ─▶ [acl_forward: the primaries of all groups] ─▶ OK
 */
import {
  array,
  bulk,
  errorReply,
  integer,
  map,
  nullReply,
  OK,
  type Protocol,
} from "../../resp/reply-writer.ts";
import { COMMANDS } from "../../commands/command-lookup.ts";
import type { DataPlane } from "../data-plane.ts";
import { answer, argument, type Call, fail, parseInteger } from "../dispatch/call.ts";
import type { SessionCommand } from "../dispatch/client-commands.ts";
import type { AclLogEntry } from "./acl-log.ts";
import { dryRun } from "./dry-run.ts";
import { CATEGORIES, isCategory } from "./command-rights.ts";
import { forwardToGroups } from "./forward-users.ts";
import { hasSpace, type Selector } from "./selector.ts";
import { sha256Hex } from "./sha256.ts";
import { mergeSelectors } from "./user.ts";
import { DEFAULT_USER } from "./users.ts";

const GENPASS_BITS_MAX = 4096;
const GENPASS_BITS_DEFAULT = 256;
const LOG_COUNT_DEFAULT = 10;

const NO_FILE =
  'ERR The proxy has no ACL file. Users are kept in proxy.toml (users = ["..."]), which only people write';

function words(call: Call, from: number): string[] {
  return Array.from({ length: call.request.argc - from }, (_, i) => argument(call, from + i));
}

/** What Redis says of ACL's words with too many arguments. */
function wrongCount(call: Call): true {
  const word = argument(call, 1);
  return fail(
    call.session,
    `ERR unknown subcommand or wrong number of arguments for '${word}'. Try ACL HELP.`,
  );
}

function whoAmI(_plane: DataPlane, call: Call): boolean {
  return answer(call, bulk(call.session.user.name));
}

function users(plane: DataPlane, call: Call): boolean {
  return answer(call, array(plane.users.all().map((user) => bulk(user.name))));
}

function list(plane: DataPlane, call: Call): boolean {
  const lines = plane.users.all().map((user) => bulk(`user ${user.name} ${user.rules.join(" ")}`));
  return answer(call, array(lines));
}

function getUser(plane: DataPlane, call: Call): boolean {
  const { protocol } = call.session.lane;
  const user = plane.users.get(argument(call, 2));
  if (user === undefined) return answer(call, nullReply(protocol));
  const [root, ...others] = user.selectors;
  const flags = user.flags.map(bulk);
  return answer(
    call,
    map(protocol, [
      [bulk("flags"), protocol === 3 ? `~${flags.length}\r\n${flags.join("")}` : array(flags)],
      [bulk("passwords"), array(user.passwords.map(bulk))],
      ...rightsOf(root),
      [bulk("selectors"), array(others.map((selector) => map(protocol, rightsOf(selector))))],
    ]),
  );
}

function rightsOf(selector: Selector): [string, string][] {
  return [
    [bulk("commands"), bulk(selector.commands.rules)],
    [bulk("keys"), bulk(selector.keyRules)],
    [bulk("channels"), bulk(selector.channelRules)],
  ];
}

function category(_plane: DataPlane, call: Call): boolean {
  if (call.request.argc > 3) return wrongCount(call);
  if (call.request.argc === 2) return answer(call, array(CATEGORIES.map(bulk)));
  const name = argument(call, 2).toLowerCase();
  if (!isCategory(name)) return fail(call.session, `ERR Unknown category '${argument(call, 2)}'`);
  const members = COMMANDS.filter((command) => command.categories.includes(name));
  return answer(call, array(members.map((command) => bulk(command.name))));
}

function setUser(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const name = argument(call, 2);
  if (hasSpace(name)) return fail(session, "ERR Usernames can't contain spaces or null characters");
  const { rules, open } = mergeSelectors(words(call, 3));
  if (open !== null) return fail(session, `ERR Unmatched parenthesis in acl selector starting at '${open}'.`);
  if (mustForward(plane, call, [name])) return fail(session, IN_TRANSACTION);
  const wrong = plane.users.change(name, rules);
  if (wrong !== null)
    return fail(session, `ERR Error in ACL SETUSER modifier '${wrong.rule}': ${wrong.error}`);
  plane.env.log.info("user changed", { user: name, by: session.user.name });
  return tellOthers(plane, call, [name], OK, ["ACL", "SETUSER", name, ...rules.map(withoutPassword)]);
}

/** The rule with the password's hash, as a server may see and log it. */
function withoutPassword(rule: string): string {
  if (rule[0] === ">") return `#${sha256Hex(rule.slice(1))}`;
  return rule[0] === "<" ? `!${sha256Hex(rule.slice(1))}` : rule;
}

function delUser(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const names = words(call, 2);
  if (names.includes(DEFAULT_USER)) return fail(session, "ERR The 'default' user cannot be removed");
  if (mustForward(plane, call, names)) return fail(session, IN_TRANSACTION);
  const deleted = names.filter((name) => plane.users.delete(name, session));
  if (deleted.length > 0) {
    plane.env.log.info("users deleted", { users: deleted.join(" "), by: session.user.name });
  }
  return tellOthers(plane, call, names, integer(deleted.length), ["ACL", "DELUSER", ...names]);
}

const IN_TRANSACTION = "ERR Users can't be changed on the servers (acl_forward) inside a transaction";

/**
 * Whether the change of users would have to wait for servers where it can't: while EXEC puts its answer
 * together.
 */
function mustForward(plane: DataPlane, call: Call, names: readonly string[]): boolean {
  const { capture } = call.session;
  return capture !== null && plane.config.acl_forward && !names.every((name) => isLogIn(plane, name));
}

/**
 * Whether proxies or controllers may log in to the servers as this user: changed there, it would lock them
 * out.
 */
function isLogIn(plane: DataPlane, name: string): boolean {
  return name === DEFAULT_USER || name === plane.config.server_username || name.startsWith("shoal-");
}

/**
 * Tells the other workers of the change of `names`, then the servers, and answers with `text` when they
 * know. `request`: the same change, in words for a server.
 */
function tellOthers(
  plane: DataPlane,
  call: Call,
  names: readonly string[],
  text: string,
  request: readonly string[],
): true {
  const { session } = call;
  const records = names.flatMap((name) => plane.users.recordOf(name) ?? []);
  const told = plane.peers.ask({ kind: "users", records });
  const sets = request[1] === "SETUSER";
  // Of SETUSER the third word is the name, of DELUSER each from there on.
  const forwarded = request.filter((word, i) => i < 2 || (sets && i > 2) || !isLogIn(plane, word));
  const forwards = plane.config.acl_forward && (sets ? !isLogIn(plane, names[0]) : forwarded.length > 2);
  if (session.capture !== null || (!forwards && !plane.peers.any)) return answer(call, text);
  const { groups } = session.lane;
  const place = session.reserve();
  void (plane.peers.any ? told : Promise.resolve())
    .then(() => (forwards ? forwardToGroups(groups, forwarded) : null))
    .then((error) => session.complete(place, error === null ? text : errorReply(error)));
  return true;
}

function generatePassword(plane: DataPlane, call: Call): boolean {
  const { session, request } = call;
  if (request.argc > 3) return wrongCount(call);
  const bits = request.argc === 3 ? parseInteger(argument(call, 2)) : GENPASS_BITS_DEFAULT;
  if (bits === null) return fail(session, "ERR value is not an integer or out of range");
  if (bits <= 0 || bits > GENPASS_BITS_MAX) {
    return fail(
      session,
      "ERR ACL GENPASS argument must be the number of bits for the output password, " +
        "a positive number up to 4096",
    );
  }
  return answer(call, bulk(plane.env.random.hex((bits + 3) >> 2)));
}

function log(plane: DataPlane, call: Call): boolean {
  const { session, request } = call;
  if (request.argc > 3) return wrongCount(call);
  const word = request.argc === 3 ? argument(call, 2) : String(LOG_COUNT_DEFAULT);
  const reset = word.toLowerCase() === "reset";
  const wanted = reset ? 0 : parseInteger(word);
  if (wanted === null) return fail(session, "ERR value is not an integer or out of range");
  const count = Math.max(0, wanted);
  const { wallMs } = plane.env.clock;
  const own = plane.users.log.entries.slice(0, count);
  if (reset) plane.users.log.clear();
  const text = (entries: readonly AclLogEntry[]): string =>
    reset
      ? OK
      : array(entries.slice(0, count).map((entry) => logEntry(entry, session.lane.protocol, wallMs())));
  if (!plane.peers.any || session.capture !== null) return answer(call, text(own));
  const place = session.reserve();
  void plane.peers.ask({ kind: "acl-log", count, reset }).then((answers) => {
    const all = [...own, ...(answers.flat() as AclLogEntry[])].toSorted((a, b) => b.wallMs - a.wallMs);
    session.complete(place, text(all));
  });
  return true;
}

function logEntry(entry: AclLogEntry, protocol: Protocol, wallMs: number): string {
  const age = String((wallMs - entry.wallMs) / 1000);
  return map(protocol, [
    [bulk("count"), integer(entry.count)],
    [bulk("reason"), bulk(entry.reason)],
    [bulk("context"), bulk(entry.context)],
    [bulk("object"), bulk(entry.object)],
    [bulk("username"), bulk(entry.username)],
    [bulk("age-seconds"), protocol === 3 ? `,${age}\r\n` : bulk(age)],
    [bulk("client-info"), bulk(entry.client)],
  ]);
}

function noFile(_plane: DataPlane, call: Call): boolean {
  return fail(call.session, NO_FILE);
}

export const ACL_COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  ["acl|whoami", whoAmI],
  ["acl|users", users],
  ["acl|list", list],
  ["acl|getuser", getUser],
  ["acl|cat", category],
  ["acl|setuser", setUser],
  ["acl|deluser", delUser],
  ["acl|genpass", generatePassword],
  ["acl|dryrun", dryRun],
  ["acl|log", log],
  ["acl|save", noFile],
  ["acl|load", noFile],
];
