/**
 * Which commands a selector allows: Redis's rules `+get -@dangerous +config|get +select|0`, in their order.
 *
 *   rules, in order ─▶ a byte per built-in command          (the check of a request)
 *                 └──▶ gone through one by one               (a command that was learned from a server)
 *
 * The rules are kept, not only what follows from them: ACL LIST shows them, and a module's command that
 * nobody knew when the rule was given is decided by its name and its categories. Rejected: Redis 7.0's way
 * to guess a short list of rules from the bits; it forgets what was meant.
 */
import { argumentIs, keywordBytes, type ArgumentView } from "../../commands/argument-view.ts";
import { COMMANDS } from "../../commands/command-lookup.ts";
import { type Command, FLAG_CONTAINER, FLAG_NO_AUTH } from "../../commands/command.ts";
import { CHILD_OF_A_SUBCOMMAND, SYNTAX, UNKNOWN } from "./rule-errors.ts";

/** In the order in which ACL CAT lists them. */
export const CATEGORIES: readonly string[] = (
  "keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow " +
  "blocking dangerous connection transaction scripting"
).split(" ");

const BY_NAME: ReadonlyMap<string, Command> = new Map(COMMANDS.map((command) => [command.name, command]));

/**
 * Whether a command's subcommands are commands of their own, as Redis sees it. Words of DEBUG are arguments.
 */
function hasSubcommands(command: Command): boolean {
  return (command.flags & FLAG_CONTAINER) !== 0;
}

/** The command whose rights count: the words of DEBUG that our table lists for their keys are DEBUG. */
const COUNTED: readonly Command[] = COMMANDS.map((command) => {
  const bar = command.name.indexOf("|");
  const parent = bar < 0 ? undefined : BY_NAME.get(command.name.slice(0, bar));
  return parent === undefined || hasSubcommands(parent) ? command : parent;
});

/** The command that a rule names; null when the table has none. */
export function ruleCommand(name: string): Command | null {
  const command = BY_NAME.get(name.toLowerCase());
  return command !== undefined && COUNTED[command.id] === command ? command : null;
}

/** Whether the name is one that only a module can have. Those are known to the servers alone. */
function isModuleName(name: string): boolean {
  return /^[^|@]+\.[^|@]+$/.test(name);
}

export function isCategory(name: string): boolean {
  return CATEGORIES.includes(name.toLowerCase());
}

export class CommandRights {
  /** Whatever there is or will be: `+@all`, and nothing taken away since. */
  all = false;
  /** The rules since the last `+@all` or `-@all`, which stands first. */
  readonly #rules: string[] = ["-@all"];
  readonly #allowed = new Uint8Array(COMMANDS.length);
  /** `+select|0`: words that may follow a command which is not allowed otherwise. By id. */
  readonly #firstArguments = new Map<number, Uint8Array[]>();

  /** Takes a rule that begins with + or -; an error text comes back, or null. */
  apply(rule: string): string | null {
    const allow = rule[0] === "+";
    const name = rule.slice(1).toLowerCase();
    if (name === "@all") {
      this.setAll(allow);
      return null;
    }
    if (name[0] === "@") return this.#applyCategory(allow, name.slice(1));
    const command = ruleCommand(name);
    if (command !== null) this.#setCommand(command, allow);
    else {
      const bar = name.lastIndexOf("|");
      const error = bar < 0 || !allow ? moduleError(name) : this.#addFirstArgument(name, bar);
      if (error !== null) return error;
    }
    this.#remember(allow, name);
    return null;
  }

  /** allcommands, nocommands. */
  setAll(allow: boolean): void {
    this.all = allow;
    this.#allowed.fill(allow ? 1 : 0);
    this.#firstArguments.clear();
    this.#rules.length = 0;
    this.#rules.push(allow ? "+@all" : "-@all");
  }

  /** Whether the request may call `command`. */
  allows(command: Command, request: ArgumentView): boolean {
    if (this.all || (command.flags & FLAG_NO_AUTH) !== 0) return true;
    if (command.id >= COMMANDS.length) return this.#allowsLearned(command);
    const { id } = COUNTED[command.id];
    if (this.#allowed[id] === 1) return true;
    const words = this.#firstArguments.get(id);
    return words !== undefined && request.argc > 1 && words.some((word) => argumentIs(request, 1, word));
  }

  /** As ACL LIST shows them. */
  get rules(): string {
    return this.#rules.join(" ");
  }

  #applyCategory(allow: boolean, category: string): string | null {
    if (!isCategory(category)) return UNKNOWN;
    for (const command of COMMANDS)
      if (command.categories.includes(category)) this.#setCommand(command, allow);
    this.#remember(allow, `@${category}`);
    return null;
  }

  #setCommand(command: Command, allow: boolean): void {
    if (!allow) this.all = false;
    this.#allowed[command.id] = allow ? 1 : 0;
    this.#firstArguments.delete(command.id);
    if (!hasSubcommands(command)) return;
    for (const subcommand of command.subcommands?.commands ?? []) {
      this.#allowed[subcommand.id] = allow ? 1 : 0;
    }
  }

  /** `+name|word` where name has no such subcommand. `bar`: where its last "|" stands. */
  #addFirstArgument(name: string, bar: number): string | null {
    const command = ruleCommand(name.slice(0, bar));
    if (command === null) return UNKNOWN;
    if (command.name.includes("|")) return CHILD_OF_A_SUBCOMMAND;
    if (bar === name.length - 1) return SYNTAX;
    if (hasSubcommands(command)) return UNKNOWN;
    const words = this.#firstArguments.get(command.id) ?? [];
    this.#firstArguments.set(command.id, [...words, keywordBytes(name.slice(bar + 1))]);
    return null;
  }

  /** Adds the rule, and drops what it makes void: earlier rules about the same name and about parts of it. */
  #remember(allow: boolean, name: string): void {
    if (!allow) this.all = false;
    const kept = this.#rules.filter((rule, i) => {
      const other = rule.slice(1);
      return i === 0 || (other !== name && !other.startsWith(`${name}|`));
    });
    this.#rules.length = 0;
    this.#rules.push(...kept, `${allow ? "+" : "-"}${name}`);
  }

  /** The last rule that concerns it decides. */
  #allowsLearned(command: Command): boolean {
    const concerns = (name: string): boolean =>
      name[0] === "@"
        ? name === "@all" || command.categories.includes(name.slice(1))
        : command.name === name || command.name.startsWith(`${name}|`);
    return this.#rules.findLast((rule) => concerns(rule.slice(1)))?.[0] === "+";
  }
}

function moduleError(name: string): string | null {
  return isModuleName(name) ? null : UNKNOWN;
}
