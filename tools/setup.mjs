// Set-up: brings a fresh checkout to the point where Shoal runs, with nothing but Node 20 and npm on the
// machine.
//
//   node tools/setup.mjs                   npm packages, and redis-server or valkey-server
//   node tools/setup.mjs --packages-only   npm packages
//   node tools/setup.mjs --test            … and the clients of other languages that the tests drive
//   node tools/setup.mjs --bench           … and nutcracker, to compare with (goes on without it)
//
// It is plain Node because nothing else is there yet. It says one line for each thing it does, and nothing
// when there is nothing to do. Debian packages are installed only by root; it never calls sudo itself:
// anybody else is told what to type.

import { installDebianPackages } from "./setup/debian.mjs";
import { withLock } from "./setup/lock.mjs";
import { installNpmPackages, npmPackagesFit } from "./setup/npm-packages.mjs";
import { SetupError, onPath } from "./setup/machine.mjs";
import { missingPrograms, packagesFor } from "./setup/programs.mjs";
import { installPythonPackages, pythonPackagesFit } from "./setup/python-packages.mjs";

const FLAGS = ["--packages-only", "--test", "--bench"];

/** Which kinds of programs of tools/setup/programs.mjs the given command line asks for. */
function wantedKinds(args) {
  const unknown = args.find((arg) => !FLAGS.includes(arg));
  if (unknown !== undefined) {
    throw new SetupError(`unknown option ${unknown} (known: ${FLAGS.join(", ")})`);
  }
  if (args.includes("--packages-only")) return [];
  const kinds = ["server"];
  if (args.includes("--test")) kinds.push("test");
  if (args.includes("--bench")) kinds.push("bench");
  return kinds;
}

/** Why this machine cannot install Debian packages for us, or undefined when it can. */
function reasonNotToInstall() {
  if (!onPath("apt-get")) return "this machine has no apt-get";
  if (process.getuid?.() !== 0) return "that needs root";
  return undefined;
}

/** How a person installs these packages here. */
function whatToType(packages) {
  if (onPath("apt-get")) return `sudo apt-get install ${packages.join(" ")}`;
  if (onPath("brew")) return "brew install redis";
  if (onPath("dnf")) return "sudo dnf install valkey";
  if (onPath("apk")) return "doas apk add redis";
  return "install redis-server 7 or valkey-server with your system's packages";
}

function installPrograms(kinds) {
  let missing = missingPrograms(kinds);
  if (missing.length === 0) return;
  const packages = packagesFor(missing);
  const reason = reasonNotToInstall();
  if (reason === undefined) {
    installDebianPackages(missing);
    missing = missingPrograms(kinds);
  }
  if (missing.length === 0) return;
  const names = missing.map((program) => program.name).join(", ");
  const why = reason ?? "apt-get could not install them";
  const text = `missing: ${names}; ${why}. Type: ${whatToType(packages)}`;
  // A run in CI must not turn green because the clients it is meant to try were not there.
  const strict = (program) =>
    program.kind === "server" || (program.kind === "test" && process.env.CI === "true");
  if (missing.some(strict)) throw new SetupError(text);
  console.error(`setup: ${text} (going on without)`);
}

function main() {
  const kinds = wantedKinds(process.argv.slice(2));
  const pythonFits = !kinds.includes("test") || pythonPackagesFit();
  if (npmPackagesFit() && pythonFits && missingPrograms(kinds).length === 0) return;
  withLock(() => {
    if (!npmPackagesFit()) installNpmPackages();
    installPrograms(kinds);
    if (!pythonFits) installPythonPackages();
  });
}

try {
  main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
