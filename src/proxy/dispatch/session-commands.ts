/**
 * What the proxy answers itself: the commands that make up a session. Texts and rules are those of Redis 7.0.
 *
 * Commands that change where the session's requests go (SELECT, HELLO with another protocol, RESET) wait
 * until no reply is owed: requests to the old and to the new connection could otherwise overtake each other.
 */
import { bulk, errorReply, integer, map, OK, PONG, type Protocol, simple } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { HOLD_DRAIN } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { PUBLISH_COMMANDS } from "../pubsub/publish-command.ts";
import { PUBSUB_COMMANDS } from "../pubsub/pubsub-commands.ts";
import { endSubscriptions, listenerPong, SUBSCRIBE_COMMANDS } from "../pubsub/subscribe-commands.ts";
import { DATABASES } from "../slots/slot-table.ts";
import { endTracking, TRACKING_COMMANDS } from "../tracking/tracking-commands.ts";
import { answer, argument, type Call, fail, parseInteger } from "./call.ts";
import { FLEET_SESSION_COMMANDS } from "./fleet-commands.ts";
import { HOME_SLOT } from "./locate.ts";
import { endTransaction, endWatch, TRANSACTION_COMMANDS } from "./transaction-commands.ts";
import { ACL_COMMANDS } from "../users/acl-commands.ts";
import { auth, WRONG_PASSWORD } from "../users/auth.ts";
import { CLIENT_COMMANDS, type SessionCommand, validClientWord } from "./client-commands.ts";

/** Redis reads a database's number as a C int. */
const INT_MAX = 2147483647;
const INT_MIN = -2147483648;

/** False, with the hold set, while replies are owed. */
function alone(session: Session): boolean {
  if (session.inFlight === 0) return true;
  session.hold(HOLD_DRAIN);
  return false;
}

const BAD_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";

interface HelloOptions {
  protocol: Protocol;
  credentials: readonly [string, string] | null;
  name: string | null;
}

/** HELLO's arguments; a text is the error. */
function parseHello(call: Call): HelloOptions | string {
  const { request, session } = call;
  const options: HelloOptions = { protocol: session.lane.protocol, credentials: null, name: null };
  if (request.argc === 1) return options;
  const version = argument(call, 1);
  if (parseInteger(version) === null) return "ERR Protocol version is not an integer or out of range";
  if (version !== "2" && version !== "3") return "NOPROTO unsupported protocol version";
  options.protocol = version === "3" ? 3 : 2;
  for (let i = 2; i < request.argc; i++) {
    const word = argument(call, i).toLowerCase();
    const left = request.argc - i - 1;
    if (word === "auth" && left >= 2) {
      options.credentials = [argument(call, i + 1), argument(call, i + 2)];
      i += 2;
    } else if (word === "setname" && left >= 1) {
      options.name = argument(call, ++i);
      if (!validClientWord(options.name)) return BAD_NAME;
    } else {
      return `ERR Syntax error in HELLO option '${argument(call, i)}'`;
    }
  }
  return options;
}

function hello(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const options = parseHello(call);
  if (typeof options === "string") return fail(session, options);
  const { credentials, protocol, name } = options;
  if (protocol !== session.lane.protocol && !alone(session)) return false;
  if (credentials !== null && !plane.users.logIn(session, credentials[0], credentials[1], argument(call, 0)))
    return fail(session, WRONG_PASSWORD);
  if (!session.authenticated) {
    return fail(
      session,
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
        "HELLO AUTH <user> <pass> option can be used to authenticate the client and " +
        "select the RESP protocol version at the same time",
    );
  }
  if (name !== null) session.info.name = name;
  session.setLane(session.lane.database, protocol);
  return answer(call, helloReply(plane, session));
}

/**
 * Clients read `server`, `version`, `proto`, `id`, `mode` and `role`, and take the version for the server's.
 */
function helloReply(plane: DataPlane, session: Session): string {
  const { protocol } = session.lane;
  return map(protocol, [
    [bulk("server"), bulk("redis")],
    [bulk("version"), bulk(plane.serverVersion)],
    [bulk("proto"), integer(protocol)],
    [bulk("id"), integer(session.id)],
    [bulk("mode"), bulk("standalone")],
    [bulk("role"), bulk("master")],
    [bulk("modules"), "*0\r\n"],
  ]);
}

function select(_plane: DataPlane, call: Call): boolean {
  const { session } = call;
  const text = argument(call, 1);
  const database = parseInteger(text);
  if (database === null) return fail(session, "ERR value is not an integer or out of range");
  if (database < INT_MIN || database > INT_MAX) {
    return fail(session, `ERR value is out of range, value must between ${INT_MIN} and ${INT_MAX}`);
  }
  if (database < 0 || database >= DATABASES) return fail(session, "ERR DB index is out of range");
  if (database !== session.lane.database) {
    if (!alone(session)) return false;
    session.setLane(database, session.lane.protocol);
  }
  return answer(call, OK);
}

function ping(plane: DataPlane, call: Call): boolean {
  if (call.request.argc > 2) return fail(call.session, "ERR wrong number of arguments for 'ping' command");
  if (call.session.onlyListens) return listenerPong(call);
  // As a keyless command it speaks for the home group, where scripts without keys run.
  const busy = plane.busyUpstreams === 0 ? null : plane.slots.busyText(HOME_SLOT);
  if (busy !== null) return fail(call.session, busy);
  return answer(call, call.request.argc === 2 ? bulk(argument(call, 1)) : PONG);
}

function echo(_plane: DataPlane, call: Call): boolean {
  return answer(call, bulk(argument(call, 1)));
}

function quit(_plane: DataPlane, call: Call): boolean {
  call.session.answer(OK);
  call.session.closeWhenAnswered();
  return true;
}

/** RESET: the session as it was after connecting. */
function reset(plane: DataPlane, call: Call): boolean {
  const { session } = call;
  if (!alone(session)) return false;
  endTransaction(session);
  endWatch(session);
  if (session.monitoring) plane.monitors.remove(session);
  endTracking(plane, session);
  endSubscriptions(plane, session);
  session.setLane(0, 2);
  plane.replicas.say(session, null);
  session.resetState();
  session.setUser(plane.users.default, plane.users.default.open);
  return answer(call, simple("RESET"));
}

/** READONLY, READWRITE: whether replicas may answer this session's reads; see replicas/. */
function readWish(wish: "readonly" | "readwrite"): SessionCommand {
  return (plane, call) => {
    plane.replicas.say(call.session, wish);
    return answer(call, OK);
  };
}

/** Words of cluster clients. A bare server without cluster mode refuses them, and so do we. */
function clusterWord(_plane: DataPlane, call: Call): boolean {
  return answer(call, errorReply("ERR This instance has cluster support disabled"));
}

/** By name, subcommands as "client|id". */
export const SESSION_COMMANDS: ReadonlyMap<string, SessionCommand> = new Map<string, SessionCommand>([
  ["auth", auth],
  ["hello", hello],
  ["select", select],
  ["ping", ping],
  ["echo", echo],
  ["quit", quit],
  ["reset", reset],
  ["readonly", readWish("readonly")],
  ["readwrite", readWish("readwrite")],
  ["asking", clusterWord],
  ...ACL_COMMANDS,
  ...CLIENT_COMMANDS,
  ...TRANSACTION_COMMANDS,
  ...SUBSCRIBE_COMMANDS,
  ...PUBLISH_COMMANDS,
  ...PUBSUB_COMMANDS,
  ...TRACKING_COMMANDS,
  ...FLEET_SESSION_COMMANDS,
]);
