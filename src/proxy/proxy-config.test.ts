import { expect, test } from "bun:test";
import { isLoopback, parseProxyConfig } from "./proxy-config.ts";

const source = { file: "proxy.toml" };
const controllers = ["http://127.0.0.1:18080"];

test("takes a controller's address and nothing else", () => {
  expect(parseProxyConfig({ controllers }, source).listen).toBe("127.0.0.1:19000");
});

test.each([
  [{}, "controllers: empty: the proxy needs a controller (or a map_file) to get its map from"],
  [{ controllers: ["127.0.0.1:18080"] }, 'controllers: "127.0.0.1:18080": want http://host:port'],
  [
    { controllers, listen: "0.0.0.0:1" },
    "listen: 0.0.0.0:1 is not loopback: set requirepass, or listen on 127.0.0.1",
  ],
  [{ controllers, listen: "nonsense" }, 'listen: "nonsense": want host:port'],
  [{ controllers, id: "a b" }, 'id: "a b": want 1 to 64 letters, digits, "-", "_" or "."'],
  [
    { controllers, reconnect_backoff_ms_min: 2000 },
    "reconnect_backoff_ms_min: larger than reconnect_backoff_ms_max",
  ],
] as Array<[Record<string, unknown>, string]>)("refuses %j", (values, message) => {
  expect(() => parseProxyConfig(values, source)).toThrow(`Cannot use proxy.toml: ${message}`);
});

test("an open address with a password is allowed", () => {
  expect(parseProxyConfig({ controllers, listen: "0.0.0.0:1", requirepass: "x" }, source).requirepass).toBe(
    "x",
  );
});

test("loopback is this machine only", () => {
  expect(["127.0.0.1", "127.1.2.3", "::1", "localhost"].every(isLoopback)).toBe(true);
  expect(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.org"].some(isLoopback)).toBe(false);
});
