#!/bin/sh
# What attention does in a model: tables, report, files, settings and misuse.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

model=$source/models/quickstart
i=0
while [ $i -lt 60 ]; do
    printf 'and the king saw %d sheep by the sea\n' $i
    i=$((i + 1))
done >"$work/text"

expect 0 probe --model "$model" --data "$work/text" --length 500 --windows 2 --queries 8 --most-rounds 4 --recall 0.3 --output "$work/pictures"
says out 'rounds for 0.3'
says out 'layer 3 lsh, 1'
says out 'all local'
says out 'all lsh'
says out 'without the attention of'
says out 'all layers'
says err 'looked at the heads in window 2 of 2'
if [ "$(wc -l <"$work/out")" -ne $((1 + 8 + 2 + 1 + 1 + 1 + 4 + 2 + 1)) ]; then fault "the tables have other lines: $(cat "$work/out")"; fi
for file in probe-heads.svg probe-rounds.svg probe-loads.svg probe.json; do
    if [ ! -s "$work/pictures/$file" ]; then fault "no $file"; fi
done
expect 0 probe --model "$model" --data "$work/text" --length 500 --windows 2 --queries 8 --most-rounds 4 --recall 0.3 --quiet --json
says out '"captured_by_rounds": ['
says out '"histogram": ['
if [ -s "$work/err" ]; then fault "--quiet speaks: $(cat "$work/err")"; fi
# What the table says of the loss is what eval says.
normal=$(awk '/"normal":/ { gsub(/[^0-9.]/, ""); printf "%.4f", $0 }' "$work/out")
head -c 1000 "$work/text" >"$work/part"
expect 0 eval --model "$model" --data "$work/part" --length 500 --json
if ! awk -v normal="$normal" '/"loss":/ { gsub(/[^0-9.]/, ""); exit !(($0 - normal) ^ 2 < 1e-7) }' "$work/out"; then
    fault "the normal loss is $normal, but eval says $(cat "$work/out")"
fi
expect 0 probe --model "$model" --data "$work/text" --last-bytes 300 --length 300 --no-loss --num-hashes 1 --seed 3 --queries 4 --json
says out '"loss": null'
says out '"overlap": null'
says out '"seed": 3'
says out '"windows": 1'
printf '{"probe": {"queries": 5, "most_rounds": 2, "no_loss": true, "windows": 1, "length": 100}}' >"$work/config.json"
expect 0 probe --config "$work/config.json" --model "$model" --data "$work/text" --json
says out '"queries": 5'
says out '"most_rounds": 2'
expect 1 probe --model "$model" --data "$work/text" --length 4000
says err "is too long"
misuse '--recall is 0, expected a share of attention, above 0 and at most 1' probe --model "$model" --data "$work/text" --recall 0
expect 2 probe --model "$model" --data "$work/text" --queries 2000
says err '1024'
expect 2 probe --model "$model"
cli_done
