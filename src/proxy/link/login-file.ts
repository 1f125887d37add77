/**
 * Who the proxy is at the servers, on disk beside the map: without it a proxy that starts while no controller
 * answers could not sign in. The disk writes files so that only their owner can read them.
 */
import { errorTextOf } from "../../base/shoal-error.ts";
import { type ServerLogin, serverLoginSchema } from "../../contract/schemas.ts";
import type { Env } from "../../env/env.ts";

/** Grows when an older version could not read the file any more. */
const FORMAT = 1;

export class LoginFile {
  readonly #env: Pick<Env, "disk" | "log">;
  readonly #path: string;
  /** Writes one after another: the last one given is the one that stays. */
  #writing: Promise<void> = Promise.resolve();

  constructor(env: Pick<Env, "disk" | "log">, path: string) {
    this.#env = env;
    this.#path = path;
  }

  /** Null when there is none, or none that can be used; why is in the log, what it holds is not. */
  async read(): Promise<ServerLogin | null> {
    try {
      const text = await this.#env.disk.readText(this.#path);
      if (text === null) return null;
      const { format, login } = JSON.parse(text) as { format?: unknown; login?: unknown };
      if (format !== FORMAT || login === null) return null;
      return serverLoginSchema.parse(login);
    } catch {
      this.#env.log.warn("login-file-unusable", { file: this.#path });
      return null;
    }
  }

  write(login: ServerLogin | null): void {
    const text = `${JSON.stringify({ format: FORMAT, login })}\n`;
    this.#writing = this.#writing.then(() =>
      this.#env.disk.writeTextAtomically(this.#path, text).catch((error) => {
        this.#env.log.error("login-file-not-written", { file: this.#path, reason: errorTextOf(error) });
      }),
    );
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing;
  }
}
