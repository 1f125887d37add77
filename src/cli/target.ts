/** Which controller a command talks to: the one of --control, or the one that runs on the folder of --dir. */
import type { ControllerTarget } from "../contract/client.ts";
import type { OptionValues, World } from "./command.ts";
import { DEFAULT_DIR } from "./command.ts";
import { ClusterFolder } from "./folder/cluster-folder.ts";
import { readRunRecord } from "./folder/run-record.ts";
import { HintedError } from "./hinted-error.ts";

/** @throws ShoalError INVALID_ARGUMENT, UNREACHABLE when nothing runs on the folder */
export async function controllerTarget(world: World, options: OptionValues): Promise<ControllerTarget> {
  const token = world.variables["SHOAL_TOKEN"] ?? null;
  if (typeof options.control === "string") return { url: checkUrl(options.control), token };
  const folder = new ClusterFolder(folderOption(options));
  const record = await readRunRecord(folder);
  const runs = record !== null && record.parts.some((part) => world.machine.isRunning(part.process));
  if (!runs) {
    throw new HintedError(
      "UNREACHABLE",
      `Cannot reach a controller: nothing runs on ${folder.shown}`,
      `\`shoal up --dir ${folder.shown}\` starts it; --control URL asks a controller elsewhere.`,
    );
  }
  return { url: record.control, token };
}

export function folderOption(options: OptionValues): string {
  return typeof options.dir === "string" ? options.dir : DEFAULT_DIR;
}

function checkUrl(text: string): string {
  if (/^https?:\/\/[^/\s]+\/?$/.test(text)) return text;
  throw new HintedError(
    "INVALID_ARGUMENT",
    `Cannot use --control ${JSON.stringify(text)}: not a controller's address`,
    "It looks like this: --control http://127.0.0.1:18080",
  );
}
