/**
 * A transaction: MULTI … EXEC, queued here, run on one server in one go.
 *
 *   MULTI ─▶ +OK      a b c ─▶ +QUEUED each, their bytes kept      EXEC ─▶ MULTI a b c EXEC, contiguously,
 *   to one server
 *                        │ wrong, or a key of another slot                    └─▶ the array of replies is
 *                        the answer └─▶ the error at once; EXEC then answers EXECABORT
 *
 * Nothing of it is on the server before EXEC, so nothing has to be undone when the client goes away. Without
 * WATCH it goes over the shared connection: MULTI to EXEC stand together in the output queue, so no other
 * session's command can get in between. With WATCH, or a SELECT inside, it goes over the connection that the
 * session has for itself.
 *
 * Commands that the proxy answers itself (CLIENT …) run when EXEC's reply is here, and their answers are put
 * in their places.
 */
import type { Block } from "../../base/block-pool.ts";
import { type Bytes, readLatin1 } from "../../base/bytes.ts";
import type { Command } from "../../commands/command.ts";
import { lookupCommand, lookupSubcommand } from "../../commands/command-lookup.ts";
import { RequestScanner } from "../../resp/request-scanner.ts";
import { ReplyScanner } from "../../resp/reply-scanner.ts";
import { errorReply } from "../../resp/reply-writer.ts";
import { SLACK_BYTES } from "../../env/net.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Session } from "../downstream/session.ts";
import { RequestInput } from "../downstream/request-input.ts";
import type { ReplyOwner, Request } from "../request.ts";
import { isPublish, publishAfter } from "../pubsub/in-transaction.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { Call } from "./call.ts";
import { FleetPart } from "./fleet-transaction.ts";

const ARRAY = 42;
/** "*-1": RESP2's nil for EXEC. */
const MINUS = 45;

/** Runs a command of the proxy itself and gives its answer as text. */
export type RunLocally = (call: Call) => string;

interface LocalItem {
  readonly command: Command;
  /** Its place among the replies. */
  readonly index: number;
  readonly bytes: Bytes;
  /** Set when the answer is there before its turn. */
  answer: string | null;
}

export class Transaction {
  /** A queued command was wrong: EXEC will say so. */
  failed = false;
  /** The slot of all keys so far; -1 while there is none. */
  slot = -1;
  /** Something queued may change data. */
  mayWrite = false;
  /** Database that a SELECT inside has chosen; -1 when there is none. */
  database = -1;
  /** Commands queued. */
  count = 0;
  /** What the other groups run as well. */
  readonly fleet = new FleetPart();
  /** Begun while one group had all slots, so that its keys may be in any of them. */
  readonly ofOneGroup: boolean;
  readonly #plane: DataPlane;
  /** MULTI in the client's own words, which MONITOR shows. */
  readonly #opening: string;
  readonly #input = new RequestInput();
  readonly #local: LocalItem[] = [];
  /** Answers, by place, that are not the home group's. */
  #differing: ReadonlyMap<number, string> = new Map();
  /** Commands that are in no table, by where in the queue they stand. */
  readonly #learned = new Map<number, Command>();

  /** `opening`: the MULTI that begins it. */
  constructor(plane: DataPlane, opening: Call) {
    this.#plane = plane;
    this.ofOneGroup = opening.session.lane.groups.length === 1;
    this.#opening = readLatin1(opening.bytes, opening.start, opening.end);
  }

  /** Bytes that wait for EXEC. */
  get length(): number {
    return this.#input.length;
  }

  /** Queues a command for the server. */
  queue(call: Call): void {
    const { bytes, request } = call;
    if (lookupCommand(bytes, request.argStart[0], request.argEnd[0]) === null)
      this.#learned.set(this.#input.length, call.command);
    this.#input.append(this.#plane.env.net.blocks, call.bytes, call.start, call.end, null);
    this.count++;
  }

  /** Queues a command that all groups run. */
  queueFleet(call: Call): void {
    this.fleet.add(call, this.count);
    this.queue(call);
  }

  /** Queues a command in other words than the client's. */
  queueWords(text: string): void {
    const block = this.#plane.env.net.blocks.take(text.length);
    for (let i = 0; i < text.length; i++) block.bytes[i] = text.charCodeAt(i);
    this.#input.append(this.#plane.env.net.blocks, block.bytes, 0, text.length, null);
    this.#plane.env.net.blocks.give(block);
    this.count++;
  }

  /** What is queued for the server, in order. Each call is valid until the next one. */
  *calls(session: Session): Generator<Call> {
    const { block, start, end } = this.#input;
    if (block === null) return;
    const request = new RequestScanner();
    request.bytes = block.bytes;
    for (let at = start; at < end;) {
      const next = request.scan(block.bytes, at, end);
      const outer = lookupCommand(block.bytes, request.argStart[0], request.argEnd[0]);
      const inner =
        outer === null || outer.subcommands === null || request.argc < 2
          ? null
          : lookupSubcommand(outer, block.bytes, request.argStart[1], request.argEnd[1]);
      const command = inner ?? outer ?? this.#learned.get(at - start);
      if (command !== undefined)
        yield { session, command, request, bytes: block.bytes, start: at, end: next };
      at = next;
    }
  }

