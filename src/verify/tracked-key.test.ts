import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { KINDS } from "./kinds/kinds.ts";
import type { Fault, Finding, Kind } from "./kinds/kind.ts";
import { FakeRedis } from "./testing/fake-redis.ts";
import { TrackedKey } from "./tracked-key.ts";

/** One writer on one key of a server that the test can damage. */
class Rig {
  nowMs = 1000;
  readonly server = new FakeRedis(() => this.nowMs);
  readonly key: TrackedKey;
  readonly findings: Finding[] = [];

  constructor(kind: Kind) {
    this.key = new TrackedKey(kind, "verify:{t.1}:k:0");
  }

  write(outcome: "reply" | "refused" | "doubt" | "doubt applied" = "reply"): void {
    const commands = this.key.begin(this.nowMs);
    this.nowMs += 1;
    const reply = outcome === "reply" || outcome === "doubt applied" ? this.server.run(commands) : null;
    this.nowMs += 1;
    if (outcome === "refused") this.findings.push(...this.key.refuse());
    else if (outcome === "reply") this.answered(reply);
    else this.key.doubt();
  }

  /** The key's writer looks. */
  look(): boolean | null {
    const mark = this.key.mark(this.nowMs);
    const reply = this.server.run([this.key.kind.read(this.key.key)]);
    this.nowMs += 1;
    const { applied, finding } = this.key.settle(mark, reply, this.nowMs);
    if (finding !== null) this.findings.push(finding);
    return applied;
  }

  /** Somebody else reads. */
  read(): void {
    const mark = this.key.mark(this.nowMs);
    const reply = this.server.run([this.key.kind.read(this.key.key)]);
    const finding = this.key.observe(mark, reply, this.nowMs + 1);
    if (finding !== null) this.findings.push(finding);
  }

  /** Writes so often that no key of any kind is empty, and none expires. */
  warmUp(writes: number): void {
    for (let i = 0; i < writes; i++) this.write();
  }

  get faults(): Fault[] {
    return this.findings.map((finding) => finding.fault);
  }

  private answered(reply: ReturnType<FakeRedis["run"]>): void {
    // As the worker does it: an odd answer is followed by a look.
    if (!this.key.acknowledge(reply, this.nowMs)) this.look();
    this.findings.push(...this.key.takeBackwards());
  }
}

const kindNamed = (name: string): Kind => KINDS.find((kind) => kind.name === name) as Kind;
const anyKind = fc.constantFrom(...KINDS);
const outcomes = fc.constantFrom("reply" as const, "reply" as const, "refused" as const, "read" as const);

describe("an honest server", () => {
  test("is never blamed, whatever is refused or in doubt", () => {
    const ends = fc.constantFrom("doubt" as const, "doubt applied" as const, "reply" as const);
    fc.assert(
      fc.property(
        anyKind,
        fc.array(outcomes, { maxLength: 60 }),
        ends,
        fc.nat(3000),
        (kind, steps, end, idleMs) => {
          const rig = new Rig(kind);
          for (const step of steps) {
            if (step === "read") rig.read();
            else rig.write(step);
          }
          rig.write(end);
          rig.nowMs += idleMs;
          rig.read();
          rig.look();
          return rig.findings.length === 0;
        },
      ),
    );
  });

  test("a write in doubt is told apart: it has run, or not; the key is left alone", () => {
    for (const kind of KINDS.filter((one) => one.name !== "expiring")) {
      for (const applied of [true, false]) {
        const rig = new Rig(kind);
        rig.warmUp(3);
        rig.write(applied ? "doubt applied" : "doubt");
        expect([kind.name, rig.look(), rig.key.done]).toEqual([kind.name, applied, 3]);
        expect(rig.key.retired).toBe(true);
      }
    }
  });

  test("a write in doubt that was seen may vanish again, and no more than that", () => {
    for (const kind of KINDS.filter((one) => one.name === "counter" || one.name === "list")) {
      const rig = new Rig(kind);
      rig.warmUp(2);
      const older = rig.server.take(kind.names(rig.key.key));
      rig.write();
      const acknowledged = rig.server.take(kind.names(rig.key.key));
      rig.write("doubt applied");
      expect([kind.name, rig.look()]).toEqual([kind.name, true]);
      rig.server.put(acknowledged);
      expect([kind.name, rig.look(), rig.findings]).toEqual([kind.name, null, []]);
      rig.server.put(older);
      rig.look();
      expect(rig.faults).toEqual(["lost"]);
    }
  });
});

