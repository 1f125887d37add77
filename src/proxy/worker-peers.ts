/** The other workers, reached through the master; and what this one answers to them. */
import type { DataPlane } from "./data-plane.ts";
import { killClients, type KillFilter } from "./dispatch/client-kill.ts";
import { clientLine } from "./dispatch/client-line.ts";
import type { PeerQuestion, Peers } from "./peers.ts";

export class MasterPeers implements Peers {
  readonly any: boolean;
  readonly #send: (id: number, question: PeerQuestion) => void;
  readonly #waiting = new Map<number, (answers: readonly unknown[]) => void>();
  #nextId = 1;

  /** `send` hands a question to the master, which comes back with `answered` within its bound. */
  constructor(any: boolean, send: (id: number, question: PeerQuestion) => void) {
    this.any = any;
    this.#send = send;
  }

  ask(question: PeerQuestion): Promise<readonly unknown[]> {
    const id = this.#nextId++;
    this.#send(id, question);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  answered(id: number, answers: readonly unknown[]): void {
    this.#waiting.get(id)?.(answers);
    this.#waiting.delete(id);
  }
}

/** This worker's answer to another one's question. */
export function answerPeer(plane: DataPlane, question: unknown): unknown {
  const asked = question as PeerQuestion;
  if (asked.kind === "client-kill") return killClients(plane, asked.filter as unknown as KillFilter, null);
  return [...plane.clients.all()].map((session) => `${clientLine(plane, session)}\n`).join("");
}
