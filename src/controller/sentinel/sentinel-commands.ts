/**
 * The commands that a Sentinel takes, one row each. Replies and error texts are those of Redis 7.0's
 * sentinel.c, so that clients which compare texts find what they expect; in two places the text goes on to
 * say what to do with Shoal instead.
 */
import {
  OK,
  PONG,
  array,
  bulk,
  errorReply,
  integer,
  map,
  nullReply,
  simple,
} from "../../resp/reply-writer.ts";
import type { SentinelClient, SentinelDesk } from "./sentinel-desk.ts";
import { hello, signIn } from "./sentinel-sign-in.ts";
import { SENTINEL_SUBCOMMANDS, masterStatus } from "./sentinel-subcommands.ts";
import { subscribe, unsubscribe } from "./sentinel-subscriptions.ts";

export interface CommandRow {
  /** Words, the name included. */
  readonly wordsMin: number;
  readonly wordsMax: number;
  /** May be called without having signed in. */
  readonly open?: boolean;
  /** May be called while subscribed in RESP2, where pushes and replies look alike. */
  readonly whileSubscribed?: boolean;
  /** Bytes of the reply, a character each; "" for none. */
  readonly run: (desk: SentinelDesk, client: SentinelClient, words: readonly string[]) => string;
}

const ANY = Number.MAX_SAFE_INTEGER;

/** Bytes of a client's words that an error repeats. */
const QUOTED_BYTES_MAX = 128;

/** By name, lower case. */
export const SENTINEL_COMMANDS: Readonly<Record<string, CommandRow>> = {
  ping: { wordsMin: 1, wordsMax: 2, whileSubscribed: true, run: ping },
  auth: { wordsMin: 2, wordsMax: 3, open: true, run: signIn },
  hello: { wordsMin: 1, wordsMax: ANY, open: true, run: hello },
  sentinel: { wordsMin: 2, wordsMax: ANY, run: sentinel },
  subscribe: { wordsMin: 2, wordsMax: ANY, whileSubscribed: true, run: subscribe("subscribe") },
  psubscribe: { wordsMin: 2, wordsMax: ANY, whileSubscribed: true, run: subscribe("psubscribe") },
  unsubscribe: { wordsMin: 1, wordsMax: ANY, whileSubscribed: true, run: unsubscribe("unsubscribe") },
  punsubscribe: { wordsMin: 1, wordsMax: ANY, whileSubscribed: true, run: unsubscribe("punsubscribe") },
  publish: {
    wordsMin: 3,
    wordsMax: 3,
    run: () => errorReply("ERR Only HELLO messages are accepted by Sentinel instances."),
  },
  role: { wordsMin: 1, wordsMax: 1, run: role },
  info: { wordsMin: 1, wordsMax: ANY, run: info },
  client: { wordsMin: 2, wordsMax: ANY, run: clientCommand },
  command: { wordsMin: 1, wordsMax: ANY, run: command },
  quit: { wordsMin: 1, wordsMax: ANY, open: true, whileSubscribed: true, run: quit },
  reset: { wordsMin: 1, wordsMax: 1, open: true, whileSubscribed: true, run: reset },
};

/** Answers one request. `words` has at least one. */
export function answer(desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  const name = words[0].toLowerCase();
  const row = Object.hasOwn(SENTINEL_COMMANDS, name) ? SENTINEL_COMMANDS[name] : undefined;
  if (desk.password !== "" && !client.signedIn && row?.open !== true)
    return errorReply("NOAUTH Authentication required.");
  if (row === undefined) return unknownCommand(words);
  if (words.length < row.wordsMin || words.length > row.wordsMax) return wrongArity(name);
  const subscribed = client.channels.size + client.patterns.size > 0;
  if (subscribed && client.protocol === 2 && row.whileSubscribed !== true) {
    const allowed =
      "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    return errorReply(`ERR Can't execute '${fullName(words)}': ${allowed}`);
  }
  return row.run(desk, client, words);
}

/** "sentinel|myid", "get". */
function fullName([name, subcommand]: readonly string[]): string {
  const lower = name.toLowerCase();
  const known = lower === "sentinel" && Object.hasOwn(SENTINEL_SUBCOMMANDS, subcommand?.toLowerCase() ?? "");
  return known ? `sentinel|${subcommand.toLowerCase()}` : lower;
}

function wrongArity(name: string): string {
  return errorReply(`ERR wrong number of arguments for '${name}' command`);
}

