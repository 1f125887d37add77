/**
 * Typed calls of the controller's API, for the proxies' link, the command line and tests.
 *
 *   fetchStatus(http, target) ─▶ request from ROUTES ─▶ HttpClient ─▶ answer checked by its schema
 *                                                           └─▶ an error answer becomes a ShoalError again
 */
import { z } from "zod";
import { ShoalError } from "../base/shoal-error.ts";
import type { HttpClient } from "../env/http.ts";
import type { ClusterMap } from "../topology/cluster-map.ts";
import { percentEncodeBytes } from "./key-encoding.ts";
import { ROUTES, type Route, routePath } from "./routes.ts";
import {
  type ClusterStatus,
  type ErrorAnswer,
  type Health,
  type ProxyReport,
  type ReportAnswer,
  type SlotAnswer,
  errorAnswerSchema,
} from "./schemas.ts";

/** How long a controller may take to answer, unless the target says otherwise. */
export const CALL_TIMEOUT_MS = 5000;

/** One controller, and how to speak to it. */
export interface ControllerTarget {
  /** "http://127.0.0.1:18080", with or without a slash at the end. */
  readonly url: string;
  readonly token: string | null;
  readonly timeoutMs?: number;
}

/** What a call hands along. */
export interface CallOptions {
  readonly parameters?: Readonly<Record<string, string>>;
  /** Already encoded: "key=a%20b". */
  readonly query?: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** The body has no end. */
  readonly stream?: boolean;
}

export function fetchStatus(http: HttpClient, target: ControllerTarget): Promise<ClusterStatus> {
  return callJson(http, target, ROUTES.status, ROUTES.status.answer, {});
}

/** The shape is checked here; what it says, by `validateMap`. */
export function fetchMap(http: HttpClient, target: ControllerTarget): Promise<ClusterMap> {
  return callJson(http, target, ROUTES.map, ROUTES.map.answer, {});
}

/** `key` is bytes: any key can be asked for. */
export function fetchSlot(http: HttpClient, target: ControllerTarget, key: Uint8Array): Promise<SlotAnswer> {
  return callJson(http, target, ROUTES.slot, ROUTES.slot.answer, { query: `key=${percentEncodeBytes(key)}` });
}

/** Answers also while the controller starts (`status: "starting"`). */
export async function fetchHealth(http: HttpClient, target: ControllerTarget): Promise<Health> {
  const response = await send(http, target, ROUTES.health, {});
  return checkAnswer(target, ROUTES.health, ROUTES.health.answer, await readText(target, response));
}

/** @throws ShoalError NOT_LEADER when another controller leads, besides the usual ones */
export function sendReport(
  http: HttpClient,
  target: ControllerTarget,
  proxyId: string,
  report: ProxyReport,
): Promise<ReportAnswer> {
  const options = { parameters: { id: proxyId }, body: report };
  return callJson(http, target, ROUTES.proxyReport, ROUTES.proxyReport.answer, options);
}

/** The body of the map stream; its lines are for map-stream.ts. Ends with `signal`. */
export async function openMapStream(
  http: HttpClient,
  target: ControllerTarget,
  proxyId: string,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const query = `proxy=${encodeURIComponent(proxyId)}`;
  return openStream(http, target, ROUTES.mapStream, { query, signal, stream: true });
}

/** The body of an answer without an end. */
export async function openStream(
  http: HttpClient,
  target: ControllerTarget,
  route: Route,
  options: CallOptions,
): Promise<ReadableStream<Uint8Array>> {
  const response = await send(http, target, route, options);
  if (!response.ok) throw errorOf(target, route, response.status, await readText(target, response));
  if (response.body === null) {
    throw new ShoalError("PROTOCOL", `Cannot follow ${target.url}${route.path}: the answer has no body`);
  }
  return response.body;
}

/** Any route, its answer checked by `schema`. */
export async function callJson<Schema extends z.ZodType>(
  http: HttpClient,
  target: ControllerTarget,
  route: Route,
  schema: Schema,
  options: CallOptions,
): Promise<z.infer<Schema>> {
  const response = await send(http, target, route, options);
  const text = await readText(target, response);
  if (!response.ok) throw errorOf(target, route, response.status, text);
  return checkAnswer(target, route, schema, text);
}

function send(
  http: HttpClient,
  target: ControllerTarget,
  route: Route,
  options: CallOptions,
): Promise<Response> {
  const path = routePath(route.path, options.parameters ?? {});
  const query = options.query === undefined ? "" : `?${options.query}`;
  const headers: Record<string, string> = { accept: route.answerType };
  if (target.token !== null) headers["authorization"] = `Bearer ${target.token}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  return http.send({
    method: route.method,
    url: target.url.replace(/\/+$/, "") + path + query,
    headers,
    body: options.body === undefined ? null : JSON.stringify(options.body),
    timeoutMs: target.timeoutMs ?? CALL_TIMEOUT_MS,
    signal: options.signal,
    stream: options.stream,
  });
}

async function readText(target: ControllerTarget, response: Response): Promise<string> {
  try {
    return await response.text();
  } catch (error) {
    throw new ShoalError("UNREACHABLE", `Cannot read the answer of ${target.url}: connection lost`, error);
  }
}

function checkAnswer<Schema extends z.ZodType>(
  target: ControllerTarget,
  route: Route,
  schema: Schema,
  text: string,
): z.infer<Schema> {
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ShoalError(
    "PROTOCOL",
    `Cannot read the answer of ${target.url}${route.path}: ${issue.path.join(".")}: ${issue.message}`,
  );
}

/**
 * The error that the controller met, with its own code and words; or what the status says when it is not
 * ours.
 */
function errorOf(target: ControllerTarget, route: Route, status: number, text: string): ShoalError {
  const parsed = errorAnswerSchema.safeParse(parseJson(text));
  if (parsed.success) {
    const { code, message }: ErrorAnswer["error"] = parsed.data.error;
    return new ShoalError(code, message);
  }
  return new ShoalError(
    "PROTOCOL",
    `Cannot call ${target.url}${route.path}: HTTP status ${status}, and no Shoal controller's answer`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
