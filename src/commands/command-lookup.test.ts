import { describe, expect, test } from "bun:test";
import { commandByName, commandOf, COMMANDS, lookupCommand, lookupSubcommand } from "./command-lookup.ts";
import { EXTRA_COMMANDS, EXTRA_SUBCOMMANDS, OVERRIDES } from "./command-overrides.ts";
import { CommandTable } from "./command-table.ts";
import { COMMAND_DATA } from "./command-table.generated.ts";
import * as c from "./command.ts";
import { KEYED_SAMPLES } from "./testing/keyed-samples.ts";
import { KEYLESS_SAMPLES } from "./testing/keyless-samples.ts";
import { requestOf } from "./testing/request-of.ts";

const TOP = COMMANDS.filter((command) => !command.name.includes("|"));

function look(name: string): c.Command | null {
  const bytes = new TextEncoder().encode(`*${name}*`);
  return lookupCommand(bytes, 1, bytes.length - 1);
}

function named(name: string): c.Command {
  const command = commandByName(name);
  if (command === null) throw new Error(`Cannot test ${name}: no such command`);
  return command;
}

describe("lookup", () => {
  test("finds every command and subcommand in every case", () => {
    for (const command of COMMANDS) {
      const [container, word] = command.name.split("|");
      for (const spell of [String.prototype.toLowerCase, String.prototype.toUpperCase, everyOther]) {
        const words = [spell.call(container), ...(word === undefined ? [] : [spell.call(word)])];
        expect(commandOf(requestOf(words))).toBe(command);
      }
    }
  });

  test("finds no name that differs in any one byte", () => {
    const names = new Set(TOP.map((command) => command.name));
    for (const { name } of TOP) {
      const bytes = new TextEncoder().encode(name);
      for (let at = 0; at < bytes.length; at++) {
        for (let byte = 0; byte < 256; byte++) {
          const changed = bytes.slice();
          changed[at] = byte;
          const found = lookupCommand(changed, 0, changed.length);
          const lower = latin1(changed).replace(/[A-Z]/g, (letter) => letter.toLowerCase());
          expect(found?.name ?? null).toBe(names.has(lower) ? lower : null);
        }
      }
    }
  });

  test("finds nothing for an empty, a longer, a shorter or a huge name", () => {
    for (const name of ["", "ge", "gett", "x".repeat(300), "client|id", "\0get"])
      expect(look(name)).toBeNull();
  });

  test("tells an unknown subcommand from a command without subcommands", () => {
    const client = named("client");
    const bytes = new TextEncoder().encode("NOSUCH");
    expect(lookupSubcommand(client, bytes, 0, bytes.length)).toBeNull();
    expect(commandOf(requestOf(["CLIENT", "NOSUCH"]))).toBe(client);
    expect(client.flags & c.FLAG_CONTAINER).not.toBe(0);
    expect(lookupSubcommand(named("get"), bytes, 0, bytes.length)).toBeNull();
    // DEBUG takes other words than those with a key, so an unknown one is the server's business.
    expect(named("debug").flags & c.FLAG_CONTAINER).toBe(0);
  });

  test("takes commands that were learned later, with long names too", () => {
    const table = new CommandTable();
    const long = "m.".repeat(60);
    for (let i = 0; i < 500; i++) table.add({ ...named("get"), name: `${long}${i}`, id: i });
    for (let i = 0; i < 500; i++) {
      const bytes = new TextEncoder().encode(`${long}${i}`.toUpperCase());
      expect(table.lookup(bytes, 0, bytes.length)?.id).toBe(i);
    }
  });
});