function unknownCommand(words: readonly string[]): string {
  const [name, ...others] = words.map((word) => word.slice(0, QUOTED_BYTES_MAX));
  let beginning = "";
  for (const word of others) {
    if (beginning.length >= QUOTED_BYTES_MAX) break;
    beginning += `'${word}' `;
  }
  return errorReply(`ERR unknown command '${name}', with args beginning with: ${beginning}`);
}

function unknownSubcommand(container: string, word: string): string {
  const shown = word.slice(0, QUOTED_BYTES_MAX);
  return errorReply(`ERR unknown subcommand '${shown}'. Try ${container} HELP.`);
}

function ping(_desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  const subscribed = client.protocol === 2 && client.channels.size + client.patterns.size > 0;
  if (subscribed) return array([bulk("pong"), bulk(words[1] ?? "")]);
  return words.length === 1 ? PONG : bulk(words[1]);
}

function sentinel(desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  const name = words[1].toLowerCase();
  const row = Object.hasOwn(SENTINEL_SUBCOMMANDS, name) ? SENTINEL_SUBCOMMANDS[name] : undefined;
  if (row === undefined) return unknownSubcommand("SENTINEL", words[1]);
  const given = words.length - 2;
  if (given < row.argumentsMin || given > row.argumentsMax) return wrongArity(`sentinel|${name}`);
  return row.run(desk, client, words.slice(2));
}

function role(desk: SentinelDesk, client: SentinelClient): string {
  const names = desk.masters(client.host).map((master) => bulk(master.name));
  return array([bulk("sentinel"), array(names)]);
}

function info(desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  const wanted = words.slice(1).map((word) => word.toLowerCase());
  const all = wanted.length === 0 || wanted.some((one) => ["all", "default", "everything"].includes(one));
  const masters = desk.masters(client.host);
  const sections: Array<readonly [string, readonly string[]]> = [
    [
      "Server",
      [
        `redis_version:${desk.redisVersion}`,
        "redis_mode:sentinel",
        `shoal_version:${desk.version}`,
        `process_id:${desk.pid}`,
        `run_id:${desk.runId}`,
        `tcp_port:${desk.port}`,
      ],
    ],
    ["Clients", [`connected_clients:${desk.clients}`]],
    [
      "Sentinel",
      [
        `sentinel_masters:${masters.length}`,
        "sentinel_tilt:0",
        "sentinel_tilt_since_seconds:-1",
        "sentinel_running_scripts:0",
        "sentinel_scripts_queue_length:0",
        "sentinel_simulate_failure_flags:0",
        ...masters.map((master, i) => {
          const status = masterStatus(master);
          const others = `slaves=${master.replicas.length},sentinels=${desk.settings().otherSentinels + 1}`;
          return `master${i}:name=${master.name},status=${status},address=${master.addr},${others}`;
        }),
      ],
    ],
  ];
  const shown = sections.filter(([title]) => all || wanted.includes(title.toLowerCase()));
  const text = shown.map(([title, lines]) => [`# ${title}`, ...lines, ""].join("\r\n")).join("\r\n");
  // Not a verbatim string in RESP3 either, unlike a server's.
  return bulk(text);
}

/** What client libraries send when they connect. */
function clientCommand(_desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  switch (words[1].toLowerCase()) {
    case "id":
      return integer(client.id);
    case "getname":
      return client.name === "" ? nullReply(client.protocol) : bulk(client.name);
    case "setname":
      if (words.length !== 3) return wrongArity("client|setname");
      if (!/^[!-~]*$/.test(words[2]))
        return errorReply("ERR Client names cannot contain spaces, newlines or special characters.");
      client.name = words[2];
      return OK;
    case "setinfo":
      return words.length === 4 ? OK : wrongArity("client|setinfo");
    default:
      return unknownSubcommand("CLIENT", words[1]);
  }
}

/** redis-cli asks for its help texts with it: there are none, which it takes well. */
function command(_desk: SentinelDesk, client: SentinelClient, words: readonly string[]): string {
  const names = Object.keys(SENTINEL_COMMANDS);
  switch (words[1]?.toLowerCase()) {
    case undefined:
    case "info":
      return array([]);
    case "docs":
      return map(client.protocol, []);
    case "count":
      return integer(names.length);
    case "list":
      return array(names.map(bulk));
    default:
      return unknownSubcommand("COMMAND", words[1]);
  }
}

function quit(_desk: SentinelDesk, client: SentinelClient): string {
  client.closing = true;
  return OK;
}

function reset(_desk: SentinelDesk, client: SentinelClient): string {
  client.channels.clear();
  client.patterns.clear();
  client.protocol = 2;
  client.name = "";
  client.signedIn = false;
  return simple("RESET");
}
