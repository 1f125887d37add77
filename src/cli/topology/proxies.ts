/** `shoal proxy forget`. */
import { ShoalError } from "../../base/shoal-error.ts";
import { forgetProxy } from "../../contract/move-client.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION } from "../command.ts";
import { controllerTarget } from "../target.ts";
import { confirm, YES_OPTION } from "./confirm.ts";

/**
 * For proxies that cannot be shut out of the servers (no logins of their own): slots that wait for one go on.
 * `--json` prints {proxy, forgotten}.
 */
export const proxyForgetCommand: CommandRow = {
  name: "proxy forget",
  argument: "<id>",
  summary: "Vouch that a silent proxy is dead: what waits for it goes on",
  examples: [
    ["shoal proxy forget p2", "after its machine has gone for good; a proxy that comes back is taken in"],
  ],
  options: [YES_OPTION, DIR_OPTION, CONTROL_OPTION],
  async run(world, options, [id]) {
    const target = await controllerTarget(world, options);
    const question = `Writes of a proxy that still lives can be lost. Is ${id} dead for certain?`;
    if (!(await confirm(world, options, question))) return 0;
    const { forgotten } = await forgetProxy(world.http, target, id);
    if (!forgotten) throw new ShoalError("NOT_FOUND", `Cannot forget proxy ${id}: no such proxy is known`);
    if (options.json) world.print(JSON.stringify({ proxy: id, forgotten }, null, 2));
    else world.print(`Proxy ${id} is forgotten.`);
    return 0;
  },
};
