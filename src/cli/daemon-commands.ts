/** `shoal proxy` and `shoal controller`: the parts of a cluster one by one, for production. */
import { readFile } from "node:fs/promises";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import type { CommandRow, OptionRow, OptionValues, RunDaemon, World } from "./command.ts";
import { HintedError } from "./hinted-error.ts";

const OPTIONS: readonly OptionRow[] = [
  { flags: "--config <file>", type: "text", doc: "its configuration, TOML" },
  {
    flags: "--help-config",
    type: "flag",
    doc: "print every key of the configuration with default and meaning",
  },
];

export const proxyCommand: CommandRow = {
  name: "proxy",
  argument: "",
  summary: "Run one proxy, the process that clients connect to",
  examples: [
    ["shoal proxy --config proxy.toml", "runs until SIGTERM, then drains"],
    ["shoal proxy --help-config > proxy.toml", "a configuration to start from"],
  ],
  options: OPTIONS,
  run: (world, options) => runDaemon(world, "proxy", world.runProxy, options),
};

export const controllerCommand: CommandRow = {
  name: "controller",
  argument: "",
  summary: "Run one controller, the process that owns the topology",
  examples: [
    ["shoal controller --config controller.toml", "runs until SIGTERM"],
    ["shoal controller --help-config > controller.toml", "a configuration to start from"],
  ],
  options: OPTIONS,
  run: (world, options) => runDaemon(world, "controller", world.runController, options),
};

async function runDaemon(world: World, name: string, run: RunDaemon, options: OptionValues): Promise<number> {
  if (options.helpConfig) {
    world.print(run.helpConfig());
    return 0;
  }
  if (typeof options.config !== "string") {
    throw new HintedError(
      "INVALID_ARGUMENT",
      `Cannot run a ${name}: no configuration is given`,
      `\`shoal ${name} --help-config\` prints one to start from, --config FILE names it.`,
    );
  }
  return run({ file: options.config, text: await readConfigFile(options.config) });
}

async function readConfigFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const why = missing ? "no such file" : errorTextOf(error);
    throw new ShoalError("CONFIG", `Cannot read the configuration ${path}: ${why}`, error);
  }
}
