import { describe, expect, test } from "bun:test";
import { parseKill } from "./client-kill.ts";

describe("parseKill", () => {
  test("one word is an address, of whoever it is", () => {
    expect(parseKill(["127.0.0.1:5"])).toEqual({ addr: "127.0.0.1:5", skipMe: false, oldForm: true });
  });

  test("pairs, in any order and case", () => {
    expect(
      parseKill([
        "ID",
        "7",
        "type",
        "NORMAL",
        "Addr",
        "a:1",
        "laddr",
        "b:2",
        "user",
        "default",
        "SKIPME",
        "NO",
      ]),
    ).toEqual({
      id: "7",
      type: "normal",
      addr: "a:1",
      laddr: "b:2",
      user: "default",
      skipMe: false,
      oldForm: false,
    });
  });

  test.each([
    [["ID", "1", "ADDR"], "ERR syntax error"],
    [["NOSUCH", "1"], "ERR syntax error"],
    [["ID", "0"], "ERR client-id should be greater than 0"],
    [["ID", "x"], "ERR client-id should be greater than 0"],
    [["TYPE", "x"], "ERR Unknown client type 'x'"],
    [["USER", "x"], "ERR No such user 'x'"],
    [["SKIPME", "x"], "ERR syntax error"],
  ])("%p: %s", (words, error) => {
    expect(parseKill(words)).toBe(error);
  });
});
