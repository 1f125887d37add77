/** The one program: `shoal up`, `shoal status`, `shoal proxy --config FILE`, … */
import { ask, redraw } from "../cli/terminal.ts";
import { runCommandLine } from "../cli/main.ts";
import { systemHttpClient } from "../platform/http/http-client.ts";
import { runController } from "./controller.ts";
import { runProxy } from "./proxy.ts";
import { machine, verifyEnv } from "./up.ts";
import { VERSION } from "./version.ts";

// A reader that went away (`shoal status | head`, a closed terminal) must not end a stop half-way.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

const status = await runCommandLine(
  {
    http: systemHttpClient,
    machine,
    verifyEnv,
    version: VERSION,
    program: [process.execPath, import.meta.filename],
    variables: process.env,
    print: (text) => void process.stdout.write(`${text}\n`),
    printError: (text) => void process.stderr.write(`${text}\n`),
    interactive: process.stderr.isTTY === true,
    redraw,
    ask: process.stdin.isTTY === true && process.stderr.isTTY === true ? ask : null,
    runProxy,
    runController,
  },
  process.argv.slice(2),
);
process.exit(status);
