/** Makes commands of templates: see families.ts for the notation. */
import type { Family } from "./families.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { Vocabulary } from "./vocabulary.ts";

const OPTIONAL = 0.5;
const REPEATS_MAX = 4;
const SPOILED = 0.08;
const LOWER_CASE = 0.3;
/**
 * Words that are no good number, index, option … No small positive number: as a TTL it would end at an
 * unknown time.
 */
const RUBBISH = [
  "",
  "abc",
  "-1",
  "0",
  "1.5",
  "nan",
  "1e400",
  "99999999999999999999",
  "9223372036854775807",
  "-9223372036854775808",
  " 1",
  "\xff\x00",
];

/** `count` commands of a family; the same for the same random numbers. */
export function commandStream(
  family: Family,
  random: SeededRandom,
  count: number,
  dumps: readonly string[],
): string[][] {
  const vocabulary = new Vocabulary(random, family.type, dumps);
  return Array.from({ length: count }, () => {
    vocabulary.nextCall();
    const words = random
      .pick(family.templates)
      .split(" ")
      .flatMap((part) => expand(part, random, vocabulary));
    if (random.chance(SPOILED)) spoil(words, random, vocabulary);
    if (random.chance(LOWER_CASE)) words[0] = words[0].toLowerCase();
    return words;
  });
}

function expand(part: string, random: SeededRandom, vocabulary: Vocabulary): string[] {
  if (part.startsWith("?")) return random.chance(OPTIONAL) ? expand(part.slice(1), random, vocabulary) : [];
  if (part.length > 1 && part.endsWith("+")) {
    const once = part.slice(0, -1);
    return Array.from({ length: 1 + random.int(REPEATS_MAX) }, () => expand(once, random, vocabulary)).flat();
  }
  return part.split(":").map((word) => wordOf(random.pick(word.split("|")), vocabulary));
}

/** "$u00" is a number with two zeros behind it; "$" alone is a word of XREAD. */
function wordOf(word: string, vocabulary: Vocabulary): string {
  if (!word.startsWith("$") || word.length === 1) return word;
  return vocabulary.word(word[1]) + word.slice(2);
}

/** With another count or cursor these answer with some of the members, and which ones is chance. */
const ALL_OR_CHANCE = ["SPOP", "HSCAN", "SSCAN", "ZSCAN"];

/** Makes a call that is probably wrong, and never one whose keys are in several slots. */
function spoil(words: string[], random: SeededRandom, vocabulary: Vocabulary): void {
  const way = ALL_OR_CHANCE.includes(words[0]) ? 1 : random.int(3);
  if (way === 0 && words.length > 1) {
    words.pop();
  } else if (way === 1) {
    words.push(vocabulary.strangeKey());
  } else {
    const places = words.map((_, i) => i).filter((i) => i > 0 && !words[i].includes("{"));
    if (places.length > 0) words[random.pick(places)] = random.pick(RUBBISH);
  }
}
