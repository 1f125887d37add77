/**
 * CLIENT and its words, answered from the worker's own list of sessions; LIST and KILL ask the other workers
 * of the proxy too, so that a client sees one server. Texts and rules are those of Redis 7.0 (networking.c)
 * and, for SETINFO, 7.2.
 */
import { array, bulk, errorReply, integer, nullReply, OK, verbatim } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { answer, argument, type Call, fail, parseInteger } from "./call.ts";
import { clientLine } from "./client-line.ts";
import { clientType, type KillFilter, killClients, parseKill } from "./client-kill.ts";

/** Answers a request; false when the session must look at it again later. */
export type SessionCommand = (plane: DataPlane, call: Call) => boolean;

/** Printable ASCII without spaces: what names and library words may hold (validateClientAttr). */
export function validClientWord(word: string): boolean {
  return /^[!-~]*$/.test(word);
}

function id(_plane: DataPlane, call: Call): boolean {
  return answer(call, integer(call.session.id));
}

function getName(_plane: DataPlane, call: Call): boolean {
  const { name } = call.session.info;
  return answer(call, name === "" ? nullReply(call.session.lane.protocol) : bulk(name));
}

function setName(_plane: DataPlane, call: Call): boolean {
  const name = argument(call, 2);
  if (!validClientWord(name))
    return fail(call.session, "ERR Client names cannot contain spaces, newlines or special characters.");
  call.session.info.name = name;
  return answer(call, OK);
}

function setInfo(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const option = argument(call, 2).toLowerCase();
  const value = argument(call, 3);
  if (option !== "lib-name" && option !== "lib-ver")
    return fail(session, `ERR Unrecognized option '${argument(call, 2)}'`);
  if (!validClientWord(value))
    return fail(session, `ERR ${option} cannot contain spaces, newlines or special characters.`);
  if (option === "lib-name") session.info.libraryName = value;
  else session.info.libraryVersion = value;
  return answer(call, OK);
}

function info(plane: DataPlane, call: Call): boolean {
  return answer(
    call,
    verbatim(call.session.lane.protocol, `${clientLine(plane, call.session, call.end - call.start)}\n`),
  );
}

/**
 * Lines of all clients of this worker that the words after CLIENT LIST choose; a text that begins with "-"
 * is an error.
 */
function listHere(plane: DataPlane, call: Call): string {
  const words = Array.from({ length: call.request.argc - 2 }, (_, i) => argument(call, i + 2));
  const chosen = chooseForList(plane, words);
  if (typeof chosen === "string") return chosen;
  return chosen
    .map((each) => `${clientLine(plane, each, each === call.session ? call.end - call.start : 0)}\n`)
    .join("");
}

const LIST_TYPES = ["normal", "master", "replica", "slave", "pubsub"];

function chooseForList(plane: DataPlane, words: readonly string[]): Session[] | string {
  const sessions = [...plane.clients.all()];
  if (words.length === 0) return sessions;
  const option = words[0].toLowerCase();
  if (option === "type" && words.length === 2) {
    const type = words[1].toLowerCase();
    if (!LIST_TYPES.includes(type)) return errorReply(`ERR Unknown client type '${words[1]}'`);
    return sessions.filter((session) => clientType(session) === type);
  }
  if (option === "id" && words.length > 1) {
    const ids = words.slice(1);
    if (ids.some((word) => parseInteger(word) === null)) return errorReply("ERR Invalid client ID");
    return sessions.filter((session) => ids.includes(String(session.id)));
  }
  return errorReply("ERR syntax error");
}

function list(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const own = listHere(plane, call);
  const { protocol } = session.lane;
  if (own.startsWith("-") || !plane.peers.any)
    return answer(call, own.startsWith("-") ? own : verbatim(protocol, own));
  const place = session.reserve();
  const [option = "", ...values] = Array.from({ length: call.request.argc - 2 }, (_, i) =>
    argument(call, i + 2).toLowerCase(),
  );
  const wanted = option === "type" ? { type: values[0] } : option === "id" ? { ids: values } : {};
  void plane.peers.ask({ kind: "client-list", ...wanted }).then((answers) => {
    session.complete(place, verbatim(protocol, own + answers.join("")));
  });
  return true;
}

