/** Answers the routes of contract/check-routes.ts. */
import type { CHECK_ROUTES } from "../../contract/check-routes.ts";
import { type ApiHandler, jsonResponse } from "./api.ts";
import type { ApiParts } from "./handlers.ts";

export function checkHandlers({
  checker,
}: ApiParts): Readonly<Record<keyof typeof CHECK_ROUTES, ApiHandler>> {
  return {
    checkStart: (request) => jsonResponse(checker.start((request.body as { fix: boolean }).fix)),
    checkProgress: (request) => jsonResponse(checker.status((request.body as { id: string }).id)),
  };
}
