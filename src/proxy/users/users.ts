/**
 * The users of a worker.
 *
 *   proxy.toml ─▶ table ─▶ logIn, check                          ACL SETUSER ─▶ table ─▶ record ─▶ master ─▶
 *   other workers
 *                   ▲                                                                     └─ kept, for
 *                   workers that start later
 *                   └──────────────── merge: the newer record of a name wins ◀────────────┘
 *
 * A record is a user whole, with a stamp: the workers' tables become the same whatever the order in which
 * records reach them. Rejected: passing the rules of ACL SETUSER on; two workers that take two of them in
 * different orders would differ for ever. What is lost: of two changes of one user in the same moment at two
 * workers, one wins whole.
 */
import { assert } from "../../base/assert.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { AclLog, type Denial } from "./acl-log.ts";
import { clientLine } from "../dispatch/client-line.ts";
import { readUsers } from "./user-lines.ts";
import { User } from "./user.ts";
import { supersedesRecord, type UserRecord } from "./user-record.ts";

export const DEFAULT_USER = "default";

export class Users {
  readonly log = new AclLog();
  readonly #plane: DataPlane;
  readonly #users: Map<string, User>;
  /** By name; those of proxy.toml that nobody has changed have none. */
  readonly #records = new Map<string, UserRecord>();

  constructor(plane: DataPlane) {
    this.#plane = plane;
    const users = readUsers(plane.config.users, plane.config.requirepass);
    assert(typeof users !== "string", "the users were checked with the configuration");
    this.#users = users as Map<string, User>;
  }

  /** Whom a client is from the start. */
  get default(): User {
    return this.#users.get(DEFAULT_USER) as User;
  }

  get(name: string): User | undefined {
    return this.#users.get(name);
  }

  /** Sorted by name. */
  all(): User[] {
    return [...this.#users.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Makes the session the user's, if the password is right and he may log in. `word`: AUTH or HELLO as the
   * client has written it, for the log.
   */
  logIn(session: Session, name: string, password: string, word: string): boolean {
    const user = this.#users.get(name);
    // A name that nobody has takes as long as a wrong password.
    if (user === undefined) new User(name).accepts(password);
    else if (user.accepts(password)) {
      session.setUser(user, true);
      return true;
    }
    this.denied(session, { reason: "auth", object: word, username: name });
    return false;
  }

  /** Writes a denial to the log. */
  denied(session: Session, denial: Omit<Denial, "context">): void {
    const { clock } = this.#plane.env;
    const context = session.transaction === null ? "toplevel" : "multi";
    this.log.add({ ...denial, context }, clientLine(this.#plane, session), clock.wallMs());
    this.#plane.counters.deniedRequests++;
  }

  /** ACL SETUSER, here: all rules or none. What is wrong comes back, or null. */
  change(name: string, rules: readonly string[]): { readonly rule: string; readonly error: string } | null {
    const user = this.#users.get(name) ?? new User(name);
    const wrong = user.applyAll(rules);
    if (wrong !== null) return wrong;
    this.#users.set(name, user);
    this.#stamp(name, user.rules);
    this.#rightsChanged(user);
    return null;
  }

  /** ACL DELUSER, here. False when there is none. `caller` gets its reply before it is closed. */
  delete(name: string, caller: Session | null): boolean {
    const user = this.#users.get(name);
    if (user === undefined) return false;
    this.#users.delete(name);
    this.#stamp(name, null);
    this.#closeSessions(user, caller);
    return true;
  }

  /** The latest change of `name`, for the other workers. */
  recordOf(name: string): UserRecord | undefined {
    return this.#records.get(name);
  }

  /** Takes over what others have changed, where it is newer. */
  merge(records: readonly UserRecord[]): void {
    for (const record of records) {
      if (!supersedesRecord(record, this.#records.get(record.name))) continue;
      this.#records.set(record.name, record);
      const user = this.#users.get(record.name) ?? new User(record.name);
      if (record.rules === null) {
        this.#users.delete(record.name);
        this.#closeSessions(user, null);
        continue;
      }
      const next = new User(record.name);
      assert(next.applyAll(record.rules) === null, "a user's own rules make that user");
      user.become(next);
      this.#users.set(record.name, user);
      this.#rightsChanged(user);
    }
  }

  #stamp(name: string, rules: readonly string[] | null): void {
    const stamp = (this.#records.get(name)?.stamp ?? 0) + 1;
    this.#records.set(name, { name, rules, stamp, worker: this.#plane.identity.worker });
  }

  #rightsChanged(user: User): void {
    for (const session of this.#plane.clients.all()) {
      if (session.user !== user) continue;
      session.updatePlain();
      // What was queued was checked against the old rights.
      if (session.transaction !== null) session.transaction.failed = true;
      if (listensToForbidden(session, user)) session.abort("its user may no longer listen to its channels");
    }
  }

  #closeSessions(user: User, caller: Session | null): void {
    for (const session of this.#plane.clients.all()) {
      if (session.user !== user) continue;
      if (session !== caller) session.abort("its user was deleted");
      else {
        session.setUser(this.default, false);
        this.#plane.env.net.atTurnEnd(() => session.closeWhenAnswered());
      }
    }
  }
}

function listensToForbidden(session: Session, user: User): boolean {
  const { subscriber } = session;
  if (subscriber === null || user.unrestricted) return false;
  return subscriber.topics.some((topics, kind) => {
    return [...topics.keys()].some((name) => !user.allowsChannel(name, kind === 1));
  });
}
