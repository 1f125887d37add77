/**
 * Runs checks one at a time, and remembers the last one until the next. In memory only: a check looks and
 * changes nothing that a restart could leave half done (each key is moved by one command).
 */
import { ShoalError } from "../../base/shoal-error.ts";
import type { CheckStatus } from "../../contract/check-routes.ts";
import type { Service } from "../service.ts";
import { type CheckParts, CheckRun } from "./check-run.ts";

export class Checker implements Service {
  readonly #parts: CheckParts;
  #last: { readonly id: string; readonly run: CheckRun; readonly ended: Promise<void> } | null = null;

  constructor(parts: CheckParts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    // Somebody else leads: what we would move home by our map may have gone elsewhere.
    this.#parts.state.onChange(() => {
      if (!this.#parts.state.leading) this.#last?.run.stop();
    });
  }

  async drain(): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#last?.run.stop();
    await this.#last?.ended;
  }

  /** @throws ShoalError NOT_LEADER, NOT_FOUND without a cluster, CONFLICT while one runs */
  start(fix: boolean): CheckStatus {
    const { state, env } = this.#parts;
    if (!state.leading)
      throw new ShoalError("NOT_LEADER", "Cannot check the cluster: another controller leads");
    if (state.map === null) {
      throw new ShoalError("NOT_FOUND", "Cannot check the cluster: there is no cluster yet");
    }
    if (this.#last?.run.running) {
      throw new ShoalError("CONFLICT", `Cannot check the cluster: check ${this.#last.id} is still running`);
    }
    const id = env.random.hex(8);
    const run = new CheckRun(this.#parts, id, fix);
    this.#last = { id, run, ended: run.run(state.map) };
    return run.status();
  }

  /** @throws ShoalError NOT_FOUND */
  status(id: string): CheckStatus {
    if (this.#last?.id !== id) {
      throw new ShoalError(
        "NOT_FOUND",
        `Cannot show check ${id}: this controller does not know it (any more)`,
      );
    }
    return this.#last.run.status();
  }
}
