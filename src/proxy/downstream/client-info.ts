/**
 * What a session is known by: the part of CLIENT LIST that clients set, and the times. Off the hot path but
 * for two fields.
 */
import type { Command } from "../../commands/command.ts";

export class ClientInfo {
  name = "";
  libraryName = "";
  libraryVersion = "";
  user = "default";
  noEvict = false;
  noTouch = false;
  /** When it connected, in seconds of the worker's tick. */
  readonly connectedTick: number;
  /** When it last sent something. */
  lastTick: number;
  lastCommand: Command | null = null;

  constructor(tick: number) {
    this.connectedTick = tick;
    this.lastTick = tick;
  }

  /** RESET: names are forgotten, times are not. */
  reset(): void {
    this.name = "";
    this.noEvict = false;
    this.noTouch = false;
  }
}
