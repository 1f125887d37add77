/** The last map, on disk: lets a proxy start and serve with every controller down. */
import { errorTextOf } from "../../base/shoal-error.ts";
import { clusterMapSchema } from "../../contract/schemas.ts";
import type { Env } from "../../env/env.ts";
import { type ClusterMap, validateMap } from "../../topology/cluster-map.ts";

/** Grows when an older version could not read the file any more. */
const FORMAT = 1;

export class MapFile {
  readonly path: string;
  /** What the file holds, as far as is known: the map that a restart would begin with. */
  held: { readonly version: number; readonly term: number } | null = null;
  readonly #env: Pick<Env, "disk" | "log">;
  #wanted: ClusterMap | null = null;
  #writing: Promise<void> | null = null;

  readonly #onWritten: () => void;

  constructor(env: Pick<Env, "disk" | "log">, path: string, onWritten: () => void = () => {}) {
    this.#env = env;
    this.path = path;
    this.#onWritten = onWritten;
  }

  /**
   * Null when there is none that can be used; why is in the log. A proxy without one waits for a controller.
   */
  async read(): Promise<ClusterMap | null> {
    try {
      const text = await this.#env.disk.readText(this.path);
      if (text === null) return null;
      const { format, map: stored } = JSON.parse(text) as { format?: unknown; map?: unknown };
      if (format !== FORMAT) throw new Error(`format ${String(format)}, this version reads format ${FORMAT}`);
      const map = clusterMapSchema.parse(stored);
      validateMap(map);
      this.held = { version: map.version, term: map.term };
      return map;
    } catch (error) {
      this.#env.log.warn("map-file-unusable", { file: this.path, reason: errorTextOf(error) });
      return null;
    }
  }

  /** Writes in the background, one at a time; of several that wait, only the newest is written. */
  write(map: ClusterMap): void {
    this.#wanted = map;
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = null));
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#wanted !== null) {
      const map = this.#wanted;
      this.#wanted = null;
      try {
        await this.#env.disk.writeTextAtomically(this.path, `${JSON.stringify({ format: FORMAT, map })}\n`);
        this.held = { version: map.version, term: map.term };
        this.#onWritten();
      } catch (error) {
        // Serving goes on; only a restart without any controller would miss the file.
        this.#env.log.error("map-file-not-written", { file: this.path, reason: errorTextOf(error) });
      }
    }
  }
}
