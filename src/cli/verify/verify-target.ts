/** Whom a verification talks to: --address, or the proxies that run on --dir. */
import { ShoalError } from "../../base/shoal-error.ts";
import { RespDriver } from "../../verify/resp-driver.ts";
import type { OptionRow, OptionValues, World } from "../command.ts";
import { ClusterFolder } from "../folder/cluster-folder.ts";
import { readRunRecord } from "../folder/run-record.ts";
import { HintedError } from "../hinted-error.ts";
import { folderOption } from "../target.ts";

const CONNECT_TIMEOUT_MS = 2000;
/** Longer than a proxy's default hold (10 s): what is held and then answered is no failure. */
export const REPLY_TIMEOUT_MS_DEFAULT = 15_000;

const ADDRESS_OPTION: OptionRow = {
  flags: "--address <host:port,...>",
  type: "text",
  doc: "any Redis instead of --dir's proxies; password in SHOAL_PASSWORD, user in SHOAL_USER",
};

/** What --address may name besides entrances to the same data. */
export const TARGET_OPTIONS: readonly OptionRow[] = [
  ADDRESS_OPTION,
  { flags: "--cluster", type: "flag", doc: "the addresses are nodes of a Redis Cluster" },
  { flags: "--sentinel <name>", type: "text", doc: "the addresses are sentinels that watch this name" },
];

export const TIMEOUT_OPTION: OptionRow = {
  flags: "--timeout <ms>",
  type: "int",
  min: 100,
  max: 600_000,
  doc: "after so long without an answer a write counts as in doubt",
  shownDefault: String(REPLY_TIMEOUT_MS_DEFAULT),
};

/** @throws ShoalError INVALID_ARGUMENT, UNREACHABLE when nothing runs on the folder */
export async function openDriver(world: World, options: OptionValues): Promise<RespDriver> {
  const password = world.variables["SHOAL_PASSWORD"] ?? "";
  const user = world.variables["SHOAL_USER"] ?? "";
  return new RespDriver(world.verifyEnv, {
    addresses: await addressesOf(world, options),
    cluster: options.cluster === true,
    sentinel: typeof options.sentinel === "string" ? options.sentinel : null,
    credentials: password === "" ? null : { user: user === "" ? null : user, password },
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    replyTimeoutMs: typeof options.timeout === "number" ? options.timeout : REPLY_TIMEOUT_MS_DEFAULT,
  });
}

async function addressesOf(world: World, options: OptionValues): Promise<string[]> {
  if (typeof options.address === "string") {
    if (options.dir !== undefined) {
      throw new ShoalError("INVALID_ARGUMENT", "Cannot use --address and --dir at once");
    }
    return options.address.split(",").filter((address) => address !== "");
  }
  const folder = new ClusterFolder(folderOption(options));
  const record = await readRunRecord(folder);
  const proxies = (record?.parts ?? []).filter((part) => {
    return part.kind === "proxy" && world.machine.isRunning(part.process);
  });
  if (proxies.length > 0) return proxies.map((part) => part.address);
  throw new HintedError(
    "UNREACHABLE",
    `Cannot verify ${folder.shown}: no proxy runs on it`,
    `\`shoal up --dir ${folder.shown}\` starts it; --address HOST:PORT verifies any Redis.`,
  );
}
