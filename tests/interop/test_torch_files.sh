#!/bin/sh
# PyTorch's and Trax's files of weights, made by the Python packages and read here, and the other way round. Skipped (77) without them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${REFORMER_PROGRAM:-$here/../../build/reformer}
command -v python3 >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$program" inspect --model "$here/../vectors/lm_eval" >/dev/null; then exit 1; fi
OMP_NUM_THREADS=1 python3 "$here/torch_files.py" "$program" "$here/../vectors/lm_eval" "$work"
