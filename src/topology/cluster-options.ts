/**
 * The cluster-wide options: one row each. `shoal options set`, `[cluster.options]` of controller.toml and the
 * API check by this table, and `shoal options list` prints it. The map carries what is set to every proxy;
 * what is not set has its default there.
 */
import { nearestName } from "../base/config-table.ts";
import { ShoalError, errorTextOf } from "../base/shoal-error.ts";
import { parseAcks } from "./acks-rule.ts";

export type OptionValue = string | number | boolean;

interface OptionRow {
  readonly default: OptionValue;
  readonly doc: string;
  /** Why the value is none, or null. Numbers come as texts from the command line and as numbers from TOML. */
  readonly refuse: (value: OptionValue) => string | null;
}

const READ_FROM = ["primary", "replica", "prefer-replica", "nearest"];
const ON_CONTROL_LOSS = ["serve", "stop-writes"];

export const CLUSTER_OPTIONS: Readonly<Record<string, OptionRow>> = {
  acks: {
    default: "async",
    doc: 'When a write is answered: async, replica, "replica N TIMEOUTms" or rules: "a:*=replica, *=async".',
    refuse: refuseAcks,
  },
  read_from: {
    default: "primary",
    doc: `Where reads go: ${READ_FROM.join(", ")}.`,
    refuse: (value) => refuseChoice(value, READ_FROM),
  },
  max_staleness_ms: {
    default: 0,
    doc: "A replica whose data is older than so many milliseconds is not read; 0: no bound.",
    refuse: (value) => refuseNumber(value, 0, 86_400_000),
  },
  hold_timeout_ms: {
    default: 10_000,
    doc: "How long requests of a group without a primary wait, in milliseconds; 0: they fail at once.",
    refuse: (value) => refuseNumber(value, 0, 600_000),
  },
  on_control_loss: {
    default: "serve",
    doc: `What a proxy without any controller does: ${ON_CONTROL_LOSS.join(" or ")}.`,
    refuse: (value) => refuseChoice(value, ON_CONTROL_LOSS),
  },
};

/**
 * The same with numbers as numbers; null stays: it takes the option away.
 * @throws ShoalError INVALID_ARGUMENT that names the option and what it may be
 */
export function checkOptions<Value extends OptionValue | null>(
  options: Readonly<Record<string, Value>>,
): Record<string, OptionValue | Extract<Value, null>> {
  const checked: Record<string, OptionValue | Extract<Value, null>> = {};
  for (const [name, value] of Object.entries(options)) {
    const row = Object.hasOwn(CLUSTER_OPTIONS, name) ? CLUSTER_OPTIONS[name] : undefined;
    if (row === undefined) throw unknownOption(name);
    if (value === null) {
      checked[name] = value as Extract<Value, null>;
      continue;
    }
    const why = row.refuse(value);
    if (why !== null) {
      const shown = JSON.stringify(value);
      throw new ShoalError("INVALID_ARGUMENT", `Cannot set option ${name} to ${shown}: ${why}`);
    }
    checked[name] = typeof row.default === "number" ? Number(value) : value;
  }
  return checked;
}

function unknownOption(name: string): ShoalError {
  const nearest = nearestName(name, Object.keys(CLUSTER_OPTIONS));
  const advice =
    nearest === null ? `there are ${Object.keys(CLUSTER_OPTIONS).join(", ")}` : `did you mean ${nearest}?`;
  return new ShoalError(
    "INVALID_ARGUMENT",
    `Cannot set option ${JSON.stringify(name)}: no such option, ${advice}`,
  );
}

/** The proxies read it by the same function. */
function refuseAcks(value: OptionValue): string | null {
  try {
    parseAcks(String(value));
    return null;
  } catch (error) {
    return errorTextOf(error).replace(/^Cannot use acks "(?:[^"\\]|\\.)*": /, "");
  }
}

function refuseChoice(value: OptionValue, choices: readonly string[]): string | null {
  return choices.includes(String(value)) ? null : `want one of ${choices.join(", ")}`;
}

function refuseNumber(value: OptionValue, min: number, max: number): string | null {
  const good = /^\d+$/.test(String(value)) && Number(value) >= min && Number(value) <= max;
  return good ? null : `want a whole number from ${min} to ${max}`;
}
