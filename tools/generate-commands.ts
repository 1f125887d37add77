#!/usr/bin/env bun
/**
 * Writes src/commands/command-table.generated.ts from what a live server says in COMMAND and COMMAND DOCS.
 *
 *   bun tools/generate-commands.ts                 starts the redis-server of this machine for it
 *   bun tools/generate-commands.ts --addr H:P      asks a server that runs
 *   bun tools/generate-commands.ts --stdout        prints instead of writing
 *
 * The file is sorted and has no time or path in it: the same server gives the same bytes. Make it from Redis
 * 7.0, the reference; what newer servers know beyond it the proxy learns from them while running.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandData, KeySpecData } from "../src/commands/command-data.ts";
import { dataFromInfoReply, fieldOf, withDocs } from "../src/commands/command-info-reply.ts";

const TABLE_PATH = join(import.meta.dirname, "../src/commands/command-table.generated.ts");
const START_DEADLINE_MS = 10_000;

/** An error reply of the server, as a value. */
class ErrorReply {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A decoded RESP2 reply. */
type Reply = string | number | null | ErrorReply | Reply[];

/** The smallest client that can ask what is asked here: RESP2, replies in order. Not for the product. */
class PlainClient {
  private buffered: Buffer = Buffer.alloc(0);
  private readonly waiting: ((reply: Reply) => void)[] = [];
  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.take(chunk));
  }

  /** Sends one command; resolves to its reply. Error replies are values, not exceptions. */
  ask(...words: string[]): Promise<Reply> {
    const bulks = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${bulks.join("")}`);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    this.buffered = Buffer.concat([this.buffered, chunk]);
    for (;;) {
      const cursor = { at: 0 };
      const reply = decode(this.buffered, cursor);
      if (reply === undefined) return;
      this.buffered = this.buffered.subarray(cursor.at);
      this.waiting.shift()?.(reply);
    }
  }
}

/** One reply from cursor.at on, which is moved behind it; undefined when it is not all there. */
function decode(bytes: Buffer, cursor: { at: number }): Reply | undefined {
  const lineEnd = bytes.indexOf("\r\n", cursor.at);
  if (lineEnd < 0) return undefined;
  const type = String.fromCharCode(bytes[cursor.at]);
  const line = bytes.toString("utf8", cursor.at + 1, lineEnd);
  cursor.at = lineEnd + 2;
  if (type === "+") return line;
  if (type === "-") return new ErrorReply(line);
  if (type === ":") return Number(line);
  const length = Number(line);
  if (length < 0) return null;
  if (type === "$") {
    const start = cursor.at;
    cursor.at += length + 2;
    return cursor.at > bytes.length ? undefined : bytes.toString("utf8", start, start + length);
  }
  const items: Reply[] = [];
  for (let i = 0; i < length; i++) {
    const item = decode(bytes, cursor);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}

/** A server that runs for this process alone, or one at an address, and a connection to it. */
interface LiveServer {
  readonly client: PlainClient;
  /** As INFO says it: "7.0.15". */
  readonly version: string;
  /** Ends the connection, and the server if it was started here. */
  stop(): Promise<void>;
}

/** Connects to a running server. */
async function connectServer(addr: string): Promise<LiveServer> {
  const colon = addr.lastIndexOf(":");
  const socket = await opened(connect(Number(addr.slice(colon + 1)), addr.slice(0, colon)));
  const client = new PlainClient(socket);
  return { client, version: await versionOf(client), stop: async () => client.close() };
}

/**
 * Starts redis-server on a Unix socket in a new folder, so that no port has to be found; null if not
 * installed.
 */
async function startServer(): Promise<LiveServer | null> {
  const folder = mkdtempSync(join(tmpdir(), "shoal-commands-"));
  const path = join(folder, "redis.sock");
  const args = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no"];
  const child = spawn("redis-server", args, { stdio: "ignore" });
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const socket = await whenReady(path, child);
  if (socket === null) {
    rmSync(folder, { recursive: true, force: true });
    return null;
  }
  const client = new PlainClient(socket);
  const stop = async (): Promise<void> => {
    client.close();
    child.kill("SIGTERM");
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  return { client, version: await versionOf(client), stop };
}

/** Null when the server ends before it listens: not installed (no pid), or refused its arguments. */
async function whenReady(path: string, child: ChildProcess): Promise<Socket | null> {
  const deadline = Date.now() + START_DEADLINE_MS;
  while (child.pid !== undefined && child.exitCode === null && Date.now() < deadline) {
    const socket = await opened(connect({ path })).catch(() => null);
    if (socket !== null) return socket;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill("SIGKILL");
  return null;
}

function opened(socket: Socket): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

async function versionOf(client: PlainClient): Promise<string> {
  const info = await client.ask("INFO", "server");
  return /redis_version:(\S+)/.exec(String(info))?.[1] ?? "unknown";
}

/** The text of the generated file for what this server knows. */
async function renderTable(server: LiveServer): Promise<string> {
  const entries = await server.client.ask("COMMAND");
  const docs = await server.client.ask("COMMAND", "DOCS");
  if (!Array.isArray(entries) || !Array.isArray(docs)) {
    throw new Error(`Cannot read the commands of redis-server ${server.version}: it has no COMMAND DOCS`);
  }
  const commands = entries
    .map((entry) => dataFromInfoReply(entry))
    .filter((data) => data !== null)
    .map((data) => withDocs(data, fieldOf(docs, data.name)))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return [
    "/**",
    " * Generated by tools/generate-commands.ts from a live server's COMMAND and COMMAND DOCS. Do not edit:",
    " * `bun tools/generate-commands.ts` makes it again. What has to be said by hand: command-overrides.ts.",
    " */",
    'import type { CommandData } from "./command-data.ts";',
    "",
    "/** The version of the server that this table was read from. */",
    `export const TABLE_VERSION = ${JSON.stringify(server.version)};`,
    "",
    "/** Every command of that server, sorted by name, subcommands too. */",
    "export const COMMAND_DATA: readonly CommandData[] = [",
    ...commands.flatMap((command) => renderCommand(command, "  ")),
    "];",
    "",
  ].join("\n");
}

function renderCommand(data: CommandData, indent: string): string[] {
  const inner = `${indent}  `;
  const group = `group: ${JSON.stringify(data.group)}`;
  const since = `since: ${JSON.stringify(data.since)}`;
  const deprecated = data.deprecatedSince;
  const specs = data.keySpecs.map((spec) => `${inner}  ${renderKeySpec(spec)},`);
  const subcommands = data.subcommands.flatMap((subcommand) => renderCommand(subcommand, `${inner}  `));
  return [
    `${indent}{`,
    `${inner}name: ${JSON.stringify(data.name)}, arity: ${data.arity}, ${group}, ${since},`,
    ...(deprecated === undefined ? [] : [`${inner}deprecatedSince: ${JSON.stringify(deprecated)},`]),
    `${inner}summary: ${JSON.stringify(data.summary)},`,
    `${inner}flags: ${renderWords(data.flags)},`,
    `${inner}categories: ${renderWords(data.categories)},`,
    `${inner}tips: ${renderWords(data.tips)},`,
    ...renderBlock(`${inner}keySpecs: [`, specs, inner),
    ...renderBlock(`${inner}subcommands: [`, subcommands, inner),
    `${indent}},`,
  ];
}

function renderBlock(head: string, lines: readonly string[], indent: string): string[] {
  return lines.length === 0 ? [`${head}],`] : [head, ...lines, `${indent}],`];
}

function renderWords(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(", ")}]`;
}

function renderKeySpec(spec: KeySpecData): string {
  const [begin, find] = [renderFields(spec.begin), renderFields(spec.find)];
  return `{ flags: ${renderWords(spec.flags)}, begin: ${begin}, find: ${find} }`;
}

function renderFields(fields: object | null): string {
  if (fields === null) return "null";
  const pairs = Object.entries(fields).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  return `{ ${pairs.join(", ")} }`;
}

async function main(args: readonly string[]): Promise<void> {
  const addrAt = args.indexOf("--addr");
  const server = addrAt >= 0 ? await connectServer(args[addrAt + 1]) : await startServer();
  if (server === null) throw new Error("Cannot generate the command table: redis-server does not start");
  try {
    const text = await renderTable(server);
    if (args.includes("--stdout")) process.stdout.write(text);
    else writeFileSync(TABLE_PATH, text);
  } finally {
    await server.stop();
  }
}

if (import.meta.main) await main(process.argv.slice(2));
