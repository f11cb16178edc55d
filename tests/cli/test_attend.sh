#!/bin/sh
# What tokens look at: sources of the text, choices of tokens, files, and misuse.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

model=$source/models/quickstart
i=0
while [ $i -lt 20 ]; do
    printf 'the king saw %d sheep and the sea\n' $i
    i=$((i + 1))
done >"$work/text"

expect 0 attend --model "$model" --data "$work/text" --layer 1 --head 1 --position -1,40 --top 3
says out 'layer 1 (lsh), head 1; 670 tokens in chunks of 64, 2 rounds, 64 buckets'
says out 'token 669 "\n", buckets '
says out 'token 40 '
if [ "$(grep -c '^ *[0-9]* *".*" *[01]\.[0-9]*$' "$work/out")" -ne 6 ]; then fault "not three lines for each of two tokens: $(cat "$work/out")"; fi
cp "$work/out" "$work/first"
"$program" attend --model "$model" --layer 1 --head 1 --position -1 --position 40 --top 3 <"$work/text" >"$work/out" || fault "standard input is not read"
cmp -s "$work/first" "$work/out" || fault "standard input gives something else than --data"

expect 0 attend --model "$model" --text 'the whale and the sea' --token sea --layer 0 --json --csv "$work/a.csv" --picture "$work/a.svg"
says out '"kind": "local"'
says out '"borders": ['
if [ "$(grep -c '"sum"' "$work/out")" -ne 3 ]; then fault "not the three letters of sea"; fi
if [ "$(wc -l <"$work/a.csv")" -ne $((1 + 19 + 20 + 21)) ]; then fault "the CSV has $(wc -l <"$work/a.csv") lines"; fi
awk -F , 'NR > 1 { sum[$1] += $(NF - 1) } END { for (q in sum) if (sum[q] < 0.999999 || sum[q] > 1.000001) exit 1 }' "$work/a.csv" || fault "weights of the CSV do not sum to 1"
grep -q '</svg>' "$work/a.svg" || fault "no picture"

expect 0 attend --model "$model" --text 'the whale' --layer 1 --attention full
says out 'layer 1 (full_shared), head 0; 9 tokens'

misuse '--picture is "a.jpeg", expected a name that ends in .svg or .png' attend --model "$model" --text a --picture a.jpeg
misuse '--text and --data exclude each other; give one of them' attend --model "$model" --text a --data "$work/text"
expect 2 attend --model "$model" --text 'the sea' --position 7
says err 'position 7 is outside the text of 7 tokens'
expect 2 attend --model "$model" --text 'the sea' --token whale
says err "'whale' does not stand in the text"
expect 2 attend --model "$model" --text 'the sea' --layer 4
says err 'there are 4 layers of 2 heads'
expect 2 attend --model "$model"
says err 'the text has no token'
cli_done
