#!/bin/sh
# Pictures: a page, files, what is said of them, and what is refused.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
model=$source/models/quickstart

expect 0 illustrate --no-timing --output "$work/page.html"
says out "$work/page.html"
head -1 "$work/page.html" | grep -qx '<!DOCTYPE html>' || fault 'a page without its first line'
expect 0 illustrate --model "$model" --no-timing --seed 2 --text "It's <so> & so" --scenes axial,angular --output "$work/first.html"
grep -qF "illustrate --model $model --text 'It'\\''s &lt;so&gt; &amp; so' --scenes axial,angular --seed 2 --no-timing" "$work/first.html" ||
    fault "the page does not say what made it: $(grep 'reformer illustrate' "$work/first.html")"
printf "It's <so> & so" >"$work/text"
expect 0 illustrate --model "$model" --no-timing --seed 2 --data "$work/text" --scenes axial,angular --output "$work/second.html"
for page in first second; do sed '/^<pre class="command">/d' "$work/$page.html" >"$work/$page"; done
cmp "$work/first" "$work/second" || fault 'the same text and seed give other pictures'

expect 0 illustrate --model "$model" --no-timing --json --output "$work/pictures"
says out '"largest_difference": 0'
if grep -q seconds "$work/out"; then fault 'times with --no-timing'; fi
for name in hyperplane angular reversible chunking axial; do
    test -s "$work/pictures/$name.svg" || fault "no picture $name"
    if command -v xmllint >/dev/null; then xmllint --nonet --noout "$work/pictures/$name.svg" || fault "$name is not well-formed"; fi
done
expect 0 illustrate --scenes chunking --json --output "$work/pictures"
says out '"seconds"'

expect 0 illustrate --model "$model" --extend-positions 4096 --position 4000 --scenes axial --json --output "$work/pictures"
says out '"positions": 4096'
expect 0 illustrate --model "$model" --num-hashes 3 --round 2 --scenes lsh --output "$work/pictures"

expect 2 illustrate --scenes axial,sharp --output "$work/x.html"
says err "there is no scene 'sharp', expected some of hyperplane"
misuse 'illustrate needs --output PATH' illustrate --scenes axial
misuse '--text and --data exclude each other; give one of them' illustrate --text a --data b --output "$work/x.html"
expect 2 illustrate --layer 4 --scenes reversible --model "$model" --output "$work/x.html"
says err 'layer is 4, expected 0 to 3'
if [ -e "$work/x.html" ]; then fault 'a page was written in spite of a message'; fi
cli_done
