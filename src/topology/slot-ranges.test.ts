import { expect, test } from "bun:test";
import { assignSlots, formatSlotSpans, parseSlotSpans, spansOf } from "./slot-ranges.ts";

test("ranges are read in any order and written back", () => {
  expect(parseSlotSpans("7", 1024)).toEqual([{ from: 7, to: 7 }]);
  expect(parseSlotSpans("200, 0-99", 1024)).toEqual([
    { from: 0, to: 99 },
    { from: 200, to: 200 },
  ]);
  expect(formatSlotSpans(parseSlotSpans("200,0-99", 1024))).toBe("0-99 200");
});

test("what is no range is refused with the reason", () => {
  const why = (text: string) => () => parseSlotSpans(text, 1024);
  expect(why("a")).toThrow('Cannot use slots "a": want a slot or a range');
  expect(why("9-3")).toThrow("9 is behind 3");
  expect(why("1000-1024")).toThrow("the last slot is 1023");
  expect(why("1-5,5")).toThrow("slot 5 stands in it twice");
});

test("assigning joins neighbours and keeps everything covered", () => {
  const ranges = [
    { from: 0, to: 499, group: "g1" },
    { from: 500, to: 1023, group: "g2" },
  ];
  expect(assignSlots(ranges, { from: 400, to: 499 }, "g2")).toEqual([
    { from: 0, to: 399, group: "g1" },
    { from: 400, to: 1023, group: "g2" },
  ]);
  expect(assignSlots(ranges, { from: 0, to: 1023 }, "g1")).toEqual([{ from: 0, to: 1023, group: "g1" }]);
  expect(spansOf([1, 2, 3, 7])).toEqual([
    { from: 1, to: 3 },
    { from: 7, to: 7 },
  ]);
});
