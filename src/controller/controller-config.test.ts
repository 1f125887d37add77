import { describe, expect, test } from "bun:test";
import { helpControllerConfig, parseControllerConfig } from "./controller-config.ts";

const parse = (values: Record<string, unknown>) => parseControllerConfig(values, { file: "controller.toml" });
const group = { id: "g1", primary: "127.0.0.1:1", replicas: ["127.0.0.1:2"] };

describe("parseControllerConfig", () => {
  test("defaults, and groups as tables", () => {
    const config = parse({ cluster: { groups: [group, { id: "g2", primary: "127.0.0.1:3" }] } });
    expect(config).toMatchObject({ id: "c1", listen: "127.0.0.1:18080", "cluster.name": "shoal" });
    expect(config.groups).toEqual([group, { id: "g2", primary: "127.0.0.1:3", replicas: [] }]);
  });

  test("the options of a new cluster are checked as those that are set later", () => {
    const options = { hold_timeout_ms: 500, acks: "replica 1" };
    expect(parse({ cluster: { groups: [group], options } }).options).toEqual(options);
    expect(parse({ cluster: { groups: [group] } }).options).toEqual({});
    expect(() => parse({ cluster: { options: { ack: 1 } } })).toThrow("did you mean acks?");
    expect(() => parse({ cluster: { options: [] } })).toThrow("want a table: [cluster.options]");
    expect(helpControllerConfig()).toContain('#acks = "async"');
  });

  test.each([
    [{ listen: "10.0.0.1:18080" }, "listen: 10.0.0.1:18080 is not loopback: set token"],
    [{ listen: "18080" }, 'listen: "18080": want host:port'],
    [{ sentinel_listen: "10.0.0.1:26379" }, "10.0.0.1:26379 is not loopback: set sentinel_password"],
    [{ sentinel_listen: "127.0.0.1:18080" }, "127.0.0.1:18080: want a port of its own"],
    [{ sentinel_listen: "26379" }, 'sentinel_listen: "26379": want host:port'],
    [{ id: "a b" }, 'id: "a b"'],
    [{ failover: "sentinel" }, 'sentinels: want at least one host:port with failover = "sentinel"'],
    [{ sentinels: ["h"] }, 'sentinels: "h": want host:port'],
    [{ sentinels: ["h:1", "h:1"] }, "sentinels: a sentinel stands in it twice"],
    [{ cluster: { slots: 1025, groups: [group] } }, "slot count 1025 is not one of"],
    [{ cluster: { groups: {} } }, "want a list of tables"],
    [
      { cluster: { groups: [{ ...group, primry: 1 }] } },
      "number 1: unknown key primry (did you mean primary?)",
    ],
    [{ cluster: { groups: [{ id: "g1" }] } }, "number 1: want id and primary as texts"],
    [{ cluster: { nme: "x" } }, "unknown key cluster.nme (did you mean cluster.name?)"],
  ])("refuses %j", (values, message) => {
    expect(() => parse(values)).toThrow(message);
  });

  test("an address that is not loopback is fine with a token; the help names every key", () => {
    expect(parse({ listen: "0.0.0.0:18080", token: "t" }).token).toBe("t");
    expect(helpControllerConfig()).toContain("[[cluster.groups]]");
    expect(helpControllerConfig()).toContain("proxy_lease_ms = 5000");
  });
});
