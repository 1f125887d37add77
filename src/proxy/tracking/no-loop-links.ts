/**
 * Whose write it was: what NOLOOP needs to know and a shared connection can't tell.
 *
 *   BCAST sink ─▶ every change, whoever made it            (tracking-hub.ts; always there)
 *   BCAST NOLOOP sessions of one database and protocol ─▶ a lane of their own; its connection to each server
 *     tracks with BCAST NOLOOP REDIRECT ─▶ sink of the link: every change that was not made over this lane
 *
 *   connecting ─▶ agreed: both sinks are heard ─▶ stands: the BCAST sink has said what it had to say until
 *   then, and is not heard any more
 *
 * While a link does not stand its lane's sessions hear of their own writes too, which is harmless. What one
 * session of the lane writes, the server tells none of the others; the hub does
 * (`SessionTracking.commandDone`).
 *
 * Without BCAST it is the same but for the BCAST sink: a connection tells its link's sink what changes of
 * that which was read over it, and nothing else speaks for the lane.
 *
 * Rejected: to count a session's own writes and to pass over as many messages. A write that changes nothing
 * brings no message, and the one passed over would be somebody else's: a stale read.
 */
import { bulk } from "../../resp/reply-writer.ts";
import type { DataPlane } from "../data-plane.ts";
import type { Lane } from "../slots/lane.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { TrackingSink } from "./tracking-sink.ts";

const ERROR = 45;

export interface LinkEvents {
  /** Others than the lane's sessions have changed `keys`; null: all keys may have changed. */
  onInvalidate(keys: readonly string[] | null, lane: Lane): void;
  /** Calls `run` when the BCAST sink of the server at `address` has said what it had to say until now. */
  barrier(address: string, run: () => void): void;
  /** It may have changed whether all is settled that is waited for. */
  onSettled(): void;
}

interface Link {
  readonly lane: Lane;
  readonly upstream: Upstream;
  readonly sink: TrackingSink;
  /** The sink's id that the server has agreed to tell; "" while there is none. */
  agreed: string;
  /** The BCAST sink is not needed any more. */
  alone: boolean;
}

export class NoLoopLinks {
  readonly #plane: DataPlane;
  readonly #events: LinkEvents;
  readonly #links = new Map<Upstream, Link>();

  constructor(plane: DataPlane, events: LinkEvents) {
    this.#plane = plane;
    this.#events = events;
  }

  /** Ends the links of all lanes but `lanes`, and those to servers which their lane has left. */
  keep(lanes: ReadonlySet<Lane>): void {
    for (const [upstream, link] of this.#links)
      if (!lanes.has(link.lane) || !link.lane.groups.includes(upstream)) this.#end(link);
  }

  /** Sees to the links of a lane; those that are there stay. */
  use(lane: Lane): void {
    for (const upstream of lane.groups) if (!this.#links.has(upstream)) this.#make(lane, upstream);
  }

  /** Where the server at `address` tells what others than `lane` change; undefined when it does not yet. */
  sink(lane: Lane, address: string): TrackingSink | undefined {
    const upstream = lane.groups.find(({ target }) => target.address === address);
    return upstream === undefined ? undefined : this.#links.get(upstream)?.sink;
  }

  /** Whether the link of `lane` to the server at `address` stands. */
  stands(lane: Lane, address: string): boolean {
    const upstream = lane.groups.find(({ target }) => target.address === address);
    const link = upstream === undefined ? undefined : this.#links.get(upstream);
    return link !== undefined && isStanding(link);
  }

  /** Whether each link of the lane stands, or is known not to. */
  settled(lane: Lane): boolean {
    return lane.groups.every((upstream) => {
      const link = this.#links.get(upstream);
      if (link === undefined) return false;
      if (lane.kind === "noloop" && link.sink.clientId !== "") return true;
      return isStanding(link) || link.sink.down || !upstream.prepare();
    });
  }

  /** Before a request over `upstream`: makes the link stand again if the connection is a new one. */
  renew(upstream: Upstream): void {
    const link = this.#links.get(upstream);
    if (link !== undefined) this.#agree(link);
  }

  /** Calls `run` when the links of a lane have said what they had to say until now. */
  barrier(lane: Lane, run: () => void): void {
    const sinks = [...this.#links.values()].filter((link) => link.lane === lane).map(({ sink }) => sink);
    let left = sinks.length + 1;
    const passed = (): void => {
      if (--left === 0) run();
    };
    for (const sink of sinks) sink.barrier(passed);
    passed();
  }

  #make(lane: Lane, upstream: Upstream): void {
    const sink = new TrackingSink(this.#plane, upstream.target, false, {
      onReady: (late) => {
        // As in the hub: what was read over the lane without it may have come behind the word to forget it.
        if (late && lane.kind === "noloop") this.#events.onInvalidate(null, lane);
        this.#agree(link);
        this.#events.onSettled();
      },
      onInvalidate: (keys) => {
        if (lane.kind === "noloop" || hasAgreed(link)) this.#events.onInvalidate(keys, lane);
      },
      onLost: () => {
        this.#events.onInvalidate(null, lane);
        this.#events.onSettled();
      },
      // While a link does not stand the BCAST sink speaks for its lane; without BCAST see `announce`.
      onFailed: () => this.#events.onSettled(),
    });
    const link: Link = { lane, upstream, sink, agreed: "", alone: false };
    this.#links.set(upstream, link);
    upstream.prepare();
  }

  #end(link: Link): void {
    const { upstream, sink } = link;
    this.#links.delete(upstream);
    sink.close();
    if (upstream.trackedBy === "" || upstream.trackedBy !== sink.clientId) return;
    upstream.trackedBy = "";
    say(upstream, ["CLIENT", "TRACKING", "OFF"], () => undefined);
  }

  #stand(link: Link, clientId: string): void {
    if (link.agreed === clientId) link.alone = true;
    this.#events.onSettled();
  }

  #agree(link: Link): void {
    const { upstream, sink } = link;
    const { clientId } = sink;
    // Without BCAST the reads of a session see to it: they say so one by one.
    if (link.lane.kind === "noloop") return;
    if (clientId === "" || upstream.trackedBy === clientId || !upstream.prepare()) return;
    link.agreed = "";
    link.alone = false;
    // A connection that tracks for a sink of the past must end that first.
    if (upstream.trackedBy !== "") say(upstream, ["CLIENT", "TRACKING", "OFF"], () => undefined);
    upstream.trackedBy = clientId;
    const words = ["CLIENT", "TRACKING", "ON", "REDIRECT", clientId, "BCAST", "NOLOOP"];
    say(upstream, words, (agreed) => {
      if (agreed) {
        link.agreed = clientId;
        this.#events.barrier(upstream.target.address, () => this.#stand(link, clientId));
        return;
      }
      if (upstream.trackedBy === clientId) upstream.trackedBy = "";
      this.#events.onSettled();
    });
  }
}

function isStanding(link: Link): boolean {
  return link.alone && hasAgreed(link);
}

function hasAgreed({ agreed, sink, upstream }: Link): boolean {
  return agreed !== "" && agreed === sink.clientId && agreed === upstream.trackedBy;
}

function say(upstream: Upstream, words: readonly string[], told: (agreed: boolean) => void): void {
  upstream.begin(
    { onReply: (_request, bytes, start) => told(bytes[start] !== ERROR), onFailure: () => told(false) },
    0,
  );
  upstream.output.appendLatin1(`*${words.length}\r\n${words.map(bulk).join("")}`);
  upstream.flushSoon();
}
