/**
 * Everything long-lived in the controller has this shape, so that starting and stopping are the same few
 * lines for all.
 *
 *   run (in order) … drain (in reverse order) … stop (in reverse order)
 */
export interface Service {
  /** Starts; resolves when it does its work. What it throws ends the start of the whole process. */
  run(): Promise<void>;
  /** Takes nothing new and finishes what is under way. */
  drain(): Promise<void>;
  /** Ends at once; may be called without `drain`, and twice. */
  stop(): Promise<void>;
}

/** Runs the services in order; what depends on others comes later and goes first. */
export class ServiceList implements Service {
  readonly #services: readonly Service[];
  #running: Service[] = [];

  constructor(services: readonly Service[]) {
    this.#services = services;
  }

  async run(): Promise<void> {
    for (const service of this.#services) {
      this.#running.push(service);
      await service.run();
    }
  }

  async drain(): Promise<void> {
    for (const service of [...this.#running].reverse()) await service.drain();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = [];
    for (const service of running.reverse()) await service.stop();
  }
}