describe("planted faults are found", () => {
  test("writes that are undone are lost, and so many", () => {
    fc.assert(
      fc.property(
        anyKind,
        fc.integer({ min: 2, max: 30 }),
        fc.integer({ min: 1, max: 5 }),
        (kind, kept, undone) => {
          const rig = new Rig(kind);
          rig.warmUp(kept);
          const names = kind.names(rig.key.key);
          const before = rig.server.take(names);
          const shownBefore = JSON.stringify(rig.server.run([kind.read(rig.key.key)]));
          rig.warmUp(undone);
          if (JSON.stringify(rig.server.run([kind.read(rig.key.key)])) === shownBefore) return true;
          rig.server.put(before);
          rig.look();
          const [finding] = rig.findings;
          // A register's states repeat (it is deleted now and then), so a loss may look smaller than it is.
          return finding.fault === "lost" && finding.count >= 1 && finding.count <= undone;
        },
      ),
    );
  });

  test("a write that is applied twice", () => {
    for (const [name, extra] of [
      ["counter", ["INCR"]],
      ["list", ["RPUSH"]],
    ] as const) {
      const rig = new Rig(kindNamed(name));
      rig.warmUp(5);
      const again = rig.key.kind.write(rig.key.key, 5)[0];
      expect(again[0]).toBe(extra[0]);
      rig.server.run([again]);
      rig.look();
      expect([name, ...rig.faults]).toEqual([name, "duplicated"]);
    }
  });

  test("the value of another key", () => {
    for (const kind of KINDS) {
      const rig = new Rig(kind);
      rig.warmUp(5);
      const other = new TrackedKey(kind, "verify:{t.2}:k:0");
      const names = kind.names(rig.key.key);
      for (let n = 1; n <= 5; n++) rig.server.run(kind.write(other.key, n));
      const foreign = [...rig.server.take(kind.names(other.key)).values()];
      rig.server.put(new Map(names.map((name, i) => [name, foreign[i]])));
      rig.look();
      expect([kind.name, ...rig.faults]).toEqual([kind.name, "crossed"]);
    }
  });

  test("a reader that goes back in time", () => {
    const rig = new Rig(kindNamed("counter"));
    rig.warmUp(4);
    // Seen by a reader before it is acknowledged, gone for the next one, and then acknowledged.
    const commands = rig.key.begin(rig.nowMs);
    const before = rig.server.take([rig.key.key]);
    const reply = rig.server.run(commands);
    rig.read();
    const after = rig.server.take([rig.key.key]);
    rig.server.put(before);
    rig.read();
    rig.server.put(after);
    rig.key.acknowledge(reply, rig.nowMs);
    rig.findings.push(...rig.key.takeBackwards());
    expect(rig.faults).toEqual(["order"]);
  });

  test("the same, but never acknowledged: a dirty read, which is allowed", () => {
    const rig = new Rig(kindNamed("counter"));
    rig.warmUp(4);
    const commands = rig.key.begin(rig.nowMs);
    const before = rig.server.take([rig.key.key]);
    rig.server.run(commands);
    rig.read();
    rig.server.put(before);
    rig.read();
    rig.key.doubt();
    expect([rig.key.takeDirty(), rig.findings.length]).toEqual([1, 0]);
  });

  test("elements in another order", () => {
    const rig = new Rig(kindNamed("list"));
    rig.warmUp(6);
    const elements = rig.server.run([rig.key.kind.read(rig.key.key)]) as string[];
    rig.server.run([["DEL", rig.key.key]]);
    for (const element of elements.toReversed()) rig.server.run([["RPUSH", rig.key.key, element]]);
    rig.look();
    expect(rig.faults).toEqual(["order"]);
  });

  test("half of a transaction", () => {
    const rig = new Rig(kindNamed("pair"));
    rig.warmUp(3);
    rig.server.run([rig.key.kind.write(rig.key.key, 4)[0]]);
    rig.read();
    expect(rig.faults).toEqual(["torn"]);
  });

  test("a key that lives on after its time, and one that goes before", () => {
    const kind = kindNamed("expiring");
    const fixed = ["SET", "verify:{t.1}:k:0"];
    let n = 1;
    while (!kind.write("verify:{t.1}:k:0", n)[0].includes("PX")) n++;
    const late = new Rig(kind);
    late.warmUp(n);
    late.server.run([[...fixed, kind.write(late.key.key, n)[0][2]]]);
    late.nowMs += 10_000;
    late.look();
    expect(late.faults).toEqual(["expiry"]);
    const early = new Rig(kind);
    early.warmUp(n);
    early.server.run([["DEL", early.key.key]]);
    const ttlMs = Number(kind.write(early.key.key, n)[0].at(-1));
    if (ttlMs > 200) early.look();
    expect(early.faults).toEqual(ttlMs > 200 ? ["lost"] : []);
  });

  test("a removal that is undone", () => {
    const rig = new Rig(kindNamed("set"));
    rig.warmUp(40);
    const before = rig.server.run([rig.key.kind.read(rig.key.key)]) as string[];
    rig.warmUp(1);
    rig.server.run([["SADD", rig.key.key, before[0]]]);
    rig.look();
    expect(rig.faults).toEqual(["lost"]);
  });

  test("a write that was refused, and is seen", () => {
    const rig = new Rig(kindNamed("counter"));
    rig.warmUp(2);
    rig.server.run(rig.key.begin(rig.nowMs));
    rig.read();
    rig.findings.push(...rig.key.refuse());
    expect(rig.faults).toEqual(["phantom"]);
  });
});
