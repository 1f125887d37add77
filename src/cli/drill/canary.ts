/** Keys for a drill: hash tags whose slots are in the group that is hit, and others beside it. */
import { fetchSlot } from "../../contract/client.ts";
import type { ControllerTarget } from "../../contract/client.ts";
import type { HttpClient } from "../../env/http.ts";
import { ShoalError } from "../../base/shoal-error.ts";
import type { Tag } from "../../verify/key-slots.ts";

/** The label of keys that are not in the group. */
export const OTHERS = "others";

/** Tags are tried until there are enough; of a group with few slots few fit. */
const TRIES_MAX = 20_000;
/** Slots that are asked for at once. */
const ASKED_AT_ONCE = 32;

/**
 * `count` tags in `group`, labelled with its name, and half as many elsewhere (none where it is the only
 * group). Without a group: `count` tags, all of one label.
 * @throws ShoalError NOT_FOUND when the group owns next to no slots
 */
export async function findTags(
  http: HttpClient,
  target: ControllerTarget,
  options: {
    readonly group: string | null;
    readonly single: boolean;
    readonly count: number;
    readonly run: string;
  },
): Promise<Tag[]> {
  const { group, single, count, run } = options;
  if (group === null) return Array.from({ length: count }, (_, i) => ({ tag: `${run}.${i}`, label: "all" }));
  const encoder = new TextEncoder();
  const inside: Tag[] = [];
  const outside: Tag[] = [];
  const wantOutside = single ? 0 : count >> 1;
  for (let next = 0; inside.length < count || outside.length < wantOutside; next += ASKED_AT_ONCE) {
    if (next > TRIES_MAX) {
      throw new ShoalError(
        "NOT_FOUND",
        `Cannot drill group ${group}: it owns too few slots to find keys in it`,
      );
    }
    const tags = Array.from({ length: ASKED_AT_ONCE }, (_, i) => `${run}.${next + i}`);
    const answers = await Promise.all(tags.map((tag) => fetchSlot(http, target, encoder.encode(tag))));
    answers.forEach((answer, i) => {
      if (answer.group === group) inside.push({ tag: tags[i], label: group });
      else outside.push({ tag: tags[i], label: OTHERS });
    });
  }
  return [...inside.slice(0, count), ...outside.slice(0, wantOutside)];
}
