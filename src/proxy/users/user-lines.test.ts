import { describe, expect, test } from "bun:test";
import { parseProxyConfig } from "../proxy-config.ts";
import { hashPasswords, readUsers } from "./user-lines.ts";

function parse(values: Record<string, unknown>) {
  return parseProxyConfig({ map_file: "x", ...values }, { file: "proxy.toml" });
}

describe("readUsers", () => {
  test("without lines there is default, with or without password", () => {
    const open = readUsers([], "");
    const closed = readUsers([], "pässword");
    if (typeof open === "string" || typeof closed === "string") throw new Error("refused");
    expect(open.get("default")?.open).toBe(true);
    expect(closed.get("default")?.open).toBe(false);
    // Clients send UTF-8.
    expect(closed.get("default")?.accepts(Buffer.from("pässword").toString("latin1"))).toBe(true);
  });

  test("hashes are as good as passwords", () => {
    const users = readUsers(hashPasswords(["a on >x >y ~a>b +get", "default off"]), "");
    if (typeof users === "string") throw new Error(users);
    expect(users.get("a")?.accepts("x")).toBe(true);
    expect(users.get("a")?.accepts("y")).toBe(true);
    expect(users.get("a")?.accepts("b")).toBe(false);
    expect(users.get("a")?.rules.join(" ")).toContain(" ~a>b ");
  });

  test.each([
    [["a on >hidden +nosuch"], "user a, rule 3, +nosuch: Unknown command or category name in ACL"],
    [["a on hidden"], "user a, rule 2, (not shown): Syntax error"],
    [["a on #hidden"], "user a, rule 2, (not shown): The password hash must be exactly 64 characters"],
    [["a on", "a off"], "user a stands in it twice"],
    [["a on (+get ~x"], "user a: the parenthesis of (+get is not closed"],
    [[""], "a line must begin with the user's name"],
  ])("%j is refused without saying a password", (users, text) => {
    expect(() => parse({ users })).toThrow(text);
    expect(() => parse({ users })).not.toThrow("hidden");
  });
});

describe("addresses that others reach", () => {
  const tls = { tls_cert_file: "c", tls_key_file: "k" };
  test.each([
    [{ listen: "0.0.0.0:1" }, "is not loopback"],
    [{ listen: "0.0.0.0:1", users: ["a on >x +@all"] }, "is not loopback"],
    [{ tls_listen: "0.0.0.0:2", ...tls }, "tls_listen: 0.0.0.0:2 is not loopback"],
    [{ listen: "" }, "clients could not connect"],
    [{ tls_listen: "127.0.0.1:2" }, "needs tls_cert_file and tls_key_file"],
    [{ tls_cert_file: "c" }, "is set, but tls_listen is not"],
    [{ server_tls_ca_file: "c" }, "is set, but server_tls is not true"],
    [{ users: ["default on nopass"], requirepass: "x" }, "say default's password in one of them"],
  ])("%j is refused", (values, text) => {
    expect(() => parse(values)).toThrow(text);
  });

  test.each([
    [{ listen: "0.0.0.0:1", users: ["default off"] }],
    [{ listen: "0.0.0.0:1", requirepass: "x" }],
    [{ listen: "", tls_listen: "0.0.0.0:2", tls_auth_clients: "required", ...tls }],
  ])("%j is taken", (values) => {
    expect(parse(values)).toBeTruthy();
  });
});