  /** Queues a command that the proxy answers. */
  queueLocal(call: Call): void {
    const { blocks } = this.#plane.env.net;
    const bytes = blocks.take(call.end - call.start + 64).bytes;
    call.bytes.copy(bytes, 0, call.start, call.end);
    this.#local.push({ command: call.command, index: this.count++, bytes, answer: null });
  }

  /** Forgets what is queued. */
  drop(): void {
    this.#input.drop(this.#plane.env.net.blocks);
    this.#local.length = 0;
  }

  /**
   * Sends it all over `upstream`, with `call`, the EXEC, at its end; the answer goes to the session's next
   * place. `done` is called when the server has answered or will not.
   */
  run(call: Call, upstream: Upstream, runLocally: RunLocally, done: (executed: boolean) => void): void {
    const { session } = call;
    const remote = this.count - this.#local.length;
    const place = session.reserve();
    const owner: ReplyOwner = {
      writes: this.mayWrite,
      onReply: (request, bytes, start, end) => {
        if (request.part < remote + 1) return;
        const { group } = upstream.target;
        this.#executed(group, session, place, bytes, start, end, runLocally);
        done(bytes[start] === ARRAY && bytes[start + 1] !== MINUS);
      },
      onFailure: (request, text) => {
        if (request.part < remote + 1) return;
        session.complete(place, errorReply(text));
        done(false);
      },
    };
    session.tracking?.announceTransaction(upstream);
    for (let i = 0; i < remote + 2; i++) upstream.begin(owner, i);
    upstream.output.appendLatin1(this.#opening);
    const block = this.#input.block;
    if (block !== null) upstream.output.append(block.bytes, this.#input.start, this.#input.end);
    upstream.output.append(call.bytes, call.start, call.end);
    upstream.flushSoon();
    this.#input.drop(this.#plane.env.net.blocks);
  }

  /** EXEC is answered by its home group: the others follow if it has run. */
  #executed(
    home: string,
    session: Session,
    place: Request,
    bytes: Bytes,
    start: number,
    end: number,
    runLocally: RunLocally,
  ): void {
    const alone = this.fleet.empty || session.lane.groups.length === 1;
    if (alone || bytes[start] !== ARRAY || bytes[start + 1] === MINUS) {
      this.#answer(session, place, bytes, start, end, runLocally);
      return;
    }
    const { blocks } = this.#plane.env.net;
    const others = session.lane.groups.filter(({ target }) => target.group !== home);
    const copy = blocks.take(end - start + SLACK_BYTES);
    bytes.copy(copy.bytes, 0, start, end);
    this.fleet.run(others, home, (answers) => {
      this.#differing = answers;
      this.#answer(session, place, copy.bytes, 0, end - start, runLocally);
      blocks.give(copy);
    });
  }

  #answer(
    session: Session,
    place: Request,
    bytes: Bytes,
    start: number,
    end: number,
    runLocally: RunLocally,
  ): void {
    const executed = bytes[start] === ARRAY && bytes[start + 1] !== MINUS;
    if (!executed || (this.#local.length === 0 && this.#differing.size === 0)) {
      const block: Block = this.#plane.env.net.blocks.take(end - start);
      bytes.copy(block.bytes, 0, start, end);
      session.completeWithBlock(place, block, end - start);
      return;
    }
    const published = this.#local.filter((item) => isPublish(item.command.name));
    const copy = this.#plane.env.net.blocks.take(end - start + SLACK_BYTES);
    bytes.copy(copy.bytes, 0, start, end);
    const calls = published.map((item) => callOf(session, item));
    publishAfter(this.#plane, calls, (answers) => {
      for (const [i, item] of published.entries()) item.answer = answers[i];
      session.complete(place, this.#withLocal(session, copy.bytes, 0, end - start, runLocally));
      this.#plane.env.net.blocks.give(copy);
    });
  }

  /** Whether something is published when EXEC has been answered: on a channel of another server. */
  get publishesAfter(): boolean {
    return this.#local.some((item) => isPublish(item.command.name));
  }

  /** The server's array with the proxy's answers in their places. */
  #withLocal(session: Session, bytes: Bytes, start: number, end: number, runLocally: RunLocally): string {
    const scanner = new ReplyScanner();
    let at = bytes.indexOf(10, start) + 1;
    let text = `*${this.count}\r\n`;
    const local = [...this.#local];
    for (let i = 0; i < this.count; i++) {
      if (local[0]?.index === i) {
        const item = local.shift() as LocalItem;
        text += item.answer ?? runLocally(callOf(session, item));
        continue;
      }
      const next = scanner.scan(bytes, at, end);
      text += this.#differing.get(i) ?? readLatin1(bytes, at, next);
      at = next;
    }
    return text;
  }

  /** The answers when nothing is for a server. */
  answerLocally(session: Session, runLocally: RunLocally): string {
    const answers = this.#local.map((item) => runLocally(callOf(session, item)));
    return `*${answers.length}\r\n${answers.join("")}`;
  }

  /** Whether no server is concerned. */
  get onlyLocal(): boolean {
    return this.count === this.#local.length && !this.publishesAfter;
  }
}

function callOf(session: Session, item: LocalItem): Call {
  const request = new RequestScanner();
  const end = request.scan(item.bytes, 0, item.bytes.length);
  request.bytes = item.bytes;
  return { session, command: item.command, request, bytes: item.bytes, start: 0, end };
}
