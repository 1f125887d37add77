import { MemoryDatabase } from "../../../src/store/memory/database.ts";
import { openMemoryStore } from "../../../src/store/memory/open-store.ts";
import { systemRandom } from "../../../src/platform/random.ts";
import { systemTimers } from "../../../src/platform/timers.ts";
import { runStoreSuite } from "./store-suite.ts";

runStoreSuite("memory", async () => {
  const database = new MemoryDatabase();
  let nowMs = 1_000_000;
  const clock = { nowMs: () => nowMs, wallMs: () => nowMs };
  return {
    open: () => openMemoryStore({ clock, timers: systemTimers, random: systemRandom }, database),
    pass: async (ms) => {
      nowMs += ms;
    },
    dispose: async () => {},
  };
});
