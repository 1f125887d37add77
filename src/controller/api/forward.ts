/**
 * Followers pass writes on: a POST that reaches a controller which does not lead goes to the one that does,
 * with its token, and the leader's answer comes back as it is. So any controller's address is good for any
 * command.
 *
 *   client ──POST──▶ follower ──POST, shoal-forwarded: c2──▶ leader ──▶ answer
 *                       └── nobody leads, or it was forwarded to us ──▶ NOT_LEADER
 *
 * Once only: while leadership changes hands two controllers may each believe that the other one leads, and
 * would send a request round for ever. Proxies' reports are not passed on: a proxy follows the leader itself,
 * and a lease must not be renewed through a third party. Rejected: a redirect (clients drop the token, and
 * may not reach the address that controllers use among themselves).
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { Route, RouteName } from "../../contract/routes.ts";
import type { HttpClient } from "../../env/http.ts";
import type { Leadership } from "../../store/store.ts";

/** On a request that another controller has passed on: its id. */
export const FORWARDED_HEADER = "shoal-forwarded";

/** The leader may ask servers, or look at every key of one, before it answers. */
const FORWARD_TIMEOUT_MS = 120_000;

/** A read that is passed on is answered here when the leader does not answer soon. */
const READ_TIMEOUT_MS = 2000;

/** Reads of which a follower knows less: the proxies report to the leader, and the leader moves slots. */
const FORWARDED_READS: ReadonlySet<RouteName> = new Set<RouteName>(["status", "moves"]);

/** Writes that are for the very controller that is asked. */
const NOT_FORWARDED: ReadonlySet<RouteName> = new Set<RouteName>(["proxyReport", "controllerSights"]);

export interface ForwardOptions {
  readonly controllerId: string;
  /** Null: nothing is passed on. */
  readonly http: HttpClient | null;
  readonly leading: () => boolean;
  readonly leader: () => Leadership | null;
}

/** Whether this request is somebody else's to answer. "try": ours, when the other one does not answer. */
export function shallForward(
  name: RouteName,
  route: Route,
  request: Request,
  options: ForwardOptions,
): "yes" | "try" | "no" {
  if (options.http === null || options.leading()) return "no";
  if (route.method === "POST") return NOT_FORWARDED.has(name) ? "no" : "yes";
  const wanted = FORWARDED_READS.has(name) && !request.headers.has(FORWARDED_HEADER);
  return wanted && options.leader() !== null ? "try" : "no";
}

/** For reads: null when it did not come about. */
export async function tryForward(
  request: Request,
  route: Route,
  options: ForwardOptions,
): Promise<Response | null> {
  try {
    const response = await forward(request, route, options);
    return response.ok ? response : null;
  } catch {
    return null;
  }
}

/** @throws ShoalError NOT_LEADER, UNREACHABLE, TIMEOUT */
export async function forward(request: Request, route: Route, options: ForwardOptions): Promise<Response> {
  const leader = options.leader();
  const { pathname, search } = new URL(request.url);
  const action = `Cannot ${route.method} ${pathname}`;
  if (leader === null) {
    throw new ShoalError("NOT_LEADER", `${action}: nobody leads now; try again in a few seconds`);
  }
  const by = request.headers.get(FORWARDED_HEADER);
  if (by !== null || leader.id === options.controllerId) {
    const who = `${by ?? options.controllerId} took ${leader.id} for the leader`;
    const why = `leadership is changing hands (${who})`;
    throw new ShoalError("NOT_LEADER", `${action}: ${why}; try again in a few seconds`);
  }
  const headers: Record<string, string> = { [FORWARDED_HEADER]: options.controllerId };
  for (const name of ["authorization", "content-type", "accept"]) {
    const value = request.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  const body = route.method === "POST" ? await request.text() : "";
  try {
    const answer = await (options.http as HttpClient).send({
      method: route.method,
      url: `http://${leader.addr}${pathname}${search}`,
      headers,
      body: body === "" ? null : body,
      timeoutMs: route.method === "POST" ? FORWARD_TIMEOUT_MS : READ_TIMEOUT_MS,
    });
    const type = answer.headers.get("content-type") ?? "application/json";
    return new Response(await answer.text(), { status: answer.status, headers: { "content-type": type } });
  } catch (error) {
    const code = error instanceof ShoalError ? error.code : "UNREACHABLE";
    const why = `${leader.id} leads, but ${errorTextOf(error)}`;
    throw new ShoalError(code, `${action}: ${why}`, error);
  }
}
