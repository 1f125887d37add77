/**
 * What a request wants, as rights are asked for: its command, each of its keys with what it does to it, its
 * channels. Found once, then asked of each selector of the user.
 */
import { argumentIs, keywordBytes, type ArgumentView } from "../../commands/argument-view.ts";
import * as c from "../../commands/command.ts";
import { findKeys } from "../../commands/key-finder.ts";
import { KeyPositions } from "../../commands/key-positions.ts";
import { READS, WRITES } from "./key-pattern.ts";

const GET = keywordBytes("get");
const SET = keywordBytes("set");
const INCRBY = keywordBytes("incrby");
const OVERFLOW = keywordBytes("overflow");

/** Commands that name channels: whether all arguments are some, and whether they are patterns. */
const CHANNELS: ReadonlyMap<string, { readonly all: boolean; readonly patterns: boolean }> = new Map([
  ["subscribe", { all: true, patterns: false }],
  ["ssubscribe", { all: true, patterns: false }],
  ["psubscribe", { all: true, patterns: true }],
  ["publish", { all: false, patterns: false }],
  ["spublish", { all: false, patterns: false }],
]);

export class Wanted {
  command: c.Command;
  request: ArgumentView;
  bytes: Uint8Array;
  /** Argument indexes of the keys. */
  readonly keys = new KeyPositions();
  /** By key: READS, WRITES, both, or 0 where only its being there is told (EXISTS). */
  rights: number[] = [];
  /** Argument indexes, both included; 0: there is none. */
  firstChannel = 0;
  lastChannel = 0;
  channelPatterns = false;
  readonly #part = new KeyPositions();

  constructor(command: c.Command, request: ArgumentView) {
    this.command = command;
    this.request = request;
    this.bytes = request.bytes;
    this.set(command, request);
  }

  /** Takes up another request; the old one's findings are gone. */
  set(command: c.Command, request: ArgumentView): this {
    this.command = command;
    this.request = request;
    this.bytes = request.bytes;
    this.keys.count = 0;
    this.rights.length = 0;
    this.#findKeys();
    const channels = CHANNELS.get(command.name);
    this.firstChannel = channels === undefined ? 0 : 1;
    this.lastChannel = channels?.all ? request.argc - 1 : 1;
    this.channelPatterns = channels?.patterns ?? false;
    return this;
  }

  #findKeys(): void {
    const { command, request, keys } = this;
    const specs = command.keySpecs;
    if (specs.length === 0) return;
    if (command.finder === c.FINDER_SPECS && specs.length > 1) {
      for (const single of singleSpecs(command)) this.#addPart(single, request);
      return;
    }
    const count = findKeys(command, request, keys);
    for (let i = 0; i < count; i++) this.rights.push(this.#rightsOf(i));
    if (count < 0) keys.count = 0;
  }

  /** The keys of one specification; one that does not fit makes the server refuse the request whole. */
  #addPart(single: c.Command, request: ArgumentView): void {
    const part = this.#part;
    const count = findKeys(single, request, part);
    for (let i = 0; i < count; i++) {
      this.keys.add(part.at[i]);
      this.rights.push(rightsOfFlags(single.keySpecs[0].flags));
    }
  }

  #rightsOf(index: number): number {
    const { command, request } = this;
    const spec = command.keySpecs[0];
    if ((spec.flags & c.KEY_VARIABLE_FLAGS) !== 0) return variableRights(command, request);
    // SORT and GEORADIUS: behind the key that is read stands the one that is stored to.
    const stored = command.finder === c.FINDER_SORT || command.finder === c.FINDER_GEORADIUS;
    return index > 0 && stored ? WRITES : rightsOfFlags(spec.flags);
  }
}

const SINGLE_SPECS = new WeakMap<c.Command, readonly c.Command[]>();

/** The command once per key specification, so that the finder tells which keys are whose. */
function singleSpecs(command: c.Command): readonly c.Command[] {
  let singles = SINGLE_SPECS.get(command);
  if (singles === undefined) {
    singles = command.keySpecs.map((spec) => ({ ...command, keySpecs: [spec] }));
    SINGLE_SPECS.set(command, singles);
  }
  return singles;
}

function rightsOfFlags(flags: number): number {
  const writes = c.KEY_INSERT | c.KEY_DELETE | c.KEY_UPDATE;
  return ((flags & c.KEY_ACCESS) !== 0 ? READS : 0) | ((flags & writes) !== 0 ? WRITES : 0);
}

/**
 * SET reads with GET only; BITFIELD writes unless it has nothing but GETs (db.c, setGetKeys,
 * bitfieldGetKeys).
 */
function variableRights(command: c.Command, request: ArgumentView): number {
  if (command.name === "set") {
    for (let i = 3; i < request.argc; i++) if (argumentIs(request, i, GET)) return READS | WRITES;
    return WRITES;
  }
  return command.name === "bitfield" && onlyGets(request) ? READS : READS | WRITES;
}

function onlyGets(request: ArgumentView): boolean {
  for (let i = 2; i < request.argc; i++) {
    const left = request.argc - i - 1;
    if (argumentIs(request, i, GET) && left >= 2) i += 2;
    else if ((argumentIs(request, i, SET) || argumentIs(request, i, INCRBY)) && left >= 3) return false;
    else if (argumentIs(request, i, OVERFLOW) && left >= 1) i++;
    else return false;
  }
  return true;
}
