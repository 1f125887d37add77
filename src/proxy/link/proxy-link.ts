/**
 * A proxy's line to its controllers.
 *
 *   start() ──▶ map from disk (or null)
 *   follow: controller i ──stream──▶ line ──▶ newer and valid? ──▶ onMap, map file
 *              │ refused, cut, or silent for STREAM_SILENCE_MS_MAX
 *              └──▶ controller i+1, after a pause that grows, with jitter, once all have been tried
 *   report: each second, and when reportSoon() says so ──▶ the controller that is followed
 *              └── NOT_LEADER ──▶ follow the next one
 *
 * Invariants: onMap sees versions that only grow, each one checked; nothing that a controller does or fails
 * to do stops the proxy from serving by the map that it has; no version is acknowledged before it is on disk,
 * because a proxy that is killed then would serve by the one before, when nobody waits for it any more.
 * Rejected: asking for the map again and again (a
 * change would reach the proxies a period late, and a slot is locked for as long as that).
 */
import { ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import { type ControllerTarget, openMapStream, sendReport } from "../../contract/client.ts";
import { LineSplitter, STREAM_SILENCE_MS_MAX, parseMapStreamLine } from "../../contract/map-stream.ts";
import type { ProxyReport, ServerLogin } from "../../contract/schemas.ts";
import type { Timer } from "../../env/env.ts";
import type { ControlEnv } from "../../env/http.ts";
import { type ClusterMap, supersedes, validateMap } from "../../topology/cluster-map.ts";
import { ControlWatch } from "./control-watch.ts";
import { LoginFile } from "./login-file.ts";
import { MapFile } from "./map-file.ts";

export type LinkEnv = Pick<ControlEnv, "clock" | "timers" | "random" | "disk" | "log" | "http">;

export interface ProxyLinkOptions {
  readonly proxyId: string;
  /** "http://host:port" each; at least one. */
  readonly controllers: readonly string[];
  readonly token: string | null;
  /** Where the last map is kept; empty: it is not kept. */
  readonly mapFile: string;
  /** Where the login at the servers is kept; empty or absent: it is not kept. */
  readonly loginFile?: string;
}

export interface ProxyLinkHooks {
  /** A newer map, checked. */
  onMap(map: ClusterMap): void;
  /** Who the proxy is at the servers; null: what its own configuration says. */
  onLogin?(login: ServerLogin | null): void;
  /** No controller has renewed the proxy's lease in time, or one has again. */
  onControl?(lost: boolean): void;
  /** What to report now; null when there is nothing to say yet. */
  report(): ProxyReport | null;
}

export const REPORT_PERIOD_MS = 1000;
/**
 * Time for the answer to a report; shorter than a lease, so that a frozen controller costs one report, not
 * the lease.
 */
const REPORT_TIMEOUT_MS = 1500;
/** Two reports that were asked for stand at least so far apart. */
const REPORT_GAP_MS = 5;
/** Pauses between two rounds over all controllers. */
const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 2000;

export class ProxyLink {
  readonly #env: LinkEnv;
  readonly #options: ProxyLinkOptions;
  readonly #hooks: ProxyLinkHooks;
  readonly #mapFile: MapFile | null;
  readonly #loginFile: LoginFile | null;
  readonly #control: ControlWatch;
  #map: ClusterMap | null = null;
  #login: ServerLogin | null = null;
  /** Index of the controller that is followed. */
  #current = 0;
  /** Tries in a row that brought no line. */
  #failures = 0;
  #stream: AbortController | null = null;
  #pause: Timer | null = null;
  #reportTimer: Timer | null = null;
  #soonTimer: Timer | null = null;
  #reporting = false;
  /** Something worth a report has happened while one was under way. */
  #reportAgain = false;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #stopped = false;
  /** The last thing that was said about a bad line, so that it is said once. */
  #lastComplaint = "";

  constructor(env: LinkEnv, options: ProxyLinkOptions, hooks: ProxyLinkHooks) {
    this.#env = env;
    this.#options = options;
    this.#hooks = hooks;
    const { mapFile, loginFile = "" } = options;
    this.#mapFile = mapFile === "" ? null : new MapFile(env, mapFile, () => this.reportSoon());
    this.#loginFile = loginFile === "" ? null : new LoginFile(env, loginFile);
    this.#control = new ControlWatch(env, (lost) => hooks.onControl?.(lost));
    if (options.controllers.length === 0) {
      throw new ShoalError("CONFIG", `Cannot link proxy ${options.proxyId}: no controllers are given`);
    }
  }

  /** The newest map that is known. */
  get map(): ClusterMap | null {
    return this.#map;
  }

  /** The newest login that is known. */
  get login(): ServerLogin | null {
    return this.#login;
  }

  /**
   * Starts to follow and to report; what comes back is the map from disk, if any. It is not given to `onMap`.
   */
  async start(): Promise<ClusterMap | null> {
    this.#login = (await this.#loginFile?.read()) ?? null;
    this.#map = (await this.#mapFile?.read()) ?? null;
    const fromDisk = this.#map;
    if (this.#stopped) return fromDisk;
    void this.#follow();
    this.#reportTimer = this.#env.timers.every(REPORT_PERIOD_MS, () => void this.#report());
    void this.#report();
    return fromDisk;
  }

  /** Reports at once, or nearly so: an acknowledgement should not wait for the second. */
  reportSoon(): void {
    if (this.#stopped || this.#soonTimer !== null) return;
    const waitMs = this.#reportedMs + REPORT_GAP_MS - this.#env.clock.nowMs();
    this.#soonTimer = this.#env.timers.after(Math.max(0, Math.min(waitMs, REPORT_GAP_MS)), () => {
      this.#soonTimer = null;
      void this.#report();
    });
  }

  /** Reports now and waits for it, whatever comes of it; for the last word of a proxy that drains. */
  async reportNow(): Promise<void> {
    await this.#sendReport();
  }

  /** Ends the stream and the reports; resolves when the map file is written. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#reportTimer?.cancel();
    this.#soonTimer?.cancel();
    this.#pause?.cancel();
    this.#control.stop();
    this.#stream?.abort();
    await this.#mapFile?.settled();
    await this.#loginFile?.settled();
  }

  get #target(): ControllerTarget {
    const url = this.#options.controllers[this.#current];
    return { url, token: this.#options.token, timeoutMs: REPORT_TIMEOUT_MS };
  }

  /** One try at one controller; the next one follows from it, here or after a pause. */
  async #follow(): Promise<void> {
    const { url } = this.#target;
    try {
      await this.#readStream();
    } catch (error) {
      this.#sayLost(url, errorTextOf(error));
    }
    if (this.#stopped) return;
    this.#failures++;
    this.#current = (this.#current + 1) % this.#options.controllers.length;
    this.#pause = this.#env.timers.after(this.#pauseMs(), () => void this.#follow());
  }

  /** Loud once per controller, quiet while it stays away: a night alone must not fill the disk. */
  #sayLost(url: string, reason: string): void {
    if (this.#stopped) return;
    const loud = this.#failures < this.#options.controllers.length;
    this.#env.log[loud ? "warn" : "debug"]("controller-lost", { controller: url, reason });
  }

  /** The other controllers are tried at once; between two rounds over all of them stands a growing pause. */
  #pauseMs(): number {
    const rounds = Math.floor(this.#failures / this.#options.controllers.length);
    if (this.#failures % this.#options.controllers.length !== 0) return 0;
    const ceiling = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(rounds - 1, 10));
    return ceiling / 2 + (ceiling / 2) * this.#env.random.fraction();
  }

  async #readStream(): Promise<void> {
    const abort = new AbortController();
    this.#stream = abort;
    const watchdog = new Watchdog(this.#env, STREAM_SILENCE_MS_MAX, () => abort.abort());
    try {
      const body = await openMapStream(this.#env.http, this.#target, this.#options.proxyId, abort.signal);
      const reader = body.getReader();
      const lines = new LineSplitter((line) => {
        watchdog.feed();
        this.#failures = 0;
        this.#takeLine(line);
      });
      for (;;) {
        const { done, value } = await reader.read().catch((error) => {
          throw new ShoalError("UNREACHABLE", "the connection was lost", error);
        });
        if (done) throw new ShoalError("UNREACHABLE", "the controller ended the map stream");
        lines.push(value);
      }
    } catch (error) {
      throw watchdog.barked
        ? new ShoalError("TIMEOUT", `no line for ${STREAM_SILENCE_MS_MAX} ms`, error)
        : error;
    } finally {
      watchdog.stop();
      // Ends the body too, wherever we stopped reading it.
      abort.abort();
    }
  }

  #takeLine(text: string): void {
    const line = parseMapStreamLine(text);
    if (line.type === "map") this.#takeMap(line.map);
    else if (line.type === "login") this.#takeLogin(line.login);
  }

  /**
   * On disk before it is used or not, it makes no difference: one that is too old is refused by the servers.
   */
  #takeLogin(login: ServerLogin | null): void {
    if (login?.sinceVersion === this.#login?.sinceVersion && login?.password === this.#login?.password)
      return;
    this.#login = login;
    this.#loginFile?.write(login);
    this.#hooks.onLogin?.(login);
  }

  /** An unusable map is refused and complained about; the one in force stays. */
  #takeMap(map: ClusterMap): void {
    try {
      if (!supersedes(map, this.#map)) {
        this.#complainUnlessSame(map);
        return;
      }
      validateMap(map);
    } catch (error) {
      this.#complain(errorTextOf(error));
      return;
    }
    this.#map = map;
    this.#hooks.onMap(map);
    this.#mapFile?.write(map);
    this.reportSoon();
  }

  /** After each reconnect the map in force comes again; anything else that is not newer is worth a line. */
  #complainUnlessSame(map: ClusterMap): void {
    const current = this.#map as ClusterMap;
    if (map.cluster !== current.cluster) {
      this.#complain(`it is cluster ${map.cluster}'s and we serve cluster ${current.cluster}`);
    } else if (map.version !== current.version || map.term !== current.term) {
      const ours = `we serve by version ${current.version}, term ${current.term}`;
      this.#complain(`version ${map.version}, term ${map.term} is older: ${ours} (${this.#options.mapFile})`);
    }
  }

  #complain(reason: string): void {
    if (reason === this.#lastComplaint) return;
    this.#lastComplaint = reason;
    this.#env.log.error("map-refused", { controller: this.#target.url, reason });
  }

  async #report(): Promise<void> {
    this.#reportAgain = this.#reporting;
    if (this.#reporting || this.#stopped) return;
    this.#reporting = true;
    try {
      await this.#sendReport();
    } finally {
      this.#reporting = false;
      if (this.#reportAgain) this.reportSoon();
    }
  }

  async #sendReport(): Promise<void> {
    const report = this.#hooks.report();
    if (report === null) return;
    const sentMs = this.#env.clock.nowMs();
    this.#reportedMs = sentMs;
    try {
      const { proxyId } = this.#options;
      const whole = { ...report, map: this.#durable(report.map) };
      const { leaseMs } = await sendReport(this.#env.http, this.#target, proxyId, whole);
      this.#control.renewed(sentMs, leaseMs);
    } catch (error) {
      this.#env.log.debug("report-failed", { controller: this.#target.url, reason: errorTextOf(error) });
      // Whoever does not lead cannot renew our lease: find the one who does.
      if (errorCodeOf(error) === "NOT_LEADER" && this.#options.controllers.length > 1) this.#stream?.abort();
    }
  }

  /** `acked`, or what the disk holds when that is older. */
  #durable(acked: ProxyReport["map"]): ProxyReport["map"] {
    if (this.#mapFile === null || acked === null) return acked;
    const { held } = this.#mapFile;
    if (held === null) return null;
    return held.version < acked.version ? held : acked;
  }
}

/** Calls `bark` when it has not been fed for `silenceMs`. */
class Watchdog {
  barked = false;
  readonly #env: Pick<LinkEnv, "clock" | "timers">;
  readonly #timer: Timer;
  #fedMs: number;

  constructor(env: Pick<LinkEnv, "clock" | "timers">, silenceMs: number, bark: () => void) {
    this.#env = env;
    this.#fedMs = env.clock.nowMs();
    this.#timer = env.timers.every(silenceMs / 5, () => {
      if (this.barked || env.clock.nowMs() - this.#fedMs < silenceMs) return;
      this.barked = true;
      bark();
    });
  }

  feed(): void {
    this.#fedMs = this.#env.clock.nowMs();
  }

  stop(): void {
    this.#timer.cancel();
  }
}
