/** Which lane a session's request takes, by what it waits for and by what the session is owed. */
import { describe, expect, test } from "bun:test";
import { QuietPlane } from "../../../test/support/quiet-plane.ts";
import { needOf, parseAcks } from "../../topology/acks-rule.ts";
import type { ClusterMap } from "../../topology/cluster-map.ts";
import { HOLD_DRAIN } from "../downstream/reply-queue.ts";
import type { Session } from "../downstream/session.ts";
import { ACK_NEEDS_MAX, ACK_STRIPES, type Acks } from "./acks.ts";

const RULES = "a:*=replica 1 500, b:*=replica 2 100, same:*=replica 1 500, *=async";

/** A session in a plane with `rules`, and what a write to `key` would need. */
function start(rules: string) {
  const quiet = new QuietPlane(1);
  const { plane } = quiet;
  quiet.client();
  const [session] = plane.clients.all() as Iterable<Session>;
  const use = (text: string): void => {
    const map = plane.slots.map as ClusterMap;
    plane.applyMap({ ...map, version: map.version + 1, options: { acks: text } });
    quiet.endTurn();
  };
  use(rules);
  return { session, acks: plane.acks, use, need: (key: string) => needOf(parseAcks(rules), key) };
}

/** 0: where nobody waits; then by the rules' order. */
function levelOf(session: Session): number {
  return Math.ceil(session.lane.stripe / ACK_STRIPES);
}

describe("acks: lanes", () => {
  test("each need has its own, equal ones the same, and what waits for nothing the first", () => {
    const { session, acks, need } = start(RULES);
    const seen = ["a:1", "b:1", "c", "same:1", "c"].map((key) => {
      expect(acks.enter(session, need(key))).toBe(true);
      return levelOf(session);
    });
    expect(seen).toEqual([1, 2, 0, 1, 0]);
    // What is for several rules' keys at once.
    expect(acks.strictest).toEqual({ replicas: 2, timeoutMs: 500 });
    expect(acks.enter(session, acks.strictest)).toBe(true);
    expect(levelOf(session)).toBe(3);
  });

  test("while replies are owed: nothing that would wait less leaves, nothing that waits more stays", () => {
    const { session, acks, need } = start(RULES);
    const stays = (at: string, key: string): boolean => {
      session.inFlight = 0;
      acks.enter(session, need(at));
      session.inFlight = 1;
      const { lane } = session;
      const taken = acks.enter(session, need(key));
      expect(session.lane).toBe(lane);
      expect(session.holds).toBe(taken ? 0 : HOLD_DRAIN);
      session.holds = 0;
      return taken;
    };
    expect(stays("a:1", "c")).toBe(true);
    expect(stays("a:1", "same:1")).toBe(true);
    expect(stays("c", "a:1")).toBe(false);
    // More replicas, but not for so long: neither does for the other.
    expect(stays("a:1", "b:1")).toBe(false);
    expect(stays("b:1", "a:1")).toBe(false);
  });

  test("further needs share the strictest one's lanes", () => {
    const rules = Array.from({ length: ACK_NEEDS_MAX + 3 }, (_, i) => `k${i}*=replica ${i + 1}`);
    const { session, acks, need } = start(rules.join(","));
    const levels = rules.map((_, i) => {
      acks.enter(session, need(`k${i}`));
      return levelOf(session);
    });
    expect(levels).toEqual([1, 2, 3, 4, 4, 4, 4]);
  });

  test("a change of the option brings everybody back to the first, when no reply is owed", () => {
    const { session, acks, use, need } = start(RULES);
    acks.enter(session, need("a:1"));
    use("*=replica 3");
    expect(levelOf(session)).toBe(0);
    acks.enter(session, acks.strictest);
    session.inFlight = 1;
    use("async");
    expect([levelOf(session), session.holds]).toEqual([1, HOLD_DRAIN]);
  });

  test("sessions are dealt out over the lanes of a need", () => {
    const { acks }: { acks: Acks } = start("replica");
    const stripes = new Set(Array.from({ length: 20 }, (_, id) => acks.stripeOf(id, true)));
    expect(stripes.size).toBe(ACK_STRIPES);
    expect(new Set(Array.from({ length: 20 }, (_, id) => acks.stripeOf(id)))).toEqual(new Set([0]));
  });
});
