/**
 * The state machine of moves: whatever happens in whatever order, every slot has a home and every job ends.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type TopologyEvent, changeTopology, createTopology } from "./change-topology.ts";
import { type ClusterTopology, parseStoredTopology } from "./cluster-topology.ts";
import { type MoveJob, MOVE_JOBS_MAX, movesOf } from "./move-record.ts";

const GROUPS = ["g1", "g2", "g3"];
const SLOTS = 1024;

function fresh(): ClusterTopology {
  const groups = GROUPS.map((id, index) => ({ id, primary: `h:${index + 1}`, replicas: [] }));
  return createTopology({ name: "c", slots: SLOTS, groups, options: {} }, 1);
}

function apply(topology: ClusterTopology, event: TopologyEvent): ClusterTopology {
  const next = changeTopology(topology, event, topology.term) ?? topology;
  // What a next leader reads is what was written, and nothing else.
  return parseStoredTopology(JSON.stringify(next));
}

const plan = (from: number, to: number, target: string): TopologyEvent => ({
  type: "move-planned",
  moves: [{ from, to, target }],
});

const jobs = (topology: ClusterTopology): readonly MoveJob[] => movesOf(topology).jobs;

/** What the map says of a slot: "g1", "g1 locked g2", "g1 moving g2". */
function slotIn(topology: ClusterTopology, slot: number): string {
  const range = topology.ranges.find(({ from, to }) => from <= slot && slot <= to);
  if (range === undefined) return "nobody";
  return range.move === undefined ? range.group : `${range.group} ${range.move.phase} ${range.move.to}`;
}

/** Every slot that is on its way is in one job, in the phase that the job says. */
function checkConsistent(topology: ClusterTopology): void {
  const owners = new Map<number, MoveJob>();
  for (const job of jobs(topology)) {
    for (const { from, to } of job.spans) {
      for (let slot = from; slot <= to; slot++) {
        expect(owners.has(slot)).toBe(false);
        owners.set(slot, job);
      }
    }
  }
  for (const range of topology.ranges) {
    for (let slot = range.from; slot <= range.to; slot++) {
      const phase = owners.get(slot)?.phase ?? "none";
      const wanted = {
        none: undefined,
        planned: undefined,
        locking: "locked",
        moving: "moving",
        turning: "moving",
      };
      expect(range.move?.phase).toBe(wanted[phase] as never);
    }
  }
}

/** Where each slot may be found serving from: source or target of its job, or its owner. */
function drive(start: ClusterTopology): ClusterTopology {
  let topology = start;
  for (let steps = 0; jobs(topology).length > 0; steps++) {
    expect(steps).toBeLessThan(10 * MOVE_JOBS_MAX);
    const [job] = jobs(topology);
    if (job.phase === "locking") topology = apply(topology, { type: "move-begun", job: job.id });
    else if (job.phase === "moving") topology = apply(topology, { type: "move-finished", job: job.id });
    else topology = apply(topology, { type: "move-locked", job: job.id, keys: 1, bytes: 1 });
  }
  return topology;
}