describe("the table", () => {
  test("has dense ids", () => {
    expect(COMMANDS.map((command) => command.id)).toEqual(COMMANDS.map((_, index) => index));
  });

  test("says for every command where it goes, and for what is not done why", () => {
    for (const command of COMMANDS) {
      expect(c.ROUTE_NAMES[command.route], command.name).toBeString();
      expect(command.note, command.name).not.toContain("neither a key nor a policy");
      const notDone = command.route === c.ROUTE_LATER || command.route === c.ROUTE_REFUSED;
      expect(command.note !== "", command.name).toBe(notDone);
    }
  });

  test("can merge what it fans out, and finds keys where keys decide", () => {
    for (const command of COMMANDS) {
      const several = command.route === c.ROUTE_SPLIT || command.route === c.ROUTE_ALL_GROUPS;
      expect(command.merge !== c.MERGE_NONE, command.name).toBe(several);
      expect(command.merge, command.name).not.toBe(c.MERGE_UNKNOWN);
      const keyed = command.route === c.ROUTE_KEY || command.route === c.ROUTE_SPLIT;
      if (keyed) expect(command.finder, command.name).not.toBe(c.FINDER_UNKNOWN);
      if (keyed) expect(command.keySpecs.length, command.name).toBeGreaterThan(0);
    }
  });

  test("overrides only commands that there are", () => {
    const all = new Set(COMMANDS.map((command) => command.name));
    const listed = new Set(
      COMMAND_DATA.flatMap((data) => [data, ...data.subcommands]).map((data) => data.name),
    );
    const extras = [...EXTRA_COMMANDS, ...Object.values(EXTRA_SUBCOMMANDS).flat()];
    expect(Object.keys(OVERRIDES).filter((name) => !all.has(name))).toEqual([]);
    expect(extras.filter((data) => listed.has(data.name))).toEqual([]);
    expect(Object.keys(EXTRA_SUBCOMMANDS).filter((name) => !listed.has(name))).toEqual([]);
  });

  test("knows the one key of the common commands", () => {
    for (const name of ["get", "set", "incr", "lpush", "hset", "zadd", "xadd", "expire", "dump", "setbit"]) {
      expect(named(name).firstKey, name).toBe(1);
    }
    for (const name of ["object|encoding", "memory|usage", "xinfo|stream", "xgroup|create", "debug|object"]) {
      expect(named(name).firstKey, name).toBe(2);
    }
    for (const name of [
      "mget",
      "rename",
      "eval",
      "sort",
      "xread",
      "ping",
      "spublish",
      "object",
      "georadius",
    ]) {
      expect(named(name).firstKey, name).toBe(0);
    }
  });

  test.each([
    ["get", c.ROUTE_KEY],
    ["msetnx", c.ROUTE_KEY],
    ["eval", c.ROUTE_KEY],
    ["xread", c.ROUTE_KEY],
    ["object|freq", c.ROUTE_KEY],
    ["debug|object", c.ROUTE_PROXY],
    ["function|load", c.ROUTE_ALL_GROUPS],
    ["slowlog|get", c.ROUTE_ALL_GROUPS],
    ["mget", c.ROUTE_SPLIT],
    ["touch", c.ROUTE_SPLIT],
    ["dbsize", c.ROUTE_ALL_GROUPS],
    ["script|exists", c.ROUTE_ALL_GROUPS],
    ["time", c.ROUTE_ANY_GROUP],
    ["command|docs", c.ROUTE_ANY_GROUP],
    ["config|help", c.ROUTE_ANY_GROUP],
    ["object", c.ROUTE_ANY_GROUP],
    ["client|setinfo", c.ROUTE_PROXY],
    ["ping", c.ROUTE_PROXY],
    ["multi", c.ROUTE_PROXY],
    ["blpop", c.ROUTE_KEY],
    ["client|tracking", c.ROUTE_PROXY],
    ["config|set", c.ROUTE_ALL_GROUPS],
    ["cluster|slots", c.ROUTE_REFUSED],
    ["cluster|help", c.ROUTE_REFUSED],
    ["shutdown", c.ROUTE_REFUSED],
  ])("routes %s", (name, route) => {
    expect(c.ROUTE_NAMES[named(name).route]).toBe(c.ROUTE_NAMES[route]);
  });

  test("sends scripts without keys home and other keyless calls anywhere", () => {
    expect(c.keylessRoute(named("eval"))).toBe(c.ROUTE_HOME_GROUP);
    expect(c.keylessRoute(named("mset"))).toBe(c.ROUTE_ANY_GROUP);
  });

  test("checks arity as a server does", () => {
    expect([1, 2, 3].map((argc) => c.arityFits(named("get"), argc))).toEqual([false, true, false]);
    expect([2, 3, 9].map((argc) => c.arityFits(named("set"), argc))).toEqual([false, true, true]);
    expect([1, 2, 3].map((argc) => c.arityFits(named("client|id"), argc))).toEqual([false, true, false]);
  });

  test("words its refusals", () => {
    const later = { ...named("get"), route: c.ROUTE_LATER, note: "reading" };
    expect(c.refusalText(later)).toBe("ERR Command 'get' is not supported by the proxy yet: reading");
    expect(c.refusalText(named("shutdown"))).toBe(
      "ERR Command 'shutdown' is refused by the proxy: the servers' life belongs to the controller",
    );
  });

  test("has sample calls for every command that can be called", () => {
    const sampled = new Set([...Object.keys(KEYED_SAMPLES), ...Object.keys(KEYLESS_SAMPLES)]);
    const callable = COMMANDS.filter(
      (command) => (command.flags & c.FLAG_CONTAINER) === 0 || sampled.has(command.name),
    )
      .map((command) => command.name)
      .filter((name) => !/^cluster\||^debug\||\|help$/.test(name));
    expect(callable.filter((name) => !sampled.has(name))).toEqual([]);
    expect([...sampled].filter((name) => commandByName(name) === null)).toEqual([]);
  });
});

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function everyOther(this: string): string {
  return this.replace(/[a-z]/g, (letter, at: number) => (at % 2 === 0 ? letter.toUpperCase() : letter));
}
