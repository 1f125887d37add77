/**
 * AUTH and HELLO at the Sentinel face. There is one user, "default", with the password of the configuration.
 */
import { OK, type Protocol, array, bulk, errorReply, integer, map } from "../../resp/reply-writer.ts";
import { sameSecret } from "../same-secret.ts";
import type { SentinelClient, SentinelDesk } from "./sentinel-desk.ts";

const WRONG = errorReply("WRONGPASS invalid username-password pair or user is disabled.");
const NOT_SET =
  "ERR AUTH <password> called without any password configured for the default user. " +
  "Are you sure your configuration is correct?";
const HELLO_FIRST =
  "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH " +
  "<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the " +
  "same time";

/** `AUTH password`, `AUTH user password`. */
export function signIn(desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  if (words.length === 2 && desk.password === "") return errorReply(NOT_SET);
  const user = words.length === 3 ? words[1] : "default";
  if (!fits(desk, user, words[words.length - 1])) return WRONG;
  client.signedIn = true;
  return OK;
}

/** `HELLO [2|3 [AUTH user password] [SETNAME name]]`. Nothing is changed unless all of it is right. */
export function hello(desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  let protocol: Protocol = client.protocol;
  if (words.length > 1) {
    if (!/^-?\d+$/.test(words[1]))
      return errorReply("ERR Protocol version is not an integer or out of range");
    if (words[1] !== "2" && words[1] !== "3") return errorReply("NOPROTO unsupported protocol version");
    protocol = words[1] === "3" ? 3 : 2;
  }
  let signedIn = client.signedIn || desk.password === "";
  let { name } = client;
  for (let at = 2; at < words.length;) {
    const option = words[at].toLowerCase();
    if (option === "auth" && at + 2 < words.length) {
      if (!fits(desk, words[at + 1], words[at + 2])) return WRONG;
      signedIn = true;
      at += 3;
    } else if (option === "setname" && at + 1 < words.length) {
      name = words[at + 1];
      at += 2;
    } else return errorReply(`ERR Syntax error in HELLO option '${words[at].slice(0, 128)}'`);
  }
  if (!signedIn) return errorReply(HELLO_FIRST);
  client.protocol = protocol;
  client.signedIn = true;
  client.name = name;
  return map(protocol, [
    [bulk("server"), bulk("redis")],
    [bulk("version"), bulk(desk.redisVersion)],
    [bulk("proto"), integer(protocol)],
    [bulk("id"), integer(client.id)],
    [bulk("mode"), bulk("sentinel")],
    [bulk("modules"), array([])],
  ]);
}

/** Without a password the default user takes any, as in Redis. */
function fits(desk: SentinelDesk, user: string, password: string): boolean {
  return user === "default" && (desk.password === "" || sameSecret(password, desk.password));
}
