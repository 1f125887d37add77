/** The bounds of holding, with sessions and servers that are no more than what it looks at. */
import { expect, test } from "bun:test";
import { Counters } from "../counters.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { HELD_BYTES_MAX, HELD_SESSIONS_MAX, Holding } from "./holding.ts";

class Rig {
  nowMs = 0;
  readonly counters = new Counters();
  readonly holding: Holding;
  readonly released: Session[] = [];

  constructor(timeoutMs: number) {
    const plane = {
      env: { clock: { nowMs: () => this.nowMs } },
      config: { hold_timeout_ms: timeoutMs },
      counters: this.counters,
      slots: { map: null, forEachUpstream: () => undefined },
      sights: { look: () => undefined },
    };
    this.holding = new Holding(plane as unknown as DataPlane);
  }

  session(inputBytes = 0): Session {
    const session = {
      closed: false,
      inputBytes,
      connection: { setReading: () => undefined },
      hold: () => undefined,
      release: () => this.released.push(session as unknown as Session),
    };
    return session as unknown as Session;
  }
}

function upstream(group: string, state: "waiting" | "connecting" | "ready"): Upstream {
  const target = { group, address: "a:1" };
  const open = state === "ready";
  return {
    target,
    state,
    open,
    heldByMap: false,
    refuses: false,
    prepare: () => open,
  } as unknown as Upstream;
}

test("as many sessions as may; one more is refused, and counted", () => {
  const rig = new Rig(1000);
  const lost = upstream("g1", "waiting");
  for (let i = 0; i < HELD_SESSIONS_MAX; i++) expect(rig.holding.enter(rig.session(), lost)).toBe(true);
  expect(rig.holding.enter(rig.session(), lost)).toBe(false);
  expect(rig.holding.enter(rig.session(), upstream("g2", "waiting"))).toBe(false);
  expect(rig.counters.holdsRefused).toBe(2);
  rig.holding.back(lost);
  expect(rig.released.length).toBe(HELD_SESSIONS_MAX);
  expect(rig.holding.count).toBe(0);
});

test("as many bytes as may, by the last look", () => {
  const rig = new Rig(1000);
  const lost = upstream("g1", "waiting");
  const large = rig.session(HELD_BYTES_MAX + 1);
  expect(rig.holding.enter(large, lost)).toBe(true);
  rig.holding.check();
  expect(rig.holding.enter(rig.session(), lost)).toBe(false);
  Object.assign(large, { closed: true });
  rig.holding.check();
  expect(rig.holding.enter(rig.session(), lost)).toBe(true);
});

test("the time runs for the group from its loss, whoever asks when", () => {
  const rig = new Rig(1000);
  const lost = upstream("g1", "waiting");
  rig.holding.lost(lost);
  rig.nowMs = 700;
  expect(rig.holding.enter(rig.session(), lost)).toBe(true);
  rig.nowMs = 999;
  rig.holding.check();
  expect(rig.released.length).toBe(0);
  rig.nowMs = 1000;
  rig.holding.check();
  expect(rig.released.length).toBe(1);
  expect(rig.holding.enter(rig.session(), lost)).toBe(false);
  rig.holding.back(lost);
  expect(rig.holding.enter(rig.session(), lost)).toBe(true);
});

test("no time: only a first connection is waited for, and nobody waits when it fails", () => {
  const rig = new Rig(0);
  expect(rig.holding.enter(rig.session(), upstream("g1", "waiting"))).toBe(false);
  expect(rig.holding.enter(rig.session(), upstream("g2", "connecting"))).toBe(true);
  rig.holding.lost(upstream("g2", "waiting"));
  expect(rig.released.length).toBe(1);
  expect(rig.holding.enter(rig.session(), upstream("g2", "ready"))).toBe(false);
});
