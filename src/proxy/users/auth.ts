/** AUTH, and the log-in of HELLO. Texts of Redis 7.0. */
import { OK } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { answer, argument, type Call, fail } from "../dispatch/call.ts";
import { DEFAULT_USER } from "./users.ts";

export const WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled.";

export function auth(plane: DataPlane, call: Call): boolean {
  const { session, request } = call;
  if (request.argc > 3) return fail(session, "ERR syntax error");
  const named = request.argc === 3;
  if (!named && plane.users.default.noPassword) {
    return fail(
      session,
      "ERR AUTH <password> called without any password configured for the default user. " +
        "Are you sure your configuration is correct?",
    );
  }
  const name = named ? argument(call, 1) : DEFAULT_USER;
  if (!plane.users.logIn(session, name, argument(call, request.argc - 1), argument(call, 0)))
    return fail(session, WRONG_PASSWORD);
  return answer(call, OK);
}