describe("moves", () => {
  test("a move goes through its phases; the map follows", () => {
    let topology = apply(fresh(), plan(0, 9, "g2"));
    const id = "m1.g1";
    expect(slotIn(topology, 5)).toBe("g1");
    topology = apply(topology, { type: "move-locked", job: id, keys: 3, bytes: 9 });
    expect(slotIn(topology, 5)).toBe("g1 locked g2");
    topology = apply(topology, { type: "move-unlocked", job: id });
    expect([slotIn(topology, 5), jobs(topology)[0].phase]).toEqual(["g1", "planned"]);
    topology = apply(topology, { type: "move-locked", job: id, keys: 3, bytes: 9 });
    topology = apply(topology, { type: "move-begun", job: id });
    expect(slotIn(topology, 5)).toBe("g1 moving g2");
    topology = apply(topology, { type: "move-finished", job: id });
    expect([slotIn(topology, 5), slotIn(topology, 10)]).toEqual(["g2", "g1"]);
    expect(jobs(topology)).toEqual([]);
  });

  test("a cancel turns back what has begun, one job for each group that has keys", () => {
    const moves = [
      { from: 0, to: 9, target: "g2" },
      { from: 10, to: 19, target: "g3" },
    ];
    let topology = apply(fresh(), { type: "move-planned", moves });
    topology = apply(topology, { type: "move-locked", job: "m1.g1", keys: 1, bytes: 1 });
    topology = apply(topology, { type: "move-begun", job: "m1.g1" });
    topology = apply(topology, { type: "move-cancelled", id: "m1" });
    expect(jobs(topology).map(({ id, source, phase }) => [id, source, phase])).toEqual([
      ["m1.g1.g2", "g2", "turning"],
      ["m1.g1.g3", "g3", "turning"],
    ]);
    expect(slotIn(topology, 5)).toBe("g1 moving g2");
    topology = apply(topology, { type: "move-locked", job: "m1.g1.g2", keys: 1, bytes: 1 });
    expect(slotIn(topology, 5)).toBe("g2 locked g1");
    topology = apply(topology, { type: "move-unlocked", job: "m1.g1.g2" });
    expect(slotIn(topology, 5)).toBe("g1 moving g2");
    expect(drive(topology).ranges).toEqual(fresh().ranges);
  });

  test("plans that contradict each other, or name nothing, are refused", () => {
    const topology = apply(fresh(), plan(0, 9, "g2"));
    expect(() => apply(topology, plan(9, 12, "g3"))).toThrow("slots 0-9 are being moved to group g2");
    expect(() => apply(topology, plan(0, 1, "g7"))).toThrow("there is no such group");
    expect(() => apply(topology, plan(5, 1024, "g2"))).toThrow("the slots are 0 to 1023");
    expect(() => apply(topology, { type: "move-cancelled", id: "m9" })).toThrow("no such move");
    const wider = apply(topology, plan(0, 14, "g2"));
    expect(jobs(wider).map((job) => job.spans)).toEqual([
      [{ from: 0, to: 9, target: "g2" }],
      [{ from: 10, to: 14, target: "g2" }],
    ]);
  });

  test("refused slots stay; one in the middle cuts the span in two", () => {
    let topology = apply(fresh(), plan(0, 9, "g2"));
    const refused = [{ slot: 4, source: "g1", target: "g2", key: "big", bytes: 1, blocksMs: 1 }];
    topology = apply(topology, { type: "slots-refused", job: "m1.g1", refused });
    expect(jobs(topology)[0].spans).toEqual([
      { from: 0, to: 3, target: "g2" },
      { from: 5, to: 9, target: "g2" },
    ]);
    topology = drive(topology);
    expect([slotIn(topology, 3), slotIn(topology, 4), slotIn(topology, 5)]).toEqual(["g2", "g1", "g2"]);
    expect(movesOf(topology).refused).toHaveLength(1);
    expect(movesOf(apply(topology, plan(4, 4, "g2"))).refused).toHaveLength(0);
  });

  test("any sequence of events: slots covered once, map and jobs agree, everything ends", () => {
    const slot = fc.nat(SLOTS - 1);
    const group = fc.constantFrom(...GROUPS);
    const index = fc.nat(7);
    const step = fc.oneof(
      fc.record({ kind: fc.constant("plan" as const), a: slot, b: slot, group }),
      fc.record({
        kind: fc.constantFrom("lock", "unlock", "begin", "finish", "cancel", "refuse" as const),
        index,
      }),
      fc.record({ kind: fc.constantFrom("cancel-all", "lead", "pause" as const) }),
    );
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let topology = fresh();
      for (const each of steps) {
        try {
          topology = apply(topology, eventOf(topology, each));
        } catch (error) {
          // Refusals are answers too; they change nothing.
          expect(String(error)).toContain("Cannot");
        }
        checkConsistent(topology);
      }
      topology = drive(topology);
      expect(topology.ranges.some((range) => range.move !== undefined)).toBe(false);
    });
    fc.assert(property, { numRuns: 60, verbose: 1 });
  });
});

interface Step {
  readonly kind: string;
  readonly a?: number;
  readonly b?: number;
  readonly group?: string;
  readonly index?: number;
}

function eventOf(topology: ClusterTopology, step: Step): TopologyEvent {
  const all = jobs(topology);
  const chosen = all[(step.index ?? 0) % Math.max(1, all.length)];
  const job = chosen?.id ?? "m0.g1";
  const { a = 0, b = 0, group = "g1" } = step;
  switch (step.kind) {
    case "plan":
      return plan(Math.min(a, b), Math.max(a, b), group);
    case "lock":
      return { type: "move-locked", job, keys: 1, bytes: 1 };
    case "unlock":
      return { type: "move-unlocked", job };
    case "begin":
      return { type: "move-begun", job };
    case "finish":
      return { type: "move-finished", job };
    case "cancel":
      return { type: "move-cancelled", id: job };
    case "cancel-all":
      return { type: "move-cancelled", id: null };
    case "refuse": {
      const at = chosen?.spans[0].from ?? 0;
      const refused = [{ slot: at, source: "g1", target: "g2", key: "k", bytes: 1, blocksMs: 1 }];
      return { type: "slots-refused", job, refused };
    }
    case "pause":
      return { type: "moves-paused", paused: !movesOf(topology).paused };
    default:
      return { type: "led" };
  }
}
