/** Typed calls of the routes in move-routes.ts. */
import type { HttpClient } from "../env/http.ts";
import { type ControllerTarget, callJson } from "./client.ts";
import { MOVE_ROUTES, type Moves } from "./move-routes.ts";

/** What moves now, and what was refused. */
export function fetchMoves(http: HttpClient, target: ControllerTarget): Promise<Moves> {
  return callJson(http, target, MOVE_ROUTES.moves, MOVE_ROUTES.moves.answer, {});
}

/** Stored: it outlives the controller. */
export function pauseMoves(http: HttpClient, target: ControllerTarget): Promise<Moves> {
  return callJson(http, target, MOVE_ROUTES.pauseMoves, MOVE_ROUTES.pauseMoves.answer, {});
}

/** Changes nothing when nothing is paused. */
export function resumeMoves(http: HttpClient, target: ControllerTarget): Promise<Moves> {
  return callJson(http, target, MOVE_ROUTES.resumeMoves, MOVE_ROUTES.resumeMoves.answer, {});
}

/** `id`: a plan or a move of it; null: all. */
export function cancelMoves(http: HttpClient, target: ControllerTarget, id: string | null): Promise<Moves> {
  const query = id === null ? undefined : `id=${encodeURIComponent(id)}`;
  return callJson(http, target, MOVE_ROUTES.cancelMoves, MOVE_ROUTES.cancelMoves.answer, { query });
}

/** What is not named stays; null takes a limit away. */
export function limitMoves(
  http: HttpClient,
  target: ControllerTarget,
  body: { readonly keysPerSecond?: number | null; readonly bytesPerSecond?: number | null },
): Promise<Moves> {
  return callJson(http, target, MOVE_ROUTES.limitMoves, MOVE_ROUTES.limitMoves.answer, { body });
}

/** `id`: a proxy that somebody has seen to be gone for good. */
export function forgetProxy(
  http: HttpClient,
  target: ControllerTarget,
  id: string,
): Promise<{ forgotten: boolean }> {
  const options = { parameters: { id } };
  return callJson(http, target, MOVE_ROUTES.forgetProxy, MOVE_ROUTES.forgetProxy.answer, options);
}
