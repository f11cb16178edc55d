#!/bin/sh
# Curves of runs: table, JSON, picture, names, misuse.
. "$(dirname "$0")/common.sh"

for name in a b; do
    mkdir "$work/$name"
    for step in 1 10 20; do
        printf '{"kind": "step", "step": %d, "loss": 2.5, "seconds": %d}\n' $step $((2 * step))
        printf '{"kind": "evaluation", "step": %d, "loss": %d, "seconds": %d}\n' $step $((30 - step)) $((2 * step))
    done >"$work/$name/metrics.jsonl"
done

expect 0 curves "$work/a" "$work/b" --name first --name 'a second' --output "$work/loss.svg"
says out 'a second'
grep -q '^first  *20  *40.0  *2.5000  *10.0000  *10.0000  *29.0000$' "$work/out" || fault "not the figures of the run: $(cat "$work/out")"
grep -q 'a second, evaluation' "$work/loss.svg" || fault "no line of the second run in the picture"
expect 0 curves "$work/a" --json --part evaluation --x seconds --log-x --log-y --smooth 3
says out '"x": "seconds"'
misuse '2 runs and 1 times --name; name each of them, or none' curves "$work/a" "$work/b" --name first
expect 2 curves "$work/a" --x epochs
says err "step, seconds"
expect 2 curves
expect 2 curves "$work/a" --output "$work/loss.gif"
expect 1 curves "$work/none"
says err 'metrics.jsonl'
cli_done
