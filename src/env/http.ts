/**
 * HTTP as the control plane uses it: a client for the proxies and the command line, a server for the
 * controller.
 *
 * Neither is part of {@link Env}: the data plane has no business with HTTP. Bodies are the web-standard
 * `Request` and `Response`, so that a test or a simulation can join client and server without a socket.
 */
import type { Env } from "./env.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Whole, with scheme: "http://127.0.0.1:18080/api/v1/status". */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** How long the whole answer may take; with `stream`, its head only. */
  readonly timeoutMs: number;
  /** Whether the answer's body goes on and on, to be read piece by piece. */
  readonly stream?: boolean;
  /** Ends the request, and the body with it. */
  readonly signal?: AbortSignal;
}

export interface HttpClient {
  /**
   * Sends; comes back with the status, whatever it is.
   * @throws ShoalError UNREACHABLE (no connection, or aborted) or TIMEOUT
   */
  send(request: HttpRequest): Promise<Response>;
}

/** Answers one request. It must not throw. */
export type HttpHandler = (request: Request) => Promise<Response>;

export interface HttpListener {
  /** "host:port" with the real port, also when port 0 was asked for. */
  readonly address: string;
  /** Takes no new connections, ends the streams, resolves when the port is free. */
  close(): Promise<void>;
}

export interface HttpServer {
  /** @throws ShoalError ADDRESS_IN_USE or START_FAILED */
  listen(
    options: { readonly host: string; readonly port: number },
    handle: HttpHandler,
  ): Promise<HttpListener>;
}

/** What the proxy's link and the command line are handed. */
export interface ControlEnv extends Env {
  readonly http: HttpClient;
}
