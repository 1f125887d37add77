/**
 * One user: whether he may log in, with which passwords, and his rights (acl.c, ACLSetUser). Texts have a
 * character per byte; passwords come in as texts and stay as hashes.
 */
import type { ArgumentView } from "../../commands/argument-view.ts";
import type { Command } from "../../commands/command.ts";
import { equalHashes, sha256Hex } from "./sha256.ts";
import { ALLOWED, DENIED_COMMAND, Selector, type Verdict } from "./selector.ts";
import { Wanted } from "./wanted.ts";
import { BAD_HASH, NO_SUCH_PASSWORD } from "./rule-errors.ts";

const HASH = /^[0-9a-f]{64}$/;
type Sanitize = "" | "sanitize-payload" | "skip-sanitize-payload";

/** Used for every check: nothing is kept between two. */
let wanted: Wanted | null = null;
const verdict: Verdict = { result: ALLOWED, index: 0 };

export class User {
  readonly name: string;
  enabled = false;
  noPassword = false;
  /** Kept for the show: payloads are the servers' business, and they see the proxy's own login. */
  sanitize: Sanitize = "";
  passwords: string[] = [];
  selectors: Selector[] = [new Selector()];
  /** May do everything with every key: nothing about a request with one key needs to be checked. */
  plain = false;
  /** May do everything. */
  unrestricted = false;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether a client is this user from the start, without having logged in. Asked of "default" only. */
  get open(): boolean {
    return this.enabled && this.noPassword;
  }

  /** Whether the password is one of his and he may log in. Takes the same time whichever it is. */
  accepts(password: string): boolean {
    const hash = sha256Hex(password);
    let found = false;
    for (const known of this.passwords) found = equalHashes(known, hash) || found;
    return this.enabled && (this.noPassword || found);
  }

  /** Takes the rules, all or none of them; `{rule, error}` of the first wrong one comes back, or null. */
  applyAll(rules: readonly string[]): { readonly rule: string; readonly error: string } | null {
    const tried = this.copy();
    for (const rule of rules) {
      const error = tried.#apply(rule);
      if (error !== null) return { rule, error };
    }
    this.become(tried);
    return null;
  }

  /** Takes over everything but the name. */
  become(other: User): void {
    this.enabled = other.enabled;
    this.noPassword = other.noPassword;
    this.sanitize = other.sanitize;
    this.passwords = other.passwords;
    this.selectors = other.selectors;
    this.plain = this.selectors.some((selector) => selector.plain);
    this.unrestricted = this.selectors.some((selector) => selector.unrestricted);
  }

  /** One that shares no part with this one. */
  copy(): User {
    const copy = new User(this.name);
    copy.become(this);
    copy.passwords = [...this.passwords];
    copy.selectors = this.selectors.map((selector) => selector.copy());
    return copy;
  }

  /** "on", "nopass" …, as ACL GETUSER lists them. */
  get flags(): string[] {
    const flags = [this.enabled ? "on" : "off"];
    if (this.noPassword) flags.push("nopass");
    if (this.sanitize !== "") flags.push(this.sanitize);
    return flags;
  }

  /** All that makes him what he is; each is one argument of ACL SETUSER. */
  get rules(): string[] {
    const [root, ...more] = this.selectors;
    const hashes = this.passwords.map((hash) => `#${hash}`);
    const others = more.map((selector) => `(${selector.rules})`);
    return [...this.flags, ...hashes, ...root.rules.split(" "), ...others];
  }

  /**
   * What a request is about, ALLOWED or the reason that counts most; `index`: the argument that it is about.
   */
  check(command: Command, request: ArgumentView): Readonly<Verdict> {
    wanted = wanted === null ? new Wanted(command, request) : wanted.set(command, request);
    let worst = DENIED_COMMAND;
    let index = 0;
    for (const selector of this.selectors) {
      selector.check(wanted, verdict);
      if (verdict.result === ALLOWED) return verdict;
      if (verdict.result > worst || (verdict.result === worst && verdict.index > index)) {
        worst = verdict.result;
        index = verdict.index;
      }
    }
    verdict.result = worst;
    verdict.index = index;
    return verdict;
  }

  /** Whether he may run the request and read any key at all: what SORT's patterns need. */
  readsAllKeys(command: Command, request: ArgumentView): boolean {
    const asked = new Wanted(command, request);
    return this.selectors.some((selector) => selector.readsAllKeys && selector.allows(asked, verdict));
  }

  allowsChannel(name: string, isPattern: boolean): boolean {
    return this.selectors.some((selector) => selector.allowsChannel(name, isPattern));
  }

  #apply(rule: string): string | null {
    switch (rule.toLowerCase()) {
      case "":
        return null;
      case "on":
      case "off":
        this.enabled = rule.toLowerCase() === "on";
        return null;
      case "nopass":
      case "resetpass":
        this.noPassword = rule.toLowerCase() === "nopass";
        this.passwords = [];
        return null;
      case "sanitize-payload":
      case "skip-sanitize-payload":
        this.sanitize = rule.toLowerCase() as Sanitize;
        return null;
      case "clearselectors":
        this.selectors.length = 1;
        return null;
      case "reset":
        this.become(new User(this.name));
        this.sanitize = "sanitize-payload";
        return null;
    }
    if (">#<!".includes(rule[0])) return this.#applyPassword(rule[0], rule.slice(1));
    if (rule[0] === "(" && rule.endsWith(")")) return this.#addSelector(rule.slice(1, -1));
    return this.selectors[0].apply(rule);
  }

  #applyPassword(kind: string, text: string): string | null {
    const isHash = kind === "#" || kind === "!";
    if (isHash && !HASH.test(text)) return BAD_HASH;
    const hash = isHash ? text : sha256Hex(text);
    const known = this.passwords.includes(hash);
    if (kind === ">" || kind === "#") {
      if (!known) this.passwords.push(hash);
      this.noPassword = false;
      return null;
    }
    this.passwords = this.passwords.filter((each) => each !== hash);
    return known ? null : NO_SUCH_PASSWORD;
  }

  #addSelector(text: string): string | null {
    const selector = new Selector();
    for (const rule of text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "")) {
      const error = selector.apply(rule);
      if (error !== null) return error;
    }
    this.selectors.push(selector);
    return null;
  }
}

/** A rule without its password; for errors that are logged. */
export function withoutSecret(rule: string): string {
  // A word that is no rule may be a password whose ">" was forgotten.
  return "+-~%&@(".includes(rule[0]) ? rule : "(not shown)";
}

/** Puts selectors that stand in several words together; `open`: the first word of one that is not closed. */
export function mergeSelectors(words: readonly string[]): {
  readonly rules: readonly string[];
  readonly open: string | null;
} {
  const rules: string[] = [];
  let selector: string | null = null;
  let open: string | null = null;
  for (const word of words) {
    if (selector === null && word[0] === "(" && !word.endsWith(")")) {
      selector = word;
      open = word;
    } else if (selector !== null) {
      selector += ` ${word}`;
      if (!word.endsWith(")")) continue;
      rules.push(selector);
      selector = null;
    } else rules.push(word);
  }
  return selector === null ? { rules, open: null } : { rules, open };
}
