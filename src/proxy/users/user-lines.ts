/** The users of proxy.toml: lines of Redis's aclfile without the word "user" in front. */
import { mergeSelectors, User, withoutSecret } from "./user.ts";
import { hasSpace } from "./selector.ts";
import { sha256Hex } from "./sha256.ts";

/** A text as the wire has it: a character per byte of its UTF-8. */
export function wireText(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

/**
 * Makes users of the lines; a text comes back that says what is wrong, without any password.
 * `passwords`: those of the default user from `requirepass`, or "".
 */
export function readUsers(lines: readonly string[], requirepass: string): Map<string, User> | string {
  const users = new Map<string, User>();
  for (const line of lines) {
    const error = readLine(line, users);
    if (error !== null) return error;
  }
  if (requirepass !== "" && users.has("default")) {
    return "has a line for default, and requirepass is set: say default's password in one of them";
  }
  if (!users.has("default")) {
    const user = new User("default");
    user.applyAll(["on", "~*", "&*", "+@all", requirepass === "" ? "nopass" : `>${wireText(requirepass)}`]);
    users.set("default", user);
  }
  return users;
}

function readLine(line: string, users: Map<string, User>): string | null {
  const [name, ...words] = wireText(line)
    .trim()
    .split(/[ \t]+/);
  if (name === "" || hasSpace(name)) return "a line must begin with the user's name";
  if (users.has(name)) return `user ${name} stands in it twice`;
  const { rules, open } = mergeSelectors(words);
  if (open !== null) return `user ${name}: the parenthesis of ${withoutSecret(open)} is not closed`;
  const user = new User(name);
  const wrong = user.applyAll(rules);
  if (wrong !== null) {
    const place = rules.indexOf(wrong.rule) + 1;
    return `user ${name}, rule ${place}, ${withoutSecret(wrong.rule)}: ${wrong.error}`;
  }
  users.set(name, user);
  return null;
}

/** The lines with hashes in the place of passwords. */
export function hashPasswords(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line.replaceAll(/(^|\s)>(\S*)/g, (_, before: string, password: string) => {
      return `${before}#${sha256Hex(wireText(password))}`;
    }),
  );
}
