/**
 * Users at one server, by ACL: opened with every right that forwarding needs, shut together with what they
 * run.
 */
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { RedisServer } from "../../redis/redis-server.ts";

/** Whether the server said that it does not know ACL: Redis before 6. */
export function lacksAcl(error: unknown): boolean {
  return (
    error instanceof ShoalError && error.code === "SERVER_REPLY" && /unknown command/i.test(error.message)
  );
}

/** Everything is allowed: what clients may do is checked by the proxy. `&*` is not known to Redis 6.0. */
export async function openUser(server: RedisServer, user: string, password: string): Promise<void> {
  const rules = ["on", "resetpass", `>${password}`, "~*", "+@all"];
  try {
    await server.aclSetUser(user, [...rules, "&*"]);
  } catch (error) {
    if (!/syntax error/i.test(errorTextOf(error))) throw error;
    await server.aclSetUser(user, rules);
  }
}

/** Nobody signs in as `user` from now on; how many connections were cut comes back. */
export async function shutUser(server: RedisServer, user: string): Promise<number> {
  await server.aclSetUser(user, ["off", "resetpass"]);
  return server.clientKillUser(user);
}

/** Takes the user away, and its connections with it. */
export async function dropUser(server: RedisServer, user: string): Promise<void> {
  await server.command(["ACL", "DELUSER", user]);
}
