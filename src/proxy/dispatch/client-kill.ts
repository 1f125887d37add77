/** CLIENT KILL: which clients, and their end. */
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";

/** What a client must be to be killed; all that is given must fit. */
export interface KillFilter {
  readonly id?: string;
  readonly addr?: string;
  readonly laddr?: string;
  readonly user?: string;
  readonly type?: string;
  readonly skipMe: boolean;
  /** CLIENT KILL ip:port */
  readonly oldForm: boolean;
}

const TYPES = ["normal", "master", "replica", "slave", "pubsub"];

/** Reads what stands after CLIENT KILL; a text is the error. */
export function parseKill(words: readonly string[], isUser = isDefaultUser): KillFilter | string {
  if (words.length === 1) return { addr: words[0], skipMe: false, oldForm: true };
  if (words.length % 2 !== 0) return "ERR syntax error";
  const filter: { -readonly [K in keyof KillFilter]: KillFilter[K] } = { skipMe: true, oldForm: false };
  for (let i = 0; i < words.length; i += 2) {
    const error = addOption(filter, words[i].toLowerCase(), words[i + 1], isUser);
    if (error !== null) return error;
  }
  return filter;
}

function addOption(
  filter: { -readonly [K in keyof KillFilter]: KillFilter[K] },
  option: string,
  value: string,
  isUser: (name: string) => boolean,
): string | null {
  switch (option) {
    case "id":
      if (!/^\d{1,18}$/.test(value) || Number(value) < 1) return "ERR client-id should be greater than 0";
      filter.id = value;
      return null;
    case "addr":
    case "laddr":
      filter[option] = value;
      return null;
    case "user":
      if (!isUser(value)) return `ERR No such user '${value}'`;
      filter.user = value;
      return null;
    case "type":
      if (!TYPES.includes(value.toLowerCase())) return `ERR Unknown client type '${value}'`;
      filter.type = value.toLowerCase();
      return null;
    case "skipme":
      if (!/^(yes|no)$/i.test(value)) return "ERR syntax error";
      filter.skipMe = value.toLowerCase() === "yes";
      return null;
    default:
      return "ERR syntax error";
  }
}

function isDefaultUser(name: string): boolean {
  return name === "default";
}

/** Ends the clients of this worker that fit; how many comes back. The caller gets its reply first. */
export function killClients(plane: DataPlane, filter: KillFilter, caller: Session | null): number {
  let killed = 0;
  for (const session of plane.clients.all()) {
    if (!fits(session, filter) || (session === caller && filter.skipMe)) continue;
    killed++;
    if (session === caller) plane.env.net.atTurnEnd(() => session.closeWhenAnswered());
    else session.abort("killed by CLIENT KILL");
  }
  return killed;
}

/** Redis's word for what a client does. */
export function clientType(session: Session): string {
  return session.listens ? "pubsub" : "normal";
}

function fits(session: Session, filter: KillFilter): boolean {
  if (filter.id !== undefined && filter.id !== String(session.id)) return false;
  if (filter.addr !== undefined && filter.addr !== session.connection.remoteAddress) return false;
  if (filter.laddr !== undefined && filter.laddr !== session.connection.localAddress) return false;
  if (filter.user !== undefined && filter.user !== session.info.user) return false;
  return filter.type === undefined || filter.type === clientType(session);
}
