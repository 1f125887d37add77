/** `shoal rebalance` and `shoal group drain`: the plan first, then the question, then the moves. */
import { ShoalError } from "../../base/shoal-error.ts";
import type { ControllerTarget } from "../../contract/client.ts";
import { drainGroup, rebalance } from "../../contract/group-client.ts";
import type { RebalanceAnswer } from "../../contract/group-schemas.ts";
import { type CommandRow, CONTROL_OPTION, DIR_OPTION, type OptionValues, type World } from "../command.ts";
import { HintedError } from "../hinted-error.ts";
import { controllerTarget } from "../target.ts";
import { NO_WAIT_OPTION, YES_OPTION, confirm } from "./confirm.ts";
import { checkArrived, followMoves } from "./follow-moves.ts";
import { formatPlan } from "./plan-table.ts";

/** For both commands. */
const DRY_RUN_OPTION = { flags: "--dry-run", type: "flag", doc: "show the plan, change nothing" } as const;

/**
 * What was shown is what is carried out: the moves of the dry run are handed back to the controller, which
 * refuses them when they are not true any more. `--json` prints the plan with {id, result}.
 */
export const rebalanceCommand: CommandRow = {
  name: "rebalance",
  argument: "",
  summary: "Give every group its share of the slots; shows the plan and asks first",
  examples: [
    ["shoal rebalance --dry-run", "what would move, and the spread before and after"],
    ["shoal rebalance --weights g1=2,g4=0.5 --yes", "g1 twice the share of the others, g4 half of it"],
    ["shoal rebalance --by memory", "equal bytes instead of equal numbers of slots"],
  ],
  options: [
    {
      flags: "--by <measure>",
      type: "choice",
      values: ["slots", "memory", "ops"],
      doc: "what the groups shall have equal shares of",
      shownDefault: "slots",
    },
    {
      flags: "--weights <list>",
      type: "text",
      doc: "shares by group, g1=2,g2=0.5; who is not named has 1, 0 empties a group",
    },
    DRY_RUN_OPTION,
    YES_OPTION,
    NO_WAIT_OPTION,
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options) {
    const target = await controllerTarget(world, options);
    const by = (options.by ?? "slots") as RebalanceAnswer["by"];
    const weights = parseWeights(options.weights);
    return runPlan(world, options, target, REBALANCE, (dryRun, moves) => {
      return rebalance(world.http, target, { by, weights, dryRun, moves });
    });
  },
};

/** Marks the group first, so that a rebalance meanwhile gives it nothing. `--json` as with rebalance. */
export const groupDrainCommand: CommandRow = {
  name: "group drain",
  argument: "<group>",
  summary: "Move every slot of a group to the others, so that it can be removed",
  examples: [
    ["shoal group drain g2", "shows the plan, asks, moves; then `shoal group remove g2`"],
    ["shoal group drain g2 --undo", "it shall stay: the next rebalance gives it slots again"],
  ],
  options: [
    DRY_RUN_OPTION,
    YES_OPTION,
    NO_WAIT_OPTION,
    { flags: "--undo", type: "flag", doc: "the group shall stay; what has moved away stays away" },
    DIR_OPTION,
    CONTROL_OPTION,
  ],
  async run(world, options, [group]) {
    const target = await controllerTarget(world, options);
    if (options.undo) {
      const answer = await drainGroup(world.http, target, group, { undo: true });
      if (options.json) world.print(JSON.stringify(answer, null, 2));
      else world.print(`Group ${group} stays. \`shoal rebalance\` gives it slots again.`);
      return 0;
    }
    const action = { question: `Drain group ${group} now?`, nothing: `Group ${group} owns no slots.` };
    const status = await runPlan(world, options, target, action, (dryRun, moves) => {
      return drainGroup(world.http, target, group, { dryRun, moves });
    });
    const finished = status === 0 && !options.json && !options.dryRun && options.wait !== false;
    if (finished) world.print(`\`shoal group remove ${group}\` takes it out.`);
    return status;
  },
};

/** "g1=2,g2=0.5". @throws ShoalError INVALID_ARGUMENT */
export function parseWeights(text: OptionValues[string]): Record<string, number> {
  const weights: Record<string, number> = {};
  if (typeof text !== "string") return weights;
  for (const part of text.split(",")) {
    const match = /^\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(\d+(?:\.\d+)?)\s*$/.exec(part);
    if (match === null) {
      throw new ShoalError(
        "INVALID_ARGUMENT",
        `Cannot use weights ${JSON.stringify(text)}: want GROUP=NUMBER, …, like g1=2,g2=0.5`,
      );
    }
    weights[match[1]] = Number(match[2]);
  }
  return weights;
}

const REBALANCE = { question: "Rebalance now?", nothing: "Nothing to move: every group has its share." };

/** Dry run, show, ask, start with the moves that were shown, watch. */
async function runPlan(
  world: World,
  options: OptionValues,
  target: ControllerTarget,
  action: { readonly question: string; readonly nothing: string },
  call: (dryRun: boolean, moves?: RebalanceAnswer["moves"]) => Promise<RebalanceAnswer>,
): Promise<number> {
  const plan = await call(true);
  if (!options.json)
    world.print(plan.moves.length === 0 ? nothingText(plan, action.nothing) : formatPlan(plan));
  if (options.dryRun) {
    if (options.json) world.print(JSON.stringify(plan, null, 2));
    return 0;
  }
  if (plan.moves.length > 0 && !(await confirm(world, options, action.question))) {
    world.print("Nothing was changed.");
    return 0;
  }
  // Also when nothing moves: a drain marks the group, a weight takes the mark away.
  const { id } = await call(false, plan.moves);
  const wait = options.wait !== false && id !== null;
  // Ctrl-C here ends the watching and not the moves: they are the controller's.
  const result = wait
    ? await followMoves(world, target, options, { id, spans: plan.moves, keysEstimated: plan.total.keys })
    : null;
  if (options.json) {
    world.print(JSON.stringify({ ...plan, id, result }, null, 2));
  } else if (result !== null) {
    world.print(`${result.arrived} slots have moved in ${result.seconds.toFixed(1)} s.`);
  } else if (id !== null) {
    world.print(`Moves ${id} have begun. \`shoal moves --watch\` shows how they go on.`);
  }
  // After the answer is printed: a script gets the plan and an exit status.
  if (result !== null) checkArrived(result);
  return 0;
}

/** A balanced cluster is told from one that can't be balanced. */
function nothingText(plan: RebalanceAnswer, nothing: string): string {
  if (plan.groups.length === 1) return "Nothing to move: there is one group. `shoal group add` adds another.";
  return nothing;
}

/** @throws ShoalError INVALID_ARGUMENT with the spelling that is wanted */
export function missingOption(command: string, option: string): HintedError {
  return new HintedError(
    "INVALID_ARGUMENT",
    `Cannot run shoal ${command}: ${option} is not given`,
    `\`shoal ${command} --help\` shows how.`,
  );
}
