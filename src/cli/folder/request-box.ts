/**
 * How a command asks the `shoal up` that runs on a folder to do something: a file with the request, a file
 * with the answer.
 *
 *   command   DIR/requests/ID.json ──────▶ supervisor looks every REQUEST_LOOK_MS, one request at a time
 *   command ◀────── DIR/requests/ID.answer.json
 *
 * Both are written beside and renamed, so nobody reads half of one. A request whose sender has gone is
 * dropped when it is found, one that nobody answers ends with the supervisor: whoever waits looks whether it
 * lives. Rejected: a unix socket (its path may be 107 bytes long, a folder's is often longer; and one that a
 * killed supervisor has left behind must be told from a living one).
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { type ErrorCode, ShoalError, errorCodeOf, errorTextOf } from "../../base/shoal-error.ts";
import type { World } from "../command.ts";
import { HintedError, hintFor } from "../hinted-error.ts";
import type { ProcessIdentity } from "../machine.ts";
import { pause } from "../up/poll.ts";
import { type ClusterFolder, readIfThere, writeFileAtomically } from "./cluster-folder.ts";

const REQUEST_LOOK_MS = 150;

/** How long the supervisor may take: it starts servers and waits until they answer. */
const ANSWER_TIMEOUT_MS = 90_000;

/** What a supervisor can be asked to do. */
export type SupervisorRequest =
  | { readonly action: "start-servers"; readonly group: string; readonly count: number }
  | { readonly action: "stop-servers"; readonly addrs: readonly string[] };

/** Addresses of the servers that run now, or run no more. */
export interface SupervisorAnswer {
  readonly addrs: readonly string[];
}

interface RequestFile {
  readonly by: ProcessIdentity;
  readonly request: SupervisorRequest;
}

type AnswerFile =
  | { readonly answer: SupervisorAnswer }
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint: string | null } };

/** @throws ShoalError UNREACHABLE when no `shoal up` runs on the folder, TIMEOUT, or what it failed with */
export async function askSupervisor(
  world: World,
  folder: ClusterFolder,
  request: SupervisorRequest,
): Promise<SupervisorAnswer> {
  const supervisor = world.machine.lockHolder(folder.lockFile);
  if (supervisor === null) throw nobodyThere(folder);
  await mkdir(requestsFolder(folder), { recursive: true, mode: 0o700 });
  const id = randomBytes(8).toString("hex");
  const file = join(requestsFolder(folder), `${id}.json`);
  const answerFile = join(requestsFolder(folder), `${id}.answer.json`);
  const by = world.machine.identifyProcess(process.pid) as ProcessIdentity;
  await writeFileAtomically(file, JSON.stringify({ by, request } satisfies RequestFile));
  try {
    const deadline = performance.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      const text = await readIfThere(answerFile);
      if (text !== null) return answerOf(JSON.parse(text) as AnswerFile);
      if (!world.machine.isRunning(supervisor)) throw nobodyThere(folder);
      if (performance.now() > deadline) {
        const seconds = ANSWER_TIMEOUT_MS / 1000;
        const who = `\`shoal up\` (pid ${supervisor.pid})`;
        const why = `no answer of ${who} within ${seconds} s`;
        throw new ShoalError("TIMEOUT", `Cannot ${request.action} on ${folder.shown}: ${why}`);
      }
      await pause(REQUEST_LOOK_MS / 2);
    }
  } finally {
    await rm(file, { force: true });
    await rm(answerFile, { force: true });
  }
}

/** Answers requests, one after the other, until it is stopped; the stop waits for the one under way. */
export function answerRequests(
  world: World,
  folder: ClusterFolder,
  handle: (request: SupervisorRequest) => Promise<SupervisorAnswer>,
): { stop(): Promise<void> } {
  const stop = new AbortController();
  const work = async (): Promise<void> => {
    // What an earlier supervisor has not answered, nobody waits for any more.
    await rm(requestsFolder(folder), { recursive: true, force: true }).catch(() => {});
    while (!stop.signal.aborted) {
      for (const id of await waitingIds(folder)) {
        if (!stop.signal.aborted) await answerOne(world, folder, id, handle);
      }
      await pause(REQUEST_LOOK_MS);
    }
  };
  const done = work();
  return {
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

async function answerOne(
  world: World,
  folder: ClusterFolder,
  id: string,
  handle: (request: SupervisorRequest) => Promise<SupervisorAnswer>,
): Promise<void> {
  const file = join(requestsFolder(folder), `${id}.json`);
  let answer: AnswerFile;
  try {
    const { by, request } = JSON.parse((await readIfThere(file)) ?? "{}") as Partial<RequestFile>;
    if (by === undefined || request === undefined || !world.machine.isRunning(by)) {
      await rm(file, { force: true });
      return;
    }
    answer = { answer: await handle(request) };
  } catch (error) {
    const code = errorCodeOf(error) ?? "INTERNAL";
    answer = { error: { code, message: errorTextOf(error), hint: hintFor(error) } };
  }
  // In this order: a request that is gone is never taken up again, and one without an answer is.
  await writeFileAtomically(join(requestsFolder(folder), `${id}.answer.json`), JSON.stringify(answer)).catch(
    () => {},
  );
  await rm(file, { force: true }).catch(() => {});
}

async function waitingIds(folder: ClusterFolder): Promise<string[]> {
  const names = await readdir(requestsFolder(folder)).catch(() => [] as string[]);
  return names.filter((name) => /^[0-9a-f]{16}\.json$/.test(name)).map((name) => name.slice(0, 16));
}

function requestsFolder(folder: ClusterFolder): string {
  return join(folder.path, "requests");
}

function answerOf(file: AnswerFile): SupervisorAnswer {
  if ("answer" in file) return file.answer;
  const { code, message, hint } = file.error;
  throw hint === null ? new ShoalError(code, message) : new HintedError(code, message, hint);
}

function nobodyThere(folder: ClusterFolder): HintedError {
  return new HintedError(
    "UNREACHABLE",
    `Cannot ask the \`shoal up\` of ${folder.shown}: none runs`,
    `\`shoal up --dir ${folder.shown} --detach\` starts it; with servers that run elsewhere none is needed.`,
  );
}
