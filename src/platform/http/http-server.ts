/**
 * HTTP served over node:http: the web-standard Request in, the Response out.
 *
 *   IncomingMessage ─▶ body collected, up to a bound ─▶ Request ─▶ handler ─▶ Response
 *   Response ─▶ status, headers ─▶ body piece by piece; waits while the socket is full
 *
 * A reader that goes away cancels the body's stream, so that a handler which sends for ever learns of it.
 * Rejected: the runtime's own server, which would bind this file to one runtime for a few requests a second.
 */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { HttpHandler, HttpListener, HttpServer } from "../../env/http.ts";

/** The largest body of a request. */
export const REQUEST_BYTES_MAX = 16 << 20;

/** How long a request may take to arrive whole. */
const REQUEST_TIMEOUT_MS = 30_000;

/** How long `close` lets answers finish before it cuts the connections. */
const CLOSE_GRACE_MS = 1000;

export const systemHttpServer: HttpServer = {
  listen({ host, port }, handle): Promise<HttpListener> {
    const server = createServer((incoming, outgoing) => {
      serve(incoming, outgoing, handle).catch(() => outgoing.destroy());
    });
    server.requestTimeout = REQUEST_TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(host, port, error)));
      server.listen({ host, port }, () => {
        const bound = server.address() as AddressInfo;
        resolve({ address: `${host}:${bound.port}`, close: () => close(server) });
      });
    });
  },
};

function listenError(host: string, port: number, error: NodeJS.ErrnoException): ShoalError {
  const taken = error.code === "EADDRINUSE";
  const why = taken ? "the address is in use" : errorTextOf(error);
  return new ShoalError(
    taken ? "ADDRESS_IN_USE" : "START_FAILED",
    `Cannot listen on ${host}:${port}: ${why}`,
    error,
  );
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

async function serve(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handle: HttpHandler,
): Promise<void> {
  const body = await readBody(incoming);
  if (body === null) {
    outgoing.writeHead(413, { connection: "close" }).end();
    return;
  }
  const method = incoming.method ?? "GET";
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const url = `http://${incoming.headers.host ?? "localhost"}${incoming.url ?? "/"}`;
  if (!URL.canParse(url)) {
    outgoing.writeHead(400, { connection: "close" }).end();
    return;
  }
  const hasBody = method !== "GET" && method !== "HEAD";
  await send(outgoing, await handle(new Request(url, { method, headers, body: hasBody ? body : null })));
}

/** Null when it is too large. */
async function readBody(incoming: IncomingMessage): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > REQUEST_BYTES_MAX) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function send(outgoing: ServerResponse, response: Response): Promise<void> {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null) {
    outgoing.end();
    return;
  }
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let gone = false;
  outgoing.once("close", () => {
    gone = true;
    reader.cancel().catch(() => {});
  });
  outgoing.flushHeaders();
  for (;;) {
    const { done, value } = await reader.read();
    if (done || gone) break;
    if (!outgoing.write(value)) await drained(outgoing);
  }
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    outgoing.once("drain", resolve);
    outgoing.once("close", resolve);
  });
}
