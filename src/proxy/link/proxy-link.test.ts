import { afterEach, describe, expect, test } from "bun:test";
import { ShoalError } from "../../base/shoal-error.ts";
import { formatMapStreamLine } from "../../contract/map-stream.ts";
import type { ProxyReport } from "../../contract/schemas.ts";
import type { Timers } from "../../env/env.ts";
import type { HttpClient, HttpRequest } from "../../env/http.ts";
import type { LogFields } from "../../env/log.ts";
import { systemClock } from "../../platform/clock.ts";
import { systemRandom } from "../../platform/random.ts";
import { systemTimers } from "../../platform/timers.ts";
import { type ClusterMap, evenRanges } from "../../topology/cluster-map.ts";
import { until } from "../../../test/support/until.ts";
import { ProxyLink } from "./proxy-link.ts";

const A = "http://a:1";
const B = "http://b:1";

const mapOf = (version: number, term = 1, cluster = "c"): ClusterMap => ({
  cluster,
  version,
  term,
  hash: "crc32",
  slots: 1024,
  groups: [{ id: "g1", number: 1, primary: "h:1", replicas: [] }],
  ranges: evenRanges(1024, ["g1"]),
  options: {},
});

/** A controller that does what the test says. */
class FakeController {
  up = true;
  leads = true;
  reports: ProxyReport[] = [];
  streams: ReadableStreamDefaultController<Uint8Array>[] = [];

  send(map: ClusterMap | string): void {
    const line =
      typeof map === "string"
        ? map
        : formatMapStreamLine({ type: "map", term: 1, leader: "c", map: map as never });
    for (const stream of this.streams) stream.enqueue(new TextEncoder().encode(line));
  }

  answer(request: HttpRequest): Response {
    if (!this.up) throw new ShoalError("UNREACHABLE", "refused");
    if (request.method === "GET") return new Response(this.#openStream(request));
    if (!this.leads)
      return Response.json({ error: { code: "NOT_LEADER", message: "other" } }, { status: 421 });
    this.reports.push(JSON.parse(request.body as string));
    return Response.json({ term: 1, leader: "c", leaseMs: 5000, map: { version: 1, term: 1 } });
  }

  #openStream(request: HttpRequest): ReadableStream<Uint8Array> {
    return new ReadableStream({
      start: (stream) => {
        this.streams.push(stream);
        request.signal?.addEventListener("abort", () => {
          if (!this.streams.includes(stream)) return;
          this.streams = this.streams.filter((other) => other !== stream);
          stream.error(new Error("aborted"));
        });
      },
    });
  }
}

/** `speed`: how many times faster than real the link's time goes. */
function setUp(controllers: Record<string, FakeController>, files = new Map<string, string>(), speed = 1) {
  const seen: number[] = [];
  const logged: string[] = [];
  const note = (event: string, fields?: LogFields): void =>
    void logged.push(`${event} ${fields?.["reason"] ?? ""}`);
  const log = { debug: () => {}, info: note, warn: note, error: note, with: () => log };
  const http: HttpClient = {
    send: async (request) => controllers[new URL(request.url).origin].answer(request),
  };
  const disk = {
    readText: async (path: string) => files.get(path) ?? null,
    writeTextAtomically: async (path: string, text: string) => void files.set(path, text),
  };
  const clock = { nowMs: () => systemClock.nowMs() * speed, wallMs: () => systemClock.wallMs() };
  const timers: Timers = {
    after: (delayMs, run) => systemTimers.after(delayMs / speed, run),
    every: (periodMs, run) => systemTimers.every(periodMs / speed, run),
  };
  const env = { clock, timers, random: systemRandom, disk, log, http };
  const options = { proxyId: "p1", controllers: Object.keys(controllers), token: null, mapFile: "map.json" };
  const link = new ProxyLink(env, options, {
    onMap: (map) => seen.push(map.version),
    report: () => ({
      addr: "h:19000",
      pid: 1,
      state: "serving",
      workers: [{ pid: 2 }],
      map: link.map === null ? null : { version: link.map.version, term: link.map.term },
      servers: [],
      counters: {},
    }),
  });
  links.push(link);
  return { link, seen, logged, files };
}

