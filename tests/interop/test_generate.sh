#!/bin/sh
# What transformers' generate writes with a model of its own, greedy, by rules and with beams, the program writes too. Skipped (77) without it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${REFORMER_PROGRAM:-$here/../../build/reformer}
command -v python3 >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
OMP_NUM_THREADS=1 python3 "$here/generate_with_transformers.py" "$program" "$work"
