/**
 * The layers of src/: who may import whom, and who may touch the machine. One table; tools/check-layers.ts
 * enforces it.
 *
 * A layer may import the layers listed before it, and itself. What differs from that has its reason beside
 * it: `only` narrows it to some layers, `not` takes some out.
 *
 * What touches the machine (node:*, bun:*, timers, clocks, randomness, console) stays in the layers marked
 * `machine: true`. Everything else is handed an `env`: that is what lets a whole fleet run in one process
 * under one seed.
 */

/** An allowance or a prohibition, and why. */
export interface Edge {
  readonly name: string;
  readonly reason: string;
}

export interface Layer {
  /** Folder under src/. */
  readonly name: string;
  /** May use node:* and bun:* modules and the globals of FORBIDDEN_GLOBALS. */
  readonly machine: boolean;
  /** When given, the only layers it may import besides itself. */
  readonly only?: readonly string[];
  readonly onlyReason?: string;
  /** Earlier layers that it may not import all the same. */
  readonly not?: readonly Edge[];
  /** npm packages that it may import. Every other one is forbidden. */
  readonly packages?: readonly Edge[];
}

const SCHEMAS: Edge = {
  name: "zod",
  reason: "the contract's schemas are zod's; one definition for type and check",
};
const HTTP: Edge = {
  name: "hono",
  reason: "routes of the API are data for it; it needs no server of its own",
};
const TOML: Edge = { name: "smol-toml", reason: "configuration files are TOML" };
const COMMANDER: Edge = { name: "commander", reason: "parses the command line and prints its help" };

/** In order: a layer may import what stands above it. */
export const LAYERS: readonly Layer[] = [
  { name: "base", machine: false },
  { name: "env", machine: false },
  { name: "resp", machine: false },
  { name: "commands", machine: false },
  { name: "routing", machine: false },
  { name: "topology", machine: false },
  { name: "contract", machine: false, packages: [SCHEMAS, HTTP] },
  { name: "redis", machine: false },
  { name: "store", machine: false },
  {
    name: "proxy",
    machine: false,
    not: [{ name: "store", reason: "the controller is the only process that talks to the store" }],
  },
  {
    name: "controller",
    machine: false,
    not: [{ name: "proxy", reason: "the two planes meet only in contract and topology" }],
    packages: [SCHEMAS, HTTP],
  },
  {
    name: "verify",
    machine: false,
    only: ["base", "env", "topology", "redis"],
    onlyReason: "it judges any Redis, so it shares nothing with what it judges but RESP and addresses",
  },
  {
    name: "cli",
    machine: true,
    only: ["base", "env", "topology", "contract", "verify"],
    onlyReason:
      "a command parses, calls contract or checker, prints; what the cluster does is the controller's",
    packages: [SCHEMAS, COMMANDER, TOML],
  },
  {
    name: "platform",
    machine: true,
    only: ["base", "env"],
    onlyReason: "it is the env for real and knows nothing of what runs on it",
    packages: [{ name: "pino", reason: "writes the log: the Log of env for real" }, TOML],
  },
  { name: "apps", machine: true, packages: [COMMANDER, TOML, SCHEMAS] },
];

/** Where runtime modules may be imported although the layer may not touch the machine. */
export const MODULE_EXCEPTIONS: ReadonlyArray<{ folder: string; module: string; reason: string }> = [
  {
    folder: "src/store/sqlite",
    module: "bun:sqlite",
    reason: "the embedded database is the store's own medium",
  },
];

/** Runtime modules that even the layers that may touch the machine import in one place only. */
export const CONFINED_MODULES: ReadonlyArray<{ module: string; folders: readonly string[]; reason: string }> =
  [
    {
      module: "bun:ffi",
      folders: ["src/platform/epoll"],
      reason: "calls into libc are checked by nothing, so they stay where each one has been reviewed",
    },
    {
      module: "bun:sqlite",
      folders: ["src/store/sqlite"],
      reason: "another runtime can be added by replacing two small folders",
    },
  ];

/** Tests beside the source may also import these layers: a test of `redis` needs real sockets. */
export const TEST_LAYERS: readonly string[] = ["platform"];
/** … and these folders outside of src/: what tests share, and what generated a file that a test compares. */
export const TEST_FOLDERS: readonly string[] = ["test/support", "tools"];

/** What web/ may import of src/. */
export const WEB_LAYERS: readonly string[] = ["contract"];

/** Globals that bring in the machine, and what to use instead. */
export const FORBIDDEN_GLOBALS: ReadonlyMap<string, string> = new Map([
  ["process", "what comes from outside is in env or configuration"],
  ["console", "use env's Log"],
  ["setTimeout", "use env's Timers"],
  ["setInterval", "use env's Timers"],
  ["setImmediate", "use env's Timers"],
  ["clearTimeout", "use env's Timers"],
  ["clearInterval", "use env's Timers"],
  ["clearImmediate", "use env's Timers"],
  ["performance", "use env's Clock"],
  ["crypto", "use env's Random"],
  ["fetch", "use env's Net"],
  ["WebSocket", "use env's Net"],
  ["Worker", "processes are started by apps"],
  ["Bun", "the runtime is known to platform only"],
  ["require", "use import"],
  ["globalThis", "it is a way around this check"],
]);

/** Uses of harmless globals that are not harmless. */
export const FORBIDDEN_MEMBERS: ReadonlyMap<string, string> = new Map([
  ["Date.now", "use env's Clock"],
  ["Math.random", "use env's Random"],
  ["new Date()", "use env's Clock"],
  ["import.meta", "where a file lies is known to apps only"],
]);
