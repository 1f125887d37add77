/**
 * The API's frame: routing, token, headers, errors. Handlers do the rest.
 *
 *   Request ─▶ token? ─▶ ours? ─▶ handler ─▶ count ─▶ headers (controller, leader, term) ─▶ Response
 *                │         │         └── throws ShoalError(code) ─▶ {error: {code, message}}, its HTTP status
 *                └── 401   └── a write, and another leads: forward.ts
 */
import { Hono } from "hono";
import { assert } from "../../base/assert.ts";
import { ERROR_CODES, ShoalError } from "../../base/shoal-error.ts";
import { ANSWER_HEADERS, ROUTES, type Route, type RouteName } from "../../contract/routes.ts";
import type { ErrorAnswer } from "../../contract/schemas.ts";
import type { HttpHandler } from "../../env/http.ts";
import type { Log } from "../../env/log.ts";
import { sameSecret } from "../same-secret.ts";
import { type ForwardOptions, forward, shallForward, tryForward } from "./forward.ts";

/** A request as handlers see it. */
export interface ApiRequest {
  readonly raw: Request;
  readonly parameters: Readonly<Record<string, string>>;
  /** Decoded as text; bytes are read from `raw.url`. */
  query(name: string): string | null;
  /** The body, checked by the route's schema. */
  readonly body: unknown;
}

/** Throws a ShoalError to answer with its code and message. */
export type ApiHandler = (request: ApiRequest) => Response | Promise<Response>;

/** What the frame needs to know of the controller. */
export interface ApiOptions extends ForwardOptions {
  /** Empty: no token is asked for. */
  readonly token: string;
  readonly log: Log;
  /** Called for each answer. */
  readonly count: (route: string, status: number) => void;
}

/** Bodies are reports of proxies; the largest allowed one is well below this. */
export const BODY_BYTES_MAX = 8 << 20;

/** The whole API as one function, which any HTTP server (or a test, without one) can call. */
export function createApi(
  handlers: Readonly<Record<RouteName, ApiHandler>>,
  options: ApiOptions,
): HttpHandler {
  const app = new Hono();
  for (const name of Object.keys(ROUTES) as RouteName[]) {
    const route: Route = ROUTES[name];
    app.on(route.method, route.path, async (context) => {
      const request = context.req.raw as Request;
      const parameters = context.req.param() as Record<string, string>;
      const response = await answer(name, handlers[name], request, parameters, options);
      options.count(name, response.status);
      return response as never;
    });
  }
  app.notFound((context) => {
    const { method, path } = context.req;
    options.count("none", 404);
    return errorResponse(new ShoalError("NOT_FOUND", `Cannot ${method} ${path}: no such route`)) as never;
  });
  return async (request) => {
    const response = (await app.fetch(request as never)) as unknown as Response;
    const leader = options.leader();
    response.headers.set(ANSWER_HEADERS.controller, options.controllerId);
    response.headers.set(ANSWER_HEADERS.term, String(leader?.term ?? 0));
    if (leader !== null) response.headers.set(ANSWER_HEADERS.leader, `${leader.id} ${leader.addr}`);
    return response;
  };
}

/** One request to its answer; nothing that a handler throws gets past it. */
async function answer(
  name: RouteName,
  handler: ApiHandler,
  raw: Request,
  parameters: Readonly<Record<string, string>>,
  options: ApiOptions,
): Promise<Response> {
  const route: Route = ROUTES[name];
  try {
    if (route.needsToken) checkToken(raw, options.token, route);
    const whose = shallForward(name, route, raw, options);
    if (whose === "yes") return await forward(raw, route, options);
    const elsewhere = whose === "try" ? await tryForward(raw, route, options) : null;
    if (elsewhere !== null) return elsewhere;
    const body = route.body === null ? null : await readBody(raw, route);
    const query = new URL(raw.url).searchParams;
    return await handler({ raw, parameters, body, query: (name) => query.get(name) });
  } catch (error) {
    if (error instanceof ShoalError) return errorResponse(error);
    // Not ours to explain to a caller; the log has it.
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    options.log.error("api-handler-failed", { path: route.path, reason });
    return errorResponse(
      new ShoalError("INTERNAL", `Cannot answer ${route.path}: internal error, see the log`),
    );
  }
}

function checkToken(request: Request, token: string, route: Route): void {
  if (token === "") return;
  const shown = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "");
  if (shown !== null && sameSecret(shown[1], token)) return;
  const what = shown === null ? "no token was shown" : "the token is wrong";
  throw new ShoalError("UNAUTHORIZED", `Cannot ${route.method} ${route.path}: ${what}`);
}

/** The body by the route's schema; what the schema does not know is dropped. */
async function readBody(request: Request, route: Route): Promise<unknown> {
  assert(route.body !== null, `route ${route.path} has no body`);
  const fail = (what: string): ShoalError =>
    new ShoalError("INVALID_ARGUMENT", `Cannot ${route.method} ${route.path}: ${what}`);
  const text = await request.text();
  if (text.length > BODY_BYTES_MAX)
    throw new ShoalError("LIMIT", `Cannot read a body over ${BODY_BYTES_MAX} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw fail("the body is not JSON");
  }
  const parsed = route.body.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw fail(`${issue.path.join(".") || "body"}: ${issue.message}`);
}

export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
}

export function errorResponse(error: ShoalError): Response {
  const body: ErrorAnswer = { error: { code: error.code, message: error.message } };
  return jsonResponse(body, ERROR_CODES[error.code].httpStatus);
}
