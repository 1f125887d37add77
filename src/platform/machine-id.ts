/** Which machine this is, for those who have to know whether two processes would die together. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";

/** The kernel's own: the same in every container on it, another one in every virtual machine. */
const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

/** The same text for every process on this machine, as long as it runs. */
export function machineId(): string {
  try {
    return readFileSync(BOOT_ID_FILE, "utf8").trim();
  } catch {
    return hostname();
  }
}
