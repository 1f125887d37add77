/**
 * A set of rights that stand together: commands, keys, channels. A user has one, and may have more in
 * parentheses; a request is allowed when one of them allows all of it (acl.c, ACLSelectorCheckCmd).
 */
import { CommandRights } from "./command-rights.ts";
import { KeyPattern, READS, WRITES } from "./key-pattern.ts";
import type { Wanted } from "./wanted.ts";
import { AFTER_ALL_CHANNELS, AFTER_ALL_KEYS, SYNTAX } from "./rule-errors.ts";

export const ALLOWED = 0;
/** In the order in which Redis prefers to name them when several selectors deny for different reasons. */
export const DENIED_COMMAND = 1;
export const DENIED_KEY = 2;
export const DENIED_CHANNEL = 4;

/** What `check` found, and the argument that it is about. */
export interface Verdict {
  result: number;
  index: number;
}

/** Whether a word has what Redis takes for space in a rule or a name. */
export function hasSpace(word: string): boolean {
  return /[ \t\n\v\f\r\0]/.test(word);
}

export class Selector {
  readonly commands = new CommandRights();
  #allKeys = false;
  #allChannels = false;
  #keys: KeyPattern[] = [];
  #channels: KeyPattern[] = [];

  /** May do everything with every key: its requests need no look at what they are. */
  get plain(): boolean {
    return this.commands.all && this.#allKeys;
  }

  get unrestricted(): boolean {
    return this.plain && this.#allChannels;
  }

  copy(): Selector {
    const copy = new Selector();
    // Not by the rules: "~*" among them may be one pattern of several, which leaves room for more.
    for (const rule of this.commands.rules.split(" ")) copy.commands.apply(rule);
    copy.#allKeys = this.#allKeys;
    copy.#allChannels = this.#allChannels;
    copy.#keys = this.#keys.map((key) => new KeyPattern(key.pattern, key.rights));
    copy.#channels = [...this.#channels];
    return copy;
  }

  /** Takes one rule; an error text comes back, or null. */
  apply(rule: string): string | null {
    switch (rule.toLowerCase()) {
      case "allkeys":
      case "~*":
        return this.#resetKeys(true);
      case "resetkeys":
        return this.#resetKeys(false);
      case "allchannels":
      case "&*":
        return this.#resetChannels(true);
      case "resetchannels":
        return this.#resetChannels(false);
      case "allcommands":
        return this.commands.apply("+@all");
      case "nocommands":
        return this.commands.apply("-@all");
    }
    if (rule[0] === "~") return this.#addKeys(rule.slice(1), READS | WRITES);
    if (rule[0] === "%") return this.#addRights(rule);
    if (rule[0] === "&") return this.#addChannel(rule.slice(1));
    return rule[0] === "+" || rule[0] === "-" ? this.commands.apply(rule) : SYNTAX;
  }

  /** Whether `wanted` may be done; `verdict` takes the answer. */
  check(wanted: Wanted, verdict: Verdict): void {
    verdict.index = 0;
    verdict.result = ALLOWED;
    const { command, request } = wanted;
    if (!this.commands.allows(command, request)) verdict.result = DENIED_COMMAND;
    else if (!this.#allKeys && (verdict.index = this.#deniedKey(wanted)) > 0) verdict.result = DENIED_KEY;
    else if (!this.#allChannels && (verdict.index = this.#deniedChannel(wanted)) > 0)
      verdict.result = DENIED_CHANNEL;
  }

  /** Whether it may read every key. */
  get readsAllKeys(): boolean {
    const all = (key: KeyPattern): boolean => key.pattern === "*" && (key.rights & READS) !== 0;
    return this.#allKeys || this.#keys.some(all);
  }

  /** Whether it allows a subscription: a channel by pattern, a pattern only by its very own name. */
  allowsChannel(name: string, isPattern: boolean): boolean {
    if (this.#allChannels) return true;
    const bytes = Uint8Array.from(name, (character) => character.charCodeAt(0));
    return this.#channels.some((each) =>
      isPattern ? each.pattern === name : each.fits(bytes, 0, bytes.length),
    );
  }

  get keyRules(): string {
    return this.#allKeys ? "~*" : this.#keys.map((key) => key.rule).join(" ");
  }

  get channelRules(): string {
    return this.#allChannels ? "&*" : this.#channels.map((channel) => `&${channel.pattern}`).join(" ");
  }

  /** The rules that make it what it is, from an empty one. */
  get rules(): string {
    const channels = this.#allChannels ? "&*" : `resetchannels ${this.channelRules}`;
    // Redis shows "~*" for one of several patterns, and then does not take the others behind it.
    const keys = this.#allKeys ? ["~*"] : this.#keys.map(({ rule }) => (rule === "~*" ? "%RW~*" : rule));
    return [...keys, channels.trimEnd(), this.commands.rules].filter((part) => part !== "").join(" ");
  }

  #deniedKey({ bytes, request, keys, rights }: Wanted): number {
    for (let i = 0; i < keys.count; i++) {
      const index = keys.at[i];
      const start = request.argStart[index];
      const end = request.argEnd[index];
      const wanted = rights[i];
      const fits = (key: KeyPattern): boolean =>
        (key.rights & wanted) === wanted && key.fits(bytes, start, end);
      if (!this.#keys.some(fits)) return index;
    }
    return 0;
  }

  #deniedChannel({ bytes, request, firstChannel, lastChannel, channelPatterns }: Wanted): number {
    if (firstChannel === 0) return 0;
    for (let index = firstChannel; index <= lastChannel; index++) {
      const start = request.argStart[index];
      const end = request.argEnd[index];
      const allowed = this.#channels.some((channel) =>
        channelPatterns ? channel.spells(bytes, start, end) : channel.fits(bytes, start, end),
      );
      if (!allowed) return index;
    }
    return 0;
  }

  #resetKeys(all: boolean): null {
    this.#allKeys = all;
    this.#keys = [];
    return null;
  }

  #resetChannels(all: boolean): null {
    this.#allChannels = all;
    this.#channels = [];
    return null;
  }

  /** `%R~pattern`, `%W~…`, `%RW~…`. */
  #addRights(rule: string): string | null {
    if (this.#allKeys) return AFTER_ALL_KEYS;
    const match = /^%(R?W?|WR)(?:~(.*))?$/is.exec(rule);
    if (match === null || match[1] === "") return SYNTAX;
    const letters = match[1].toUpperCase();
    const rights = (letters.includes("R") ? READS : 0) | (letters.includes("W") ? WRITES : 0);
    return this.#addKeys(match[2] ?? "", rights);
  }

  #addKeys(pattern: string, rights: number): string | null {
    if (this.#allKeys) return AFTER_ALL_KEYS;
    if (hasSpace(pattern)) return SYNTAX;
    const known = this.#keys.find((key) => key.pattern === pattern);
    if (known === undefined) this.#keys.push(new KeyPattern(pattern, rights));
    else known.rights |= rights;
    return null;
  }

  #addChannel(pattern: string): string | null {
    if (this.#allChannels) return AFTER_ALL_CHANNELS;
    if (hasSpace(pattern)) return SYNTAX;
    const known = this.#channels.some((channel) => channel.pattern === pattern);
    if (!known) this.#channels.push(new KeyPattern(pattern, READS | WRITES));
    return null;
  }

  /** Whether it allows `command` at all; for the question about SORT's patterns. */
  allows(wanted: Wanted, verdict: Verdict): boolean {
    this.check(wanted, verdict);
    return verdict.result === ALLOWED;
  }
}
