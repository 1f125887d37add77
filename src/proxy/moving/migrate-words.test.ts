import { describe, expect, test } from "bun:test";
import { migrateRequest, pullError, readMigrateReply } from "./migrate-words.ts";

const ORDER = {
  host: "h",
  port: 7,
  database: 3,
  timeoutMs: 9,
  copy: false,
  credentials: null,
  keys: ["a", ""],
};

function words(request: string): string[] {
  return request.split("\r\n").filter((_, i) => i > 0 && i % 2 === 0);
}

describe("MIGRATE's words", () => {
  test("never with REPLACE", () => {
    expect(words(migrateRequest(ORDER))).toEqual(["MIGRATE", "h", "7", "", "3", "9", "KEYS", "a", ""]);
    const copy = { ...ORDER, copy: true, credentials: { user: "u", password: "p" } };
    expect(words(migrateRequest(copy)).slice(6, -2)).toEqual(["COPY", "AUTH2", "u", "p", "KEYS"]);
    const old = { ...ORDER, credentials: { user: "", password: "p" } };
    expect(words(migrateRequest(old)).slice(6, -2)).toEqual(["AUTH", "p", "KEYS"]);
  });

  test.each([
    ["+OK", "moved", ""],
    ["+NOKEY", "absent", ""],
    [
      "-ERR Target instance replied with error: BUSYKEY Target key name already exists.",
      "busy",
      "BUSYKEY Target key name already exists.",
    ],
    [
      "-IOERR error or timeout reading to target instance",
      "unclear",
      "IOERR error or timeout reading to target instance",
    ],
    ["-ERR Target instance replied with error: LOADING x", "wait", "LOADING x"],
    [
      "-LOADING Redis is loading the dataset in memory",
      "wait",
      "LOADING Redis is loading the dataset in memory",
    ],
    ["-ERR Target instance replied with error: OOM x", "refused", "OOM x"],
    ["-NOPERM y", "refused", "NOPERM y"],
    // The source's own word, about a key of that name: it is no answer of the target.
    ["-BUSYKEY z", "refused", "BUSYKEY z"],
    [":1", "refused", "ERR an answer that is none: :1"],
  ])("%s means %s", (reply, kind, text) => {
    expect(readMigrateReply(reply)).toEqual({ kind, text } as ReturnType<typeof readMigrateReply>);
  });

  test("the client sees the cause's code first", () => {
    expect(pullError("k", "g1", "g2", "OOM no memory")).toBe(
      "OOM Cannot move key 'k' from group g1 to group g2: no memory",
    );
    expect(pullError("k", "g1", "g2", "what is this")).toMatch(/^ERR .*: what is this$/);
  });
});
