/** HTTP requests by the runtime's `fetch`, with errors that name the address. */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { HttpClient, HttpRequest } from "../../env/http.ts";

/** Bun's and Node's codes for the same few things, in words. */
const REASONS: Readonly<Record<string, string>> = {
  ConnectionRefused: "connection refused",
  ECONNREFUSED: "connection refused",
  ConnectionClosed: "connection closed",
  ECONNRESET: "connection closed",
  FailedToOpenSocket: "no such host",
  ENOTFOUND: "no such host",
};

export const systemHttpClient: HttpClient = {
  async send(request: HttpRequest): Promise<Response> {
    const { method, url, body, timeoutMs, signal } = request;
    const abort = new AbortController();
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      abort.abort();
    }, timeoutMs);
    const onAbort = (): void => abort.abort();
    if (signal?.aborted) abort.abort();
    // Stays for the life of the answer's body: that is how a stream is ended.
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const headers = { ...request.headers };
      // The cluster's own traffic must not go where HTTP_PROXY points, which Bun's fetch would do otherwise.
      const options = { method, headers, body, signal: abort.signal, proxy: false };
      const response = (await fetch(url, options as never)) as Response;
      return request.stream === true ? response : await readWhole(response);
    } catch (error) {
      signal?.removeEventListener("abort", onAbort);
      throw toShoalError(url, timedOut ? timeoutMs : null, error);
    } finally {
      clearTimeout(timer);
    }
  },
};

/** The answer with its body already there, so that the time limit has covered it. */
async function readWhole(response: Response): Promise<Response> {
  const { status, headers } = response;
  const body = await response.arrayBuffer();
  return new Response(body.byteLength === 0 ? null : body, { status, headers });
}

function toShoalError(url: string, timedOutMs: number | null, error: unknown): ShoalError {
  const { origin } = new URL(url);
  if (timedOutMs !== null)
    return new ShoalError("TIMEOUT", `Cannot reach ${origin}: no answer within ${timedOutMs} ms`);
  const code = (error as { code?: string }).code ?? "";
  const reason = REASONS[code] ?? errorTextOf(error);
  return new ShoalError("UNREACHABLE", `Cannot reach ${origin}: ${reason}`, error);
}
