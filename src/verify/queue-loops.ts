/** Drives one {@link QueueModel}: a session that pushes, and one that waits in BLPOP for what comes. */
import type { Outcome, Session } from "./driver.ts";
import type { QueueModel } from "./queue-model.ts";
import { type RunState, pause } from "./worker.ts";

/** BLPOP's own time, in seconds: short, so that the end of a run is not waited for. */
const POP_SECONDS = "1";
const ERROR_PAUSE_MS = 20;
const PUSH_PAUSE_MS_MAX = 10;
/** No more is pushed while so many wait. */
const WAITING_MAX = 1000;

/** Pushes until the run stops. */
export async function pushLoop(run: RunState, session: Session, queue: QueueModel): Promise<void> {
  while (!run.stopping) {
    if (queue.waiting < WAITING_MAX) await push(run, session, queue);
    await pause(run.env.timers, run.random.int(PUSH_PAUSE_MS_MAX));
  }
  queue.complete = true;
}

/** Pops until nothing more is pushed and a pop has come back empty. */
export async function popLoop(run: RunState, session: Session, queue: QueueModel): Promise<void> {
  const { tally, env } = run;
  for (;;) {
    // Asked before the look: what is pushed after it may not be in it.
    const { complete } = queue;
    const outcome = await session.run([["BLPOP", queue.key, POP_SECONDS]]);
    tally.reads++;
    if (outcome.kind === "reply" && Array.isArray(outcome.reply)) {
      queue.popped(String(outcome.reply[1])).forEach((finding) => tally.find(finding));
      continue;
    }
    if (complete && (outcome.kind === "reply" || env.clock.nowMs() >= run.giveUpMs)) return;
    if (outcome.kind === "reply") continue;
    tally.errorText(outcome.text);
    tally.readErrors++;
    if (outcome.kind === "doubt") queue.popDoubtful();
    await pause(env.timers, ERROR_PAUSE_MS);
  }
}

async function push(run: RunState, session: Session, queue: QueueModel): Promise<void> {
  const { tally } = run;
  const element = queue.next();
  tally.writes++;
  const outcome: Outcome = await session.run([["RPUSH", queue.key, element]]);
  if (outcome.kind === "reply") {
    tally.acknowledged++;
    queue.pushed(element);
    return;
  }
  tally.errorText(outcome.text);
  if (outcome.kind === "doubt") {
    tally.inDoubt++;
    queue.pushDoubtful(element);
  } else {
    tally.refused++;
  }
  await pause(run.env.timers, ERROR_PAUSE_MS);
}
