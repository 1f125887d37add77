/** One system, measured: fill, load, move under load, load, move back without load. */
import { createCommand } from "./dataset.ts";
import type { Entrance } from "./entrance.ts";
import { type Felt, Load } from "./load.ts";
import type { MoveOptions } from "./options.ts";

/** A system that can be grown from two groups to three, and shrunk again. */
export interface Movable {
  readonly name: string;
  open(): Promise<Entrance>;
  /** Keys of each group's server. */
  keysOf(): Promise<number[]>;
  /** Gives the third group its share; comes back when every key has moved. */
  grow(): Promise<void>;
  /** Takes it away again. */
  shrink(): Promise<void>;
  stop(): Promise<void>;
}

export interface Moved {
  readonly keys: number;
  readonly seconds: number;
  readonly keysPerSecond: number;
  /** Of the values and elements, without what a server adds. */
  readonly bytesPerSecond: number;
}

export interface Measured {
  readonly name: string;
  readonly before: Felt;
  readonly during: Felt;
  readonly after: Felt;
  readonly underLoad: Moved;
  /** Back again, without load. */
  readonly quiet: Moved;
  readonly errorTexts: readonly string[];
}

/** Requests of the filling that are under way at once. */
const FILL_WINDOW = 2000;
const WARM_UP_MS = 2000;

export async function measure(
  system: Movable,
  options: MoveOptions,
  tell: (text: string) => void,
): Promise<Measured> {
  const { keys, clients, seconds } = options;
  tell(`${system.name}: filling ${keys} keys`);
  const bytesPerKey = await fill(await system.open(), keys);
  const entrances: Entrance[] = [];
  for (let i = 0; i < clients; i++) entrances.push(await system.open());
  const load = new Load(entrances, keys);
  load.start();
  await sleep(WARM_UP_MS);
  load.take();
  tell(`${system.name}: load alone`);
  await sleep(seconds * 1000);
  const before = load.take();
  tell(`${system.name}: moving under load`);
  const underLoad = await timeMove(system, () => system.grow(), bytesPerKey);
  const during = load.take();
  tell(`${system.name}: load alone again`);
  await sleep(seconds * 1000);
  const after = load.take();
  await load.stop();
  for (const entrance of entrances) entrance.close();
  tell(`${system.name}: moving back without load`);
  const quiet = await timeMove(system, () => system.shrink(), bytesPerKey);
  const total = (await system.keysOf()).reduce((sum, one) => sum + one, 0);
  if (total !== keys) throw new Error(`${system.name}: ${keys} keys were made, ${total} are there`);
  return { name: system.name, before, during, after, underLoad, quiet, errorTexts: load.errorTexts };
}

/** Makes all keys; the mean size of a request comes back. */
async function fill(entrance: Entrance, keys: number): Promise<number> {
  let bytes = 0;
  let underWay: Promise<string>[] = [];
  for (let i = 0; i < keys; i++) {
    const words = createCommand(i);
    for (const word of words) bytes += word.length;
    underWay.push(entrance.send(words));
    if (underWay.length === FILL_WINDOW || i === keys - 1) {
      const failure = (await Promise.all(underWay)).find((reply) => reply.startsWith("-"));
      if (failure !== undefined) throw new Error(`Cannot fill: ${failure}`);
      underWay = [];
    }
  }
  entrance.close();
  return bytes / keys;
}

async function timeMove(system: Movable, move: () => Promise<void>, bytesPerKey: number): Promise<Moved> {
  const before = await system.keysOf();
  const startedMs = performance.now();
  await move();
  const seconds = (performance.now() - startedMs) / 1000;
  const after = await system.keysOf();
  const keys = Math.abs((after[2] ?? 0) - (before[2] ?? 0));
  return { keys, seconds, keysPerSecond: keys / seconds, bytesPerSecond: (keys * bytesPerKey) / seconds };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
