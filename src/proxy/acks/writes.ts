/** Whether a command may change data: by its table entry, which says nothing of scripts and functions. */
import { type Command, FLAG_WRITE } from "../../commands/command.ts";

const MAY_WRITE = new Set(["eval", "evalsha", "fcall"]);

export function writes(command: Command): boolean {
  return (command.flags & FLAG_WRITE) !== 0 || MAY_WRITE.has(command.name);
}
