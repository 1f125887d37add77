/** Answers the routes of contract/move-routes.ts. */
import type { MOVE_ROUTES } from "../../contract/move-routes.ts";
import type { PlannedMove } from "../../topology/move-changes.ts";
import { type ApiHandler, jsonResponse } from "./api.ts";
import type { ApiParts } from "./handlers.ts";

interface Limits {
  readonly keysPerSecond?: number | null;
  readonly bytesPerSecond?: number | null;
}

export function moveHandlers({ mover }: ApiParts): Readonly<Record<keyof typeof MOVE_ROUTES, ApiHandler>> {
  /** Every change answers with what has become of it. */
  const after = async (change: Promise<void>): Promise<Response> => {
    await change;
    return jsonResponse(mover.view());
  };
  return {
    moves: () => jsonResponse(mover.view()),
    startMoves: async ({ body }) => {
      const { moves, force } = body as { moves: readonly PlannedMove[]; force?: boolean };
      return jsonResponse(await mover.start(moves, force));
    },
    pauseMoves: () => after(mover.setPaused(true)),
    resumeMoves: () => after(mover.setPaused(false)),
    cancelMoves: (request) => after(mover.cancel(request.query("id"))),
    limitMoves: ({ body }) => {
      const { keysPerSecond, bytesPerSecond } = body as Limits;
      return after(mover.setLimits(keysPerSecond, bytesPerSecond));
    },
    forgetProxy: ({ parameters }) => jsonResponse({ forgotten: mover.forgetProxy(parameters["id"]) }),
  };
}
