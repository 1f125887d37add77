/** Typed calls of the routes in check-routes.ts. */
import type { HttpClient } from "../env/http.ts";
import { CHECK_ROUTES, type CheckStatus } from "./check-routes.ts";
import { type ControllerTarget, callJson } from "./client.ts";

/** @throws ShoalError CONFLICT when a check runs already, besides the usual ones */
export function startCheck(http: HttpClient, target: ControllerTarget, fix: boolean): Promise<CheckStatus> {
  return callJson(http, target, CHECK_ROUTES.checkStart, CHECK_ROUTES.checkStart.answer, { body: { fix } });
}

/** @throws ShoalError NOT_FOUND when another controller leads by now */
export function fetchCheck(http: HttpClient, target: ControllerTarget, id: string): Promise<CheckStatus> {
  return callJson(http, target, CHECK_ROUTES.checkProgress, CHECK_ROUTES.checkProgress.answer, {
    body: { id },
  });
}
