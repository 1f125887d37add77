/**
 * Tells a webhook and a script what a person wants to know at once: the event as JSON.
 *
 *   event ──▶ queue ──▶ POST notify_webhook ┐ one after the other, each with its time limit;
 *                  └──▶ notify_script < JSON ┘ what fails is logged, once, and not tried again
 *
 * Only what this controller itself does or sees is told; a follower sees servers too, so only the leader
 * speaks. The exception are switches of the leader before (switch-news.ts).
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import type { Env } from "../../env/env.ts";
import type { HttpClient } from "../../env/http.ts";
import type { ScriptRunner } from "../../env/script-runner.ts";
import { type ControllerEvent, EVENT_KINDS, type EventLog, NOTIFIED_KINDS } from "../events.ts";
import type { Service } from "../service.ts";

/** Events that wait to be told; a further one is dropped and logged. */
export const NOTICES_WAITING_MAX = 100;

export interface NotifierOptions {
  readonly cluster: string;
  readonly controller: string;
  /** Empty: none. */
  readonly webhook: string;
  readonly script: string;
  readonly timeoutMs: number;
  readonly leading: () => boolean;
}

export class Notifier implements Service {
  readonly #env: Pick<Env, "log">;
  readonly #http: HttpClient | null;
  readonly #scripts: ScriptRunner | null;
  readonly #events: EventLog;
  readonly #options: NotifierOptions;
  #queue: Promise<void> = Promise.resolve();
  #waiting = 0;
  #running = false;
  #stopListening: () => void = () => {};

  constructor(
    env: Pick<Env, "log">,
    outlets: { readonly http: HttpClient | null; readonly scripts: ScriptRunner | null },
    events: EventLog,
    options: NotifierOptions,
  ) {
    this.#env = env;
    this.#http = outlets.http;
    this.#scripts = outlets.scripts;
    this.#events = events;
    this.#options = options;
  }

  async run(): Promise<void> {
    if (this.#options.webhook === "" && this.#options.script === "") return;
    this.#running = true;
    this.#stopListening = this.#events.onEvent((event) => this.#take(event));
  }

  async drain(): Promise<void> {
    this.#running = false;
    this.#stopListening();
    await this.#queue;
  }

  async stop(): Promise<void> {
    this.#stopListening();
  }

  /** What a leader before us may have died over. */
  retell(event: ControllerEvent): void {
    if (!this.#running) return;
    this.#take({ ...event, fields: { ...event.fields, repeated: true } });
  }

  #take(event: ControllerEvent): void {
    if (!NOTIFIED_KINDS.has(event.kind) || !this.#options.leading()) return;
    // The first look at a server is no news.
    if (event.kind === "server-up" && event.fields["again"] !== true) return;
    if (this.#waiting >= NOTICES_WAITING_MAX) {
      this.#env.log.warn("notice-dropped", { kind: event.kind, waiting: this.#waiting });
      return;
    }
    this.#waiting++;
    this.#queue = this.#queue.then(() => this.#tell(event)).finally(() => this.#waiting--);
  }

  async #tell(event: ControllerEvent): Promise<void> {
    const { cluster, controller, webhook, script, timeoutMs } = this.#options;
    const { id, atMs, kind, fields } = event;
    const text = JSON.stringify({ cluster, controller, id, atMs, kind, meaning: EVENT_KINDS[kind], fields });
    if (webhook !== "") await this.#attempt("webhook", event, () => this.#post(webhook, text, timeoutMs));
    if (script !== "" && this.#scripts !== null) {
      const scripts = this.#scripts;
      await this.#attempt("script", event, () => scripts.run(script, text, timeoutMs));
    }
  }

  async #post(url: string, body: string, timeoutMs: number): Promise<void> {
    if (this.#http === null) return;
    const headers = { "content-type": "application/json" };
    const answer = await this.#http.send({ method: "POST", url, headers, body, timeoutMs });
    if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
  }

  /** The address may hold a secret, so it is not logged. */
  async #attempt(what: string, event: ControllerEvent, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#events.add("notify-failed", { what, event: event.kind, reason: errorTextOf(error) });
    }
  }
}
