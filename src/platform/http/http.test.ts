import { afterEach, expect, test } from "bun:test";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import type { HttpListener, HttpRequest } from "../../env/http.ts";
import { systemHttpClient } from "./http-client.ts";
import { REQUEST_BYTES_MAX, systemHttpServer } from "./http-server.ts";
import { until } from "../../../test/support/until.ts";

const cleanups: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(handle: (request: Request) => Promise<Response>): Promise<HttpListener> {
  const listener = await systemHttpServer.listen({ host: "127.0.0.1", port: 0 }, handle);
  cleanups.push(() => listener.close());
  return listener;
}

const request = (address: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: "GET",
  url: `http://${address}/`,
  headers: {},
  body: null,
  timeoutMs: 1000,
  ...more,
});

const messageOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

test("method, path, headers and body go there, status, headers and body come back", async () => {
  const listener = await listen(async (asked) => {
    const parts = [asked.method, new URL(asked.url).pathname, asked.headers.get("x-a"), await asked.text()];
    return new Response(parts.join(" "), { status: 418, headers: { "x-b": "2" } });
  });
  const url = `http://${listener.address}/p%FF`;
  const response = await systemHttpClient.send(
    request(listener.address, { method: "POST", url, headers: { "x-a": "1" }, body: "ü" }),
  );
  expect([response.status, response.headers.get("x-b")]).toEqual([418, "2"]);
  expect(await response.text()).toBe("POST /p%FF 1 ü");
});

test("a taken port, a refused connection, a server that never answers: each in words", async () => {
  const listener = await listen(async () => new Response(""));
  const port = Number(listener.address.split(":")[1]);
  const handle = async (): Promise<Response> => new Response("");
  expect(await messageOf(systemHttpServer.listen({ host: "127.0.0.1", port }, handle))).toBe(
    `ADDRESS_IN_USE: Cannot listen on 127.0.0.1:${port}: the address is in use`,
  );
  await listener.close();
  expect(await messageOf(systemHttpClient.send(request(listener.address)))).toBe(
    `UNREACHABLE: Cannot reach http://${listener.address}: connection refused`,
  );
  const mute = createServer(() => {});
  await new Promise<void>((resolve) => mute.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  expect(await messageOf(systemHttpClient.send(request(address, { timeoutMs: 100 })))).toBe(
    `TIMEOUT: Cannot reach http://${address}: no answer within 100 ms`,
  );
  mute.close();
});

test("a body over the limit is refused", async () => {
  const listener = await listen(async () => new Response("taken"));
  const body = "x".repeat(REQUEST_BYTES_MAX + 1);
  const status = await systemHttpClient.send(request(listener.address, { method: "POST", body })).then(
    (response) => response.status,
    () => 413,
  );
  expect(status).toBe(413);
});

test("the time limit covers the body, unless it is a stream", async () => {
  const listener = await listen(
    async () => new Response(new ReadableStream({ pull: () => new Promise(() => {}) })),
  );
  const asked = request(listener.address, { timeoutMs: 200 });
  expect(await messageOf(systemHttpClient.send(asked))).toContain("TIMEOUT");
  const abort = new AbortController();
  const stream = await systemHttpClient.send({ ...asked, stream: true, signal: abort.signal });
  expect(stream.status).toBe(200);
  abort.abort();
});

test("a stream arrives piece by piece, and its source learns when the reader goes", async () => {
  let push: (text: string) => void = () => {};
  let cancelled = false;
  const listener = await listen(async () => {
    const stream = new ReadableStream({
      start: (controller) => void (push = (text) => controller.enqueue(new TextEncoder().encode(text))),
      cancel: () => void (cancelled = true),
    });
    return new Response(stream);
  });
  const abort = new AbortController();
  const response = await systemHttpClient.send(
    request(listener.address, { signal: abort.signal, stream: true }),
  );
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (const text of ["a", "b"]) {
    push(text);
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(text);
  }
  abort.abort();
  await until(() => cancelled, "the source knows");
});
