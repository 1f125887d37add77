/** `shoal moves`: what moves now; pause, resume, cancel, limit. */
import type { ControllerTarget } from "../../contract/client.ts";
import { cancelMoves, fetchMoves, limitMoves, pauseMoves, resumeMoves } from "../../contract/move-client.ts";
import type { Moves } from "../../contract/move-routes.ts";
import { countSlots, formatSlotSpans } from "../../topology/slot-ranges.ts";
import {
  type CommandRow,
  CONTROL_OPTION,
  DIR_OPTION,
  type OptionRow,
  type OptionValues,
  type World,
} from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { formatBytes, formatTable } from "../print-table.ts";
import { formatDuration } from "../progress.ts";
import { controllerTarget } from "../target.ts";
import { followMoves } from "./follow-moves.ts";

/** Ranges of one move that its line names. */
const RANGES_SHOWN_MAX = 4;

/** `--json` prints what GET /api/v1/moves answers; with --watch once, when nothing moves any more. */
export const movesCommand: CommandRow = {
  name: "moves",
  argument: "",
  summary: "Show the slots that are moving now; pause, resume, cancel or limit them",
  examples: [
    ["shoal moves --watch", "until they are over, with rate and time left"],
    ["shoal moves limit --keys/s 5000", "no faster than that, all moves together"],
  ],
  options: [
    { flags: "--watch", type: "flag", doc: "stay until no slot moves any more" },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options) {
    const target = await controllerTarget(world, options);
    const moves = await fetchMoves(world.http, target);
    if (!options.watch || !options.json) printMoves(world, options, moves);
    if (!options.watch) return 0;
    const result = await followMoves(world, target, options, { id: null, spans: [], keysEstimated: 0 });
    if (options.json) world.print(JSON.stringify(await fetchMoves(world.http, target), null, 2));
    else if (moves.moves.length > 0)
      world.print(`No slot moves any more, after ${result.seconds.toFixed(1)} s.`);
    return 0;
  },
};

/** Outlives the controller: a pause is stored with the moves. */
export const movesPauseCommand = actionRow({
  name: "moves pause",
  argument: "",
  summary: "Move no further keys for now; slots that are moving are served as before",
  examples: [["shoal moves pause", "until `shoal moves resume`"]],
  options: [],
  act: (world, target) => pauseMoves(world.http, target),
  text: () => "Paused. `shoal moves resume` goes on.",
});

/** Nothing happens when nothing is paused. */
export const movesResumeCommand = actionRow({
  name: "moves resume",
  argument: "",
  summary: "Go on after a pause",
  examples: [["shoal moves resume", "ends `shoal moves pause`"]],
  options: [],
  act: (world, target) => resumeMoves(world.http, target),
  text: () => "The moves go on.",
});

/** A cancel is a move back: while keys return, clients are served as during any move. */
export const movesCancelCommand = actionRow({
  name: "moves cancel",
  argument: "[id]",
  summary: "Take moves back: keys that have moved return, the rest stays",
  examples: [
    ["shoal moves cancel", "all of them"],
    ["shoal moves cancel m3", "those of one plan, as `shoal moves` names it"],
  ],
  options: [],
  act: (world, target, _, [id]) => cancelMoves(world.http, target, id ?? null),
  text: (moves) => {
    if (moves.moves.length === 0) return "Cancelled: nothing moves any more.";
    return `Cancelled. ${moves.moves.length} moves are left or go back; \`shoal moves --watch\` shows them.`;
  },
});

/**
 * The spelling of the options is the one in the help; those without a slash are for shells and
 * scripts.
 */
export const movesLimitCommand = actionRow({
  name: "moves limit",
  argument: "",
  summary: "Bound the speed of all moves together",
  examples: [
    ["shoal moves limit --keys/s 5000 --bytes/s 10000000", "whichever is reached first"],
    ["shoal moves limit --keys/s 0", "no bound of keys any more"],
  ],
  options: [
    limitOption("--keys/s <number>", "keys per second; 0: no limit"),
    limitOption("--bytes/s <number>", "bytes per second; 0: no limit"),
    { ...limitOption("--keys-per-second <number>", "the same as --keys/s"), hidden: true },
    { ...limitOption("--bytes-per-second <number>", "the same as --bytes/s"), hidden: true },
  ],
  act: (world, target, options) => {
    const keys = options["keys/s"] ?? options.keysPerSecond;
    const bytes = options["bytes/s"] ?? options.bytesPerSecond;
    if (keys === undefined && bytes === undefined) {
      throw new HintedError(
        "INVALID_ARGUMENT",
        "Cannot limit the moves: neither --keys/s nor --bytes/s is given",
        "`shoal moves limit --keys/s 5000` allows so many, `--keys/s 0` takes the limit away.",
      );
    }
    return limitMoves(world.http, target, {
      ...(keys === undefined ? {} : { keysPerSecond: Number(keys) || null }),
      ...(bytes === undefined ? {} : { bytesPerSecond: Number(bytes) || null }),
    });
  },
  text: (moves) => `Limits: ${limitsText(moves)}.`,
});

