/** ACL DRYRUN user command …: what would be said to the user, without running it. */
import type { ArgumentView } from "../../commands/argument-view.ts";
import { arityFits, FLAG_CONTAINER } from "../../commands/command.ts";
import { commandOf } from "../../commands/command-lookup.ts";
import { bulk, OK } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import { answer, argument, type Call, fail } from "../dispatch/call.ts";
import { dryRunText } from "./check-rights.ts";

/** Where the asked command stands among the arguments. */
const COMMAND_AT = 3;

export function dryRun(plane: DataPlane, call: Call): boolean {
  const { session, request, bytes } = call;
  const name = argument(call, 2);
  const user = plane.users.get(name);
  if (user === undefined) return fail(session, `ERR User '${name}' not found`);
  const asked: ArgumentView = {
    bytes,
    argc: request.argc - COMMAND_AT,
    argStart: request.argStart.subarray(COMMAND_AT),
    argEnd: request.argEnd.subarray(COMMAND_AT),
  };
  const command = commandOf(asked);
  const unknownWord = command !== null && asked.argc > 1 && (command.flags & FLAG_CONTAINER) !== 0;
  if (command === null || unknownWord) {
    return fail(session, `ERR Command '${argument(call, COMMAND_AT)}' not found`);
  }
  if (!arityFits(command, asked.argc))
    return fail(session, `ERR wrong number of arguments for '${command.name}' command`);
  const denied = dryRunText(user, command, asked);
  return answer(call, denied === null ? OK : bulk(denied));
}
