/**
 * Commands that concern all groups (FLUSHDB, CONFIG SET …) between MULTI and EXEC.
 *
 *   home group    MULTI  SET a  FLUSHDB  SET b  EXEC        in their places, as on one server
 *   every other   ───────────────────────────────────▶ MULTI  FLUSHDB  EXEC    when the home's EXEC has run
 *
 * Each group runs its part in one go. What is not kept is that all groups do so at the same moment; nor are
 * these commands, outside of MULTI, over several groups. The others come after the home, because with WATCH
 * it is the home's EXEC that says whether anything runs. A group that fails then makes the command's own
 * answer an error that says so.
 *
 * Rejected: running the whole command after EXEC, as PUBLISH is; FLUSHDB would take with it what the
 * transaction has written behind it.
 */
import { readLatin1 } from "../../base/bytes.ts";
import { decodeReply, ReplyError } from "../../resp/reply-decoder.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { ReplyOwner } from "../request.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { requestOf } from "./ask-groups.ts";
import type { Call } from "./call.ts";
import { protectedSetting } from "./config-commands.ts";

/** Those whose answer is the same from every group. */
const FLEET_WORDS = new Set([
  "config|resetstat",
  "config|set",
  "flushall",
  "flushdb",
  "function|delete",
  "function|flush",
  "function|load",
  "function|restore",
  "slowlog|reset",
  "swapdb",
]);

/**
 * Of these, those that are about keys: while slots move, keys are in none of the groups' EXECs for certain.
 */
const KEYSPACE_WORDS = new Set(["flushall", "flushdb", "swapdb"]);

export const SLOTS_MOVE = "CROSSSLOT the keys of all groups can't be part of a transaction while slots move";

/** Why a command for all groups can't be part of a transaction; null when it can. */
export function fleetRefusal(plane: DataPlane, call: Call, database: number): string | null {
  const { command, session } = call;
  const { groups } = session.lane;
  if (command.name === "config|set") {
    const text = protectedSetting(call);
    if (text !== null) return text;
  }
  if (groups.length === 1) return null;
  // After a SELECT inside, the other groups would have to follow to that database.
  if (!FLEET_WORDS.has(command.name) || database >= 0)
    return `CROSSSLOT '${command.name}' concerns all groups and can't be part of a transaction`;
  if (plane.moving.active && KEYSPACE_WORDS.has(command.name)) return SLOTS_MOVE;
  const gone = groups.find((each) => !each.prepare() && !plane.holding.mayWait(each));
  return gone?.refusal ?? null;
}

interface Item {
  readonly name: string;
  /** Its place in the transaction. */
  readonly index: number;
  readonly words: string;
}

/** What a transaction's other groups run. */
export class FleetPart {
  readonly #items: Item[] = [];

  get empty(): boolean {
    return this.#items.length === 0;
  }

  /** Whether it is about keys. */
  get touchesKeys(): boolean {
    return this.#items.some(({ name }) => KEYSPACE_WORDS.has(name));
  }

  add(call: Call, index: number): void {
    const words = readLatin1(call.bytes, call.start, call.end);
    this.#items.push({ name: call.command.name, index, words });
  }

  /**
   * Runs it at `others`, after it has run at the group `home`; `done` gets the answers that differ from the
   * home's, by place.
   */
  run(others: readonly Upstream[], home: string, done: (answers: ReadonlyMap<number, string>) => void): void {
    const answers = new Map<number, string>();
    let left = others.length;
    const ended = (): void => {
      if (--left === 0) done(answers);
    };
    const failed = (item: Item, group: string, text: string): void => {
      const name = item.name.toUpperCase().replace("|", " ");
      const where = `done by group ${home}; failed at group ${group}`;
      answers.set(item.index, errorReply(`ERR ${name} ran in part only: ${where}: ${text}`));
    };
    if (left === 0) done(answers);
    for (const upstream of others) this.#runAt(upstream, failed, ended);
  }

  #runAt(
    upstream: Upstream,
    failed: (item: Item, group: string, text: string) => void,
    ended: () => void,
  ): void {
    const { group } = upstream.target;
    const items = this.#items;
    const allFailed = (text: string): void => {
      for (const item of items) failed(item, group, text);
      ended();
    };
    if (!upstream.takes()) {
      allFailed(upstream.refusal);
      return;
    }
    const last = items.length + 1;
    const owner: ReplyOwner = {
      writes: this.touchesKeys,
      onReply: (request, bytes, start, end) => {
        if (request.part !== last) return;
        const reply = decodeReply(bytes, start, end);
        if (!Array.isArray(reply)) {
          allFailed(reply instanceof ReplyError ? reply.text : "no answer to EXEC");
          return;
        }
        for (const [i, item] of items.entries())
          if (reply[i] instanceof ReplyError) failed(item, group, reply[i].text);
        ended();
      },
      onFailure: (request, text) => {
        if (request.part === last) allFailed(text);
      },
    };
    for (let part = 0; part <= last; part++) upstream.begin(owner, part);
    const words = [requestOf("MULTI"), ...items.map((item) => item.words), requestOf("EXEC")];
    upstream.output.appendLatin1(words.join(""));
    upstream.flushSoon();
  }
}