function kill(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const words = Array.from({ length: call.request.argc - 2 }, (_, i) => argument(call, i + 2));
  const filter = parseKill(words, (name) => plane.users.get(name) !== undefined);
  if (typeof filter === "string") return fail(session, filter);
  const own = killClients(plane, filter, session);
  if (!plane.peers.any) return answer(call, killAnswer(filter, own));
  const place = session.reserve();
  void plane.peers.ask({ kind: "client-kill", filter: { ...filter } }).then((answers) => {
    const killed = answers.reduce<number>((sum, count) => sum + Number(count), own);
    session.complete(place, killAnswer(filter, killed));
  });
  return true;
}

/** The old form (one address) says OK or that there is none; the new form counts. */
function killAnswer(filter: KillFilter, killed: number): string {
  if (!filter.oldForm) return integer(killed);
  return killed > 0 ? OK : errorReply("ERR No such client");
}

function flag(set: (session: Session, on: boolean) => void): SessionCommand {
  return (_plane, call) => {
    const word = argument(call, 2).toLowerCase();
    if (word !== "on" && word !== "off") return fail(call.session, "ERR syntax error");
    set(call.session, word === "on");
    return answer(call, OK);
  };
}

function reply(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  switch (argument(call, 2).toLowerCase()) {
    case "on":
      session.setReplies("on");
      return answer(call, OK);
    case "off":
      session.setReplies("off");
      return true;
    case "skip":
      session.setReplies("skip");
      return true;
    default:
      return fail(session, "ERR syntax error");
  }
}

/** CLIENT UNBLOCK id [TIMEOUT|ERROR]: 1 when that client was waiting in a blocking command. */
function unblock(plane: DataPlane, call: Call): boolean {
  const { session, request } = call;
  const id = parseInteger(argument(call, 2));
  if (id === null) return fail(session, "ERR value is not an integer or out of range");
  const word = request.argc === 4 ? argument(call, 3).toLowerCase() : "timeout";
  if (request.argc > 4) return fail(session, "ERR syntax error");
  if (word !== "timeout" && word !== "error") {
    return fail(session, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  const target = plane.clients.get(Number(id));
  const place = session.reserve();
  const told = (count: number): void => session.complete(place, integer(count));
  if (target !== undefined || !plane.peers.any) {
    if (target?.blocked == null) told(0);
    else target.blocked.unblock(word === "error", told);
    return true;
  }
  void plane.peers
    .ask({ kind: "client-unblock", id: Number(id), error: word === "error" })
    .then((answers) => {
      told(answers.some((each) => each === 1) ? 1 : 0);
    });
  return true;
}

const HELP_LINES: readonly string[] = [
  "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
  "GETNAME",
  "    Return the name of the current connection.",
  "ID",
  "    Return the ID of the current connection.",
  "INFO",
  "    Return information about the current client connection.",
  "KILL <ip:port>",
  "    Kill connection made from <ip:port>.",
  "KILL <option> <value> [<option> <value> [...]]",
  "    Kill connections. Options are:",
  "    * ADDR (<ip:port>|<unixsocket>:0)",
  "    * LADDR (<ip:port>|<unixsocket>:0)",
  "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
  "    * USER <username>",
  "    * SKIPME (YES|NO)",
  "    * ID <client-id>",
  "LIST [options ...]",
  "    Return information about client connections. Options:",
  "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
  "    * ID <client-id> [<client-id> ...]",
  "PAUSE <timeout> [WRITE|ALL]",
  "    Suspend all, or just write, clients of the proxy for <timeout> milliseconds.",
  "UNPAUSE",
  "    Stop the current client pause, resuming traffic.",
  "NO-EVICT (ON|OFF)",
  "    Accepted; clients of the proxy are never evicted.",
  "REPLY (ON|OFF|SKIP)",
  "    Control the replies sent to the current connection.",
  "SETNAME <name>",
  "    Assign the name <name> to the current connection.",
  "SETINFO <LIB-NAME|LIB-VER> <value>",
  "    Say which library this client uses.",
  "HELP",
  "    Print this help.",
];

function help(_plane: DataPlane, call: Call): boolean {
  return answer(call, array(HELP_LINES.map((line) => `+${line}\r\n`)));
}

export const CLIENT_COMMANDS: readonly (readonly [string, SessionCommand])[] = [
  ["client|id", id],
  ["client|getname", getName],
  ["client|setname", setName],
  ["client|setinfo", setInfo],
  ["client|info", info],
  ["client|list", list],
  ["client|kill", kill],
  ["client|reply", reply],
  ["client|unblock", unblock],
  ["client|no-evict", flag((session, on) => (session.info.noEvict = on))],
  ["client|no-touch", flag((session, on) => (session.info.noTouch = on))],
  ["client|help", help],
];
