import { expect, test } from "bun:test";
import { keysOfPatterns } from "./sort-patterns.ts";

test("keys are made of patterns as a server does", () => {
  const keys = keysOfPatterns(["{t}w_*", "{t}*_x->field", "{t}h*->", "{t}->a*->b->c"], ["1", "2"]);
  expect([...keys].toSorted()).toEqual(
    ["{t}w_1", "{t}w_2", "{t}1_x", "{t}2_x", "{t}h1->", "{t}h2->", "{t}->a1", "{t}->a2"].toSorted(),
  );
});
