#!/bin/sh
# Tokenizers beside the sentencepiece package of Python, on REFORMER_TEST_LINES (20,000) lines. Skipped (77) without it, or in a build without SentencePiece.
# REFORMER_TEST_MODELS: further models to compare.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${REFORMER_PROGRAM:-$here/../../build/reformer}
command -v python3 >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat "$here"/../../docs/*.md "$here"/../../README.md >"$work/text"
code=0
"$program" tokenize --train --data "$work/text" --vocab-size 300 --output "$work/first.model" 2>"$work/said" || code=$?
if [ $code -ne 0 ]; then
    cat "$work/said"
    if grep -q 'without SentencePiece' "$work/said"; then exit 77; fi
    exit 1
fi
# shellcheck disable=SC2086
python3 "$here/compare_sentencepiece.py" "$program" "$work/text" "$work" "${REFORMER_TEST_LINES:-20000}" ${REFORMER_TEST_MODELS:-}
