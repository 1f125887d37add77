/**
 * The user that keys are moved as: one for each leader's term and source, "shoal-mover-t7-g1".
 *
 * A leader that was stopped in the middle of a move and wakes up would go on with it, while its successor
 * has long turned the move back: it would carry keys away from their home. The store can refuse its writes,
 * the servers can't, unless they know it by name. So whoever moves keys first takes the users of earlier
 * terms away from both servers, and their connections with them. Servers without ACL are used as configured,
 * and have no such fence.
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { RedisServer } from "../../redis/redis-server.ts";
import { dropUser, lacksAcl, openUser } from "../logins/server-users.ts";

const NAME = /^shoal-mover-t(\d+)-/;

export interface MoverUser {
  readonly user: string;
  readonly password: string;
}

export function moverUser(term: number, source: string, password: string): MoverUser {
  return { user: `shoal-mover-t${term}-${source}`, password };
}

/**
 * From now on `mover` may move keys at this server, and nobody of an earlier term; whatever an earlier run
 * of the same name has sent and the server has not read is dropped. False: the server knows no users.
 * @throws ShoalError STALE when somebody of a later term has been here
 */
export async function claimServer(server: RedisServer, mover: MoverUser): Promise<boolean> {
  let names: string[];
  try {
    const reply = await server.command(["ACL", "USERS"]);
    names = Array.isArray(reply) ? reply.map(String) : [];
  } catch (error) {
    if (lacksAcl(error)) return false;
    throw error;
  }
  const term = termOf(mover.user);
  for (const name of names) {
    const other = termOf(name);
    if (other > term) {
      throw new ShoalError(
        "STALE",
        `Cannot move keys at ${server.address}: a later leader does (term ${other})`,
      );
    }
    if (other < 0 || (other === term && name !== mover.user)) continue;
    await dropUser(server, name);
  }
  await openUser(server, mover.user, mover.password);
  return true;
}

/** The user has nothing to do here any more. */
export async function leaveServer(server: RedisServer, mover: MoverUser): Promise<void> {
  await dropUser(server, mover.user);
}

/** -1 for a name that is no mover's. */
function termOf(name: string): number {
  const match = NAME.exec(name);
  return match === null ? -1 : Number(match[1]);
}
