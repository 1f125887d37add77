import { expect, test } from "bun:test";
import { parseInteger } from "./call.ts";

test.each([
  ["0", 0],
  ["7", 7],
  ["-7", -7],
  ["2147483648", 2147483648],
  ["9223372036854775807", Number(9223372036854775807n)],
  ["-9223372036854775808", Number(-9223372036854775808n)],
  ["9223372036854775808", null],
  ["-9223372036854775809", null],
  ["", null],
  ["-", null],
  ["-0", null],
  ["00", null],
  ["01", null],
  ["+1", null],
  [" 1", null],
  ["1 ", null],
  ["1.0", null],
  ["1e3", null],
  ["abc", null],
])("parseInteger(%j) is %p", (text, value) => {
  expect(parseInteger(text)).toBe(value);
});
