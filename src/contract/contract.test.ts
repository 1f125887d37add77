import { describe, expect, test } from "bun:test";
import {
  decodeBase64Url,
  percentDecodeBytes,
  percentEncodeBytes,
  rawQueryParameter,
} from "./key-encoding.ts";
import {
  LineSplitter,
  STREAM_LINE_BYTES_MAX,
  formatMapStreamLine,
  parseMapStreamLine,
} from "./map-stream.ts";
import { openApiDocument } from "./openapi.ts";
import { ROUTES, type Route, routePath } from "./routes.ts";
import { proxyReportSchema } from "./schemas.ts";

describe("keys in URLs", () => {
  const every = Uint8Array.from({ length: 256 }, (_, i) => i);

  test("every byte survives", () => {
    expect(percentDecodeBytes(percentEncodeBytes(every))).toEqual(every);
    expect(decodeBase64Url(Buffer.from(every).toString("base64url"))).toEqual(every);
    expect(decodeBase64Url("_-8=")).toEqual(Uint8Array.of(0xff, 0xef));
  });

  test("what is not encoded stands for itself", () => {
    expect(percentDecodeBytes("a+b ü")).toEqual(new TextEncoder().encode("a+b ü"));
    expect(rawQueryParameter("http://h/p?x=1&key=a%20b=c#key=d", "key")).toBe("a%20b=c");
    expect(rawQueryParameter("http://h/p", "key")).toBeNull();
    expect(() => percentDecodeBytes("a%2")).toThrow("% without two hex digits");
    expect(() => decodeBase64Url("a*b")).toThrow("* is not base64url");
  });
});

describe("the map stream", () => {
  const heartbeat = { type: "heartbeat", term: 3, leader: "ü", map: null } as const;

  test("lines survive any cut", () => {
    const bytes = new TextEncoder().encode(formatMapStreamLine(heartbeat).repeat(3) + "\n");
    for (let size = 1; size <= bytes.length; size++) {
      const lines: unknown[] = [];
      const splitter = new LineSplitter((line) => lines.push(parseMapStreamLine(line)));
      for (let at = 0; at < bytes.length; at += size) {
        const chunk = bytes.slice(at, at + size);
        splitter.push(chunk);
        chunk.fill(0);
      }
      expect(lines).toEqual([heartbeat, heartbeat, heartbeat]);
    }
  });

  test("a line without end and lines that are none are refused", () => {
    const splitter = new LineSplitter(() => {});
    const chunk = new Uint8Array(STREAM_LINE_BYTES_MAX / 2 + 1).fill(97);
    splitter.push(chunk);
    expect(() => splitter.push(chunk)).toThrow("a line is over");
    expect(() => parseMapStreamLine("{")).toThrow("not JSON");
    expect(() => parseMapStreamLine('{"type":"map"}')).toThrow("Cannot read a line of the map stream: term");
  });

  test("fields of a later version are dropped, not refused", () => {
    expect(parseMapStreamLine(JSON.stringify({ ...heartbeat, more: 1 }))).toEqual(heartbeat);
  });
});

test("the description names every route, and JSON can write it", () => {
  const document = JSON.parse(JSON.stringify(openApiDocument("1.2.3")));
  expect(document.info.version).toBe("1.2.3");
  for (const [name, route] of Object.entries(ROUTES) as Array<[string, Route]>) {
    const path = route.path.replace(/:([a-z]+)/g, "{$1}");
    expect(document.paths[path][route.method.toLowerCase()].operationId).toBe(name);
  }
  expect(routePath(ROUTES.proxyReport.path, { id: "a/b" })).toBe("/api/v1/proxies/a%2Fb/report");
});

test("a report with more than its share is refused", () => {
  const report = { addr: "h:1", pid: 1, state: "serving", workers: [], map: null, servers: [], counters: {} };
  expect(proxyReportSchema.safeParse(report).success).toBe(true);
  const counters = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`c${i}`, 1]));
  expect(proxyReportSchema.safeParse({ ...report, counters }).success).toBe(false);
});
