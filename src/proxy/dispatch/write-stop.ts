/**
 * `on_control_loss: stop-writes`: a proxy that has reached no controller for longer than its lease takes no
 * writes. Somebody may have made another server the primary meanwhile, and what is written to the old one
 * would vanish when it rejoins (loss-modes L2).
 *
 * Off the common path: while it is in force no session is plain, so every request comes by the dispatcher.
 */
import type { DataPlane } from "../data-plane.ts";
import type { Call } from "./call.ts";
import { mayWrite } from "./pause.ts";

export const WRITES_STOPPED =
  "ERR Writes are stopped: this proxy has reached no controller for longer than its lease " +
  "(on_control_loss is stop-writes)";

export class WriteStop {
  /** Whether writes are refused now. */
  active = false;
  readonly #plane: DataPlane;
  #controlLost = false;

  constructor(plane: DataPlane) {
    this.#plane = plane;
  }

  /** The master has lost, or found again, the controllers. */
  setControlLost(lost: boolean): void {
    this.#controlLost = lost;
    this.update();
  }

  /** To be called when a map is in force: it has the option. */
  update(): void {
    const wanted = this.#plane.slots.map?.options["on_control_loss"] === "stop-writes";
    const active = this.#controlLost && wanted;
    if (active === this.active) return;
    this.active = active;
    this.#plane.env.log.warn(active ? "writes stopped" : "writes taken again", {});
    for (const session of this.#plane.clients.all()) session.updatePlain();
  }

  refuses(call: Call): boolean {
    return mayWrite(this.#plane, call);
  }
}