const links: ProxyLink[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) await link.stop();
});

describe("ProxyLink", () => {
  test("hands on newer maps only, whatever comes", async () => {
    const a = new FakeController();
    const { link, seen, logged } = setUp({ [A]: a });
    expect(await link.start()).toBeNull();
    await until(() => a.streams.length === 1, "it follows");
    a.send(mapOf(2));
    a.send(mapOf(2));
    a.send(mapOf(1));
    a.send(mapOf(3, 0));
    a.send(mapOf(4, 1, "other"));
    a.send({ ...mapOf(5), ranges: [] });
    a.send(mapOf(6, 2));
    await until(() => seen.at(-1) === 6, "the last one is there");
    expect(seen).toEqual([2, 6]);
    expect(logged.filter((line) => line.startsWith("map-refused"))).toHaveLength(4);
  });

  test("acknowledges a map in a report soon after it", async () => {
    const a = new FakeController();
    const { link } = setUp({ [A]: a });
    await link.start();
    await until(() => a.streams.length === 1, "it follows");
    a.send(mapOf(7));
    await until(() => a.reports.at(-1)?.map?.version === 7, "acknowledged", 500);
  });

  test("starts from the map on disk with every controller down, and goes on from there", async () => {
    const a = new FakeController();
    const first = setUp({ [A]: a });
    await first.link.start();
    await until(() => a.streams.length === 1, "it follows");
    a.send(mapOf(9));
    await until(() => first.seen.length === 1, "the map is there");
    await first.link.stop();
    a.up = false;
    const second = setUp({ [A]: a }, first.files);
    expect(await second.link.start()).toEqual(mapOf(9));
    a.up = true;
    await until(() => a.streams.length === 1, "it follows again");
    a.send(mapOf(9));
    a.send(mapOf(10));
    await until(() => second.seen.length === 1, "the newer map is there");
    expect(second.seen).toEqual([10]);
    expect(second.logged.some((line) => line.startsWith("map-refused"))).toBe(false);
  });

  test("a damaged map file is as good as none, and said", async () => {
    for (const text of [
      "{",
      '{"format":9}',
      JSON.stringify({ format: 1, map: { ...mapOf(1), ranges: [] } }),
    ]) {
      const { link, logged } = setUp({ [A]: new FakeController() }, new Map([["map.json", text]]));
      expect(await link.start()).toBeNull();
      expect(logged[0]).toContain("map-file-unusable");
    }
  });

  test("goes to the next controller when one is away, ends the stream, or does not lead", async () => {
    const a = new FakeController();
    const b = new FakeController();
    a.up = false;
    const { link } = setUp({ [A]: a, [B]: b });
    await link.start();
    await until(() => b.streams.length === 1, "it follows b");
    a.up = true;
    b.streams.splice(0).forEach((stream) => stream.close());
    await until(() => a.streams.length === 1, "it follows a");
    a.leads = false;
    await until(() => b.streams.length === 1, "it follows the one that leads", 3000);
    await until(() => b.reports.length > 0, "and reports to it", 3000);
  });

  test("a controller that is silent (frozen) is left behind", async () => {
    const a = new FakeController();
    const b = new FakeController();
    const { link, logged } = setUp({ [A]: a, [B]: b }, new Map(), 20);
    await link.start();
    await until(() => a.streams.length === 1, "it follows a");
    await until(() => b.streams.length === 1, "it follows b");
    expect(logged).toContain("controller-lost no line for 5000 ms");
    expect(a.streams).toEqual([]);
  });

  test("a line that is none ends the stream, not the link", async () => {
    const a = new FakeController();
    const { link, seen, logged } = setUp({ [A]: a });
    await link.start();
    await until(() => a.streams.length === 1, "it follows");
    a.send("rubbish\n");
    await until(() => logged.some((line) => line.includes("not JSON")), "it complains");
    await until(() => a.streams.length === 1, "it follows again");
    a.send(mapOf(3));
    await until(() => seen.length === 1, "the map is there");
  });
});
