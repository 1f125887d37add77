// Installing Debian packages as root, and leaving no service behind that nobody asked for.
//
// redis-server's and nutcracker's packages start a service and enable it for every boot. Shoal starts its own
// servers, so that one would only hold a port and memory. Debian's way to say no is a /usr/sbin/policy-rc.d
// that exits 101; ours is there only while apt-get runs, and what was there before is put back.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { SetupError, onPath, progress } from "./machine.mjs";
import { forgetInstalled, missingPrograms } from "./programs.mjs";

const POLICY = "/usr/sbin/policy-rc.d";
const POLICY_SAVED = "/usr/sbin/policy-rc.d.saved-by-shoal";
const POLICY_TEXT =
  "#!/bin/sh\n# Shoal's set-up is installing packages and wants no service started.\nexit 101\n";
const KINDS = ["server", "test", "bench"];

/** Installs what these programs need, one apt-get for all; what then is still missing, each by itself. */
export function installDebianPackages(programs) {
  const all = [...new Set(programs.map((program) => program.packages[0]))];
  progress("fetching Debian's package lists (apt-get update)");
  // A list that could not be fetched need not be one we need: the install tells.
  apt(["update"]);
  progress(`installing ${all.join(" ")} (apt-get install)`);
  withoutServices(() => {
    const first = install(all);
    if (first.status === 0) return;
    if (first.status === null || first.status === 130)
      throw new SetupError("interrupted while apt-get was installing");
    const lacking = stillMissing(programs);
    if (!lacking.some(installAny)) process.stderr.write(`${first.stdout ?? ""}${first.stderr ?? ""}`);
  });
  disableServices(programs);
}

function installAny(program) {
  return program.packages.some((name) => install([name]).status === 0);
}

function install(packages) {
  const result = apt(["install", "-y", "--no-install-recommends", ...packages]);
  forgetInstalled();
  return result;
}

function stillMissing(programs) {
  const missing = missingPrograms(KINDS).map((program) => program.name);
  return programs.filter((program) => missing.includes(program.name));
}

function apt(args) {
  // Another apt may be at work (unattended upgrades on a fresh machine): wait for it instead of failing.
  const options = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: "noninteractive",
    NEEDRESTART_SUSPEND: "1",
    LC_ALL: "C.UTF-8",
  };
  return spawnSync("apt-get", [...options, ...args], {
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs `action` while no package can start a service. */
function withoutServices(action) {
  restorePolicy(); // what a killed set-up may have left
  if (existsSync(POLICY)) renameSync(POLICY, POLICY_SAVED);
  writeFileSync(POLICY, POLICY_TEXT);
  chmodSync(POLICY, 0o755);
  // A signal must not end this process before the policy is put back. It reaches apt-get as well, and its
  // end ours.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  process.on("SIGTERM", ignore);
  try {
    action();
  } finally {
    restorePolicy();
    process.off("SIGINT", ignore);
    process.off("SIGTERM", ignore);
  }
}

function restorePolicy() {
  if (existsSync(POLICY_SAVED)) {
    renameSync(POLICY_SAVED, POLICY);
  } else if (existsSync(POLICY) && readFileSync(POLICY, "utf8") === POLICY_TEXT) {
    rmSync(POLICY);
  }
}

/** The packages were missing before, so nobody can have wanted their services at boot. */
function disableServices(programs) {
  const quiet = { stdio: "ignore" };
  for (const unit of programs.flatMap((program) => program.services)) {
    if (!existsSync(`/lib/systemd/system/${unit}`)) continue;
    if (onPath("systemctl")) spawnSync("systemctl", ["disable", unit], quiet);
    else if (onPath("update-rc.d"))
      spawnSync("update-rc.d", [unit.replace(".service", ""), "disable"], quiet);
  }
}
