import { describe, expect, test } from "bun:test";
import { type ConfigTable, helpConfig, nearestName, parseConfig, publicConfig } from "./config-table.ts";
import { ShoalError } from "./shoal-error.ts";

const TABLE = {
  listen: { type: "string", default: "127.0.0.1:1", doc: "Where clients connect to." },
  workers: { type: "int", default: 1, min: 1, max: 8, doc: "How many." },
  tls: { type: "bool", default: false, doc: "Whether." },
  controllers: { type: "list", default: [], doc: "Who leads." },
  io: { type: "choice", default: "auto", values: ["auto", "epoll"], doc: "Transport." },
  "store.path": { type: "string", default: "shoal.db", doc: "File of the store." },
  "store.password": { type: "string", default: "", secret: true, doc: "For the store." },
} as const satisfies ConfigTable;

function errorOf(values: Record<string, unknown>, text?: string): ShoalError {
  try {
    parseConfig(TABLE, values, { file: "x.toml", text });
  } catch (error) {
    return error as ShoalError;
  }
  throw new Error("no error");
}

describe("parseConfig", () => {
  test("fills in defaults", () => {
    expect(parseConfig(TABLE, {}, { file: "x.toml" })).toEqual({
      listen: "127.0.0.1:1",
      workers: 1,
      tls: false,
      controllers: [],
      io: "auto",
      "store.path": "shoal.db",
      "store.password": "",
    });
  });

  test("takes values, those of tables by their dotted key", () => {
    const config = parseConfig(
      TABLE,
      { workers: 8, tls: true, controllers: ["a"], io: "epoll", store: { path: "y" } },
      { file: "x.toml" },
    );
    expect(config.workers).toBe(8);
    expect(config.controllers).toEqual(["a"]);
    expect(config.io).toBe("epoll");
    expect(config["store.path"]).toBe("y");
  });

  test.each([
    [{ workers: 9 }, "Cannot use x.toml: workers = 9: want a whole number from 1 to 8"],
    [{ workers: 1.5 }, "Cannot use x.toml: workers = 1.5: want a whole number from 1 to 8"],
    [{ workers: "2" }, 'Cannot use x.toml: workers = "2": want a whole number from 1 to 8'],
    [{ tls: 1 }, "Cannot use x.toml: tls = 1: want true or false"],
    [{ listen: 1 }, "Cannot use x.toml: listen = 1: want a text in quotes"],
    [{ controllers: "a" }, 'Cannot use x.toml: controllers = "a": want a list of texts: ["…", "…"]'],
    [{ controllers: [1] }, 'Cannot use x.toml: controllers = [1]: want a list of texts: ["…", "…"]'],
    [{ io: "uring" }, 'Cannot use x.toml: io = "uring": want one of "auto", "epoll"'],
    [{ worker: 2 }, "Cannot use x.toml: unknown key worker (did you mean workers?)"],
    [{ store: { paht: "y" } }, "Cannot use x.toml: unknown key store.paht (did you mean store.path?)"],
    [{ stoer: { path: "y" } }, "Cannot use x.toml: unknown key stoer"],
    [{ toString: 1 }, "Cannot use x.toml: unknown key toString"],
  ] as Array<[Record<string, unknown>, string]>)("refuses %j", (values, message) => {
    const error = errorOf(values);
    expect(error.code).toBe("CONFIG");
    expect(error.message).toBe(message);
  });

  test("names the line", () => {
    const text = 'listen = "a"\n\n# workers = 1\nworkers = 99\n[store]\npath = 1\n';
    expect(errorOf({ workers: 99 }, text).message).toStartWith("Cannot use x.toml:4: workers = 99");
    expect(errorOf({ store: { path: 1 } }, text).message).toStartWith("Cannot use x.toml:6: store.path = 1");
  });

  test("does not show a secret, not even a wrong one", () => {
    expect(errorOf({ store: { password: 4711 } }).message).not.toContain("4711");
    const config = parseConfig(TABLE, { store: { password: "hush" } }, { file: "x.toml" });
    expect(publicConfig(TABLE, config)).toMatchObject({ "store.password": "(set)", workers: 1 });
  });
});

test("helpConfig prints TOML that, with every # before a key removed, parses to the defaults", () => {
  const help = helpConfig(TABLE, "The test");
  const text = help.replaceAll(/^#(?=[a-z_]+ = )/gm, "");
  const values = Bun.TOML.parse(text) as Record<string, unknown>;
  expect(parseConfig(TABLE, values, { file: "x.toml" })).toEqual(parseConfig(TABLE, {}, { file: "x.toml" }));
  expect(help).toContain("# File of the store.");
  for (const key of Object.keys(TABLE)) expect(help).toContain(`#${key.split(".").at(-1)} = `);
});

test("nearestName finds what was meant, and nothing when nothing is near", () => {
  expect(nearestName("servre_timeout_ms", ["server_timeout_ms", "listen"])).toBe("server_timeout_ms");
  expect(nearestName("colour", ["listen", "workers"])).toBeNull();
});
