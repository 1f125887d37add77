import { expect, test } from "bun:test";
import { type FleetProxy, pickProxy } from "./pick-proxy.ts";

function proxy(number: number, state: FleetProxy["state"] = "serving"): FleetProxy {
  return { id: `p${number}`, addr: `10.0.0.${number}:19000`, state };
}

const HOSTS = Array.from({ length: 1000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);

function chosenBy(proxies: readonly FleetProxy[]): string[] {
  return HOSTS.map((host) => pickProxy(proxies, host)?.id ?? "");
}

test("clients are spread over the proxies, whatever the order they are named in", () => {
  const fleet = [1, 2, 3, 4].map((number) => proxy(number));
  const chosen = chosenBy(fleet);
  for (const { id } of fleet) {
    const share = chosen.filter((one) => one === id).length / HOSTS.length;
    expect([id, share > 0.2 && share < 0.3]).toEqual([id, true]);
  }
  expect(chosenBy(fleet.toReversed())).toEqual(chosen);
});

test("one that goes takes only its own clients with it, and gets them back", () => {
  const fleet = [1, 2, 3, 4].map((number) => proxy(number));
  const before = chosenBy(fleet);
  const after = chosenBy([proxy(1), proxy(2, "lost"), proxy(3), proxy(4)]);
  for (const [i, id] of before.entries()) {
    if (id === "p2") expect(after[i]).not.toBe("p2");
    else expect(after[i]).toBe(id);
  }
});

test("one on the client's own machine goes before all others", () => {
  const fleet = [proxy(1), proxy(2), { id: "near", addr: "127.0.0.1:19000", state: "serving" } as const];
  expect(pickProxy(fleet, "10.0.0.2")?.id).toBe("p2");
  expect(pickProxy(fleet, "::1")?.id).toBe("near");
  expect(pickProxy([{ ...fleet[1], state: "draining" }, proxy(1)], "10.0.0.2")?.id).toBe("p1");
});

test("with none left it is one of those that were, with none ever it is none", () => {
  expect(pickProxy([proxy(1, "lost"), proxy(2, "left")], "10.9.9.9")?.id).toMatch(/^p[12]$/);
  expect(pickProxy([], "10.9.9.9")).toBeNull();
});
