/** All kinds of keys, by name. */
import { counterKind } from "./counter.ts";
import { expiringKind } from "./expiring.ts";
import type { Kind } from "./kind.ts";
import { listKind } from "./list.ts";
import { pairKind } from "./pair.ts";
import { registerKind } from "./register.ts";
import { setKind } from "./set.ts";

export const KINDS: readonly Kind[] = [counterKind, registerKind, listKind, setKind, expiringKind, pairKind];