/** A line per move; what is refused below it. */
export function formatMoves(moves: Moves): string {
  const rows = moves.moves.map((move) => {
    const shown = formatSlotSpans(move.ranges.slice(0, RANGES_SHOWN_MAX));
    const more = move.ranges.length - RANGES_SHOWN_MAX;
    const left = move.secondsLeft === null ? "-" : formatDuration(move.secondsLeft);
    return [
      move.id,
      `${move.source} → ${move.target}`,
      move.back ? `${move.phase}, going back` : move.phase,
      `${countSlots(move.ranges)}`,
      more > 0 ? `${shown} … ${more} more` : shown,
      `${move.keysMoved.toLocaleString("en")} of ${move.keysTotal.toLocaleString("en")}`,
      formatBytes(move.bytesMoved),
      move.keysPerSecond === 0 ? "-" : `${move.keysPerSecond.toLocaleString("en")}/s`,
      left,
    ];
  });
  const head = ["MOVE", "WAY", "PHASE", "COUNT", "SLOTS", "KEYS", "BYTES", "RATE", "LEFT"];
  const parts = [rows.length === 0 ? "No slot moves now." : formatTable([head, ...rows])];
  const problems = moves.moves.flatMap((move) =>
    move.problem === null ? [] : [`${move.id}: ${move.problem}`],
  );
  if (problems.length > 0) parts.push(["PROBLEMS", ...problems].join("\n"));
  if (moves.refused.length > 0) {
    const refused = moves.refused.map((key) => {
      return [
        String(key.slot),
        key.source,
        key.target,
        formatBytes(key.bytes),
        `${key.blocksMs} ms`,
        key.key,
      ];
    });
    const table = formatTable([["SLOT", "IN", "NOT MOVED TO", "SIZE", "WOULD BLOCK", "KEY"], ...refused]);
    parts.push(`${table}\n\`shoal slot move SLOT --to GROUP --force\` moves such a slot all the same.`);
  }
  if (moves.paused) parts.push("Paused. `shoal moves resume` goes on.");
  const { keysPerSecond, bytesPerSecond } = moves.limits;
  if (keysPerSecond !== null || bytesPerSecond !== null) parts.push(`Limits: ${limitsText(moves)}.`);
  return parts.join("\n\n");
}

/** The same for people and for scripts. */
function printMoves(world: World, options: OptionValues, moves: Moves): void {
  world.print(options.json ? JSON.stringify(moves, null, 2) : formatMoves(moves));
}

/** "5000 keys/s, no limit of bytes". */
function limitsText({ limits }: Moves): string {
  const keys = limits.keysPerSecond === null ? "no limit of keys" : `${limits.keysPerSecond} keys/s`;
  const bytes =
    limits.bytesPerSecond === null ? "no limit of bytes" : `${formatBytes(limits.bytesPerSecond)}/s`;
  return `${keys}, ${bytes}`;
}

function limitOption(flags: string, doc: string): OptionRow {
  return { flags, type: "int", min: 0, max: 2 ** 40, doc };
}

/** A command that changes something about the moves and says how they are then. */
function actionRow(
  row: Omit<CommandRow, "run"> & {
    readonly act: (
      world: World,
      target: ControllerTarget,
      options: OptionValues,
      args: readonly string[],
    ) => Promise<Moves>;
    readonly text: (moves: Moves) => string;
  },
): CommandRow {
  const { act, text, ...rest } = row;
  return {
    ...rest,
    options: [...row.options, DIR_OPTION, CONTROL_OPTION],
    async run(world, options, args) {
      const moves = await act(world, await controllerTarget(world, options), options, args);
      world.print(options.json ? JSON.stringify(moves, null, 2) : text(moves));
      return 0;
    },
  };
}
