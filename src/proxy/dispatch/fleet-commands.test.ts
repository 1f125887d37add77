import { describe, expect, test } from "bun:test";
import { commandByName, COMMANDS } from "../../commands/command-lookup.ts";
import * as c from "../../commands/command.ts";
import { FLEET_COMMANDS, FLEET_SESSION_COMMANDS } from "./fleet-commands.ts";

describe("the tables and the command table agree", () => {
  test("what the table says is merged in a way of its own has one here", () => {
    const own = COMMANDS.filter((command) => command.merge === c.MERGE_OWN).map((command) => command.name);
    expect(own.length).toBeGreaterThan(10);
    expect(own.filter((name) => !FLEET_COMMANDS.has(name))).toEqual([]);
  });

  test("what stands here gets here", () => {
    for (const name of FLEET_COMMANDS.keys()) {
      expect(c.ROUTE_NAMES[commandByName(name)?.route ?? -1], name).toBe("all-groups");
    }
    for (const [name] of FLEET_SESSION_COMMANDS) {
      expect(c.ROUTE_NAMES[commandByName(name)?.route ?? -1], name).toBe("proxy");
    }
  });
});
