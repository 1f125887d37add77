#!/bin/sh
# Runs the pinned Bun with the given arguments: `tools/bun.sh FILE.ts ARGS…`.
#
# The binary lies inside one of the @oven/bun-* packages of package.json, so no install script is needed. npm
# installs the one whose os, cpu and libc fit; this script only has to find it. (Bun's x64 binary runs on any CPU
# with SSE4.2 and picks AVX2 code by itself: there is no separate baseline build to choose.)
#
# SHOAL_BUN=/path/to/bun overrides the search.
set -eu

fail() {
  echo "shoal: $1" >&2
  exit 1
}

if [ -n "${SHOAL_BUN:-}" ]; then
  [ -x "$SHOAL_BUN" ] || fail "cannot run SHOAL_BUN=$SHOAL_BUN: no such program"
  exec "$SHOAL_BUN" "$@"
fi

self=$0
while [ -L "$self" ]; do
  link=$(readlink "$self")
  case $link in
    /*) self=$link ;;
    *) self=$(dirname "$self")/$link ;;
  esac
done
root=$(cd "$(dirname "$self")/.." && pwd -P)

system=$(uname -s)
machine=$(uname -m)
case $machine in
  x86_64 | amd64) cpu=x64 musl=/lib/ld-musl-x86_64.so.1 ;;
  aarch64 | arm64) cpu=aarch64 musl=/lib/ld-musl-aarch64.so.1 ;;
  *) fail "there is no Bun for the processor $machine (x86_64 and aarch64 are supported)" ;;
esac
case $system in
  Linux) if [ -e "$musl" ]; then names="bun-linux-$cpu-musl bun-linux-$cpu"; else names="bun-linux-$cpu"; fi ;;
  Darwin) names="bun-darwin-$cpu" ;;
  *) fail "there is no Bun for $system (Linux and macOS are supported)" ;;
esac

# Installed as a dependency of something else, the packages lie beside or above this one.
folder=$root
while :; do
  for name in $names; do
    bun=$folder/node_modules/@oven/$name/bin/bun
    [ -x "$bun" ] && exec "$bun" "$@"
  done
  [ "$folder" = / ] && break
  folder=$(dirname "$folder")
done
fail "cannot find Bun for $system $machine: no package @oven/${names%% *} in $root/node_modules; \
run: node $root/tools/setup.mjs (npm must not omit optional packages)"
