#!/bin/sh
# Misuse: one line that says what is wrong, a hint, exit code 2, and nothing done.
. "$(dirname "$0")/common.sh"

misuse "there is no command 'trian'; did you mean 'train'?" trian --data x
misuse "there is no command 'zzzzzzzz'" zzzzzzzz
misuse "there is no command 'generat'; did you mean 'generate'?" help generat
misuse "train has no option --stepz; did you mean --steps?" train --stepz 5
misuse "eval has no option --prompt" eval --prompt x
misuse "train has no option --no-steps; did you mean --steps?" train --no-steps
misuse "train has no option -Z" train -Z
misuse "--steps needs a value: --steps N" train --steps
misuse "--data needs a value before '--output' (write --data=--output if that is it)" train --data --output x
misuse "--steps is 'abc', expected an integer of at least 1" train --steps abc
misuse "--steps is '0', expected an integer of at least 1" train --steps 0
misuse "--steps is '99999999999999999999', expected an integer of at least 1" train --steps 99999999999999999999
misuse "--batch is '-4', expected an integer from 1 to 1048576" train --batch -4
misuse "--rate is '1e-3x', expected a number from 0 to 10" train --rate 1e-3x
misuse "--rate is 'nan', expected a number from 0 to 10" train --rate nan
misuse "--memory-limit is '-24GiB', expected a size such as 24GiB or 512MiB" train --memory-limit -24GiB
misuse "--memory-limit is '999999999999TiB', expected a size such as 24GiB or 512MiB" train --memory-limit 999999999999TiB
misuse "--time-limit is 'soon', expected a duration such as 150s or 10m" train --time-limit soon
misuse "--schedule is 'cosin', expected one of constant, linear, cosine, inverse-square-root, wsd" train --schedule cosin
misuse "--device is 'gpu', expected one of auto, cpu, cuda, cuda:N" eval --device gpu
misuse "--device is 'cuda:', expected one of auto, cpu, cuda, cuda:N" eval --device cuda:
misuse "--device is 'cuda:1x', expected one of auto, cpu, cuda, cuda:N" eval --device cuda:1x
misuse "--data is '', expected a text that is not empty" train --data ''
misuse "--top-p is '1.5', expected a number from 0 to 1" generate --top-p 1.5
misuse "--prompt and --prompt-file exclude each other; give one of them" generate -m x --prompt a --prompt-file b
misuse "--output and --json exclude each other; give one of them" generate -m x --output a --json
misuse "--prompts and --prompt exclude each other; give one of them" generate -m x --prompts a --prompt b
misuse "--prompts writes JSON of its own; leave out --json" generate -m x --prompts a --json
misuse "--prompts writes JSON of its own; leave out --score" generate -m x --prompts a --score
misuse "--logprobs has nowhere to go; give --json or --prompts too" generate -m x --logprobs 2
misuse "--beams and --temperature exclude each other; give one of them" generate -m x --beams 2 --temperature 1
misuse "--beams and --window exclude each other; give one of them" generate -m x --beams 2 --window 10
misuse "train needs --output DIR" train --data x
misuse "train needs --data TEXT" train --output "$work/none"
misuse "eval needs --model DIR" eval --data x
misuse "verify needs --reference FILE" verify --model x
misuse "plan needs --length N, or --fit SIZE to search the longest" plan --config quickstart
misuse "--length is '16,,32', expected integers with commas between them from 2 to 2147483647" plan --length 16,,32
misuse "bench needs step|memory|attention|generate|reversal|scaling|collisions" bench --model x
misuse "step|memory|attention|generate|reversal|scaling|collisions is 'leap', expected one of step, memory, attention, generate, reversal, scaling, collisions" bench leap --model x
misuse "--model is an option of bench step" bench attention --model x
misuse "--chunk is an option of bench attention" bench step --chunk 32 --model x
misuse "--chunk is an option of bench attention" bench generate --chunk 32 --model x
misuse "--forward-only is an option of bench step" bench generate --forward-only --model x
misuse "--kind is 'global', expected one of lsh, local, full, full_shared" bench attention --kind global
misuse "'book.txt' is not expected here: train takes options only" train book.txt
misuse "there is no model to train: give --config FILE with a \"model\" section (or a preset such as --config quickstart), --init-from DIR or --resume" \
    train --data x --output "$work/none"

# The environment.
REFORMER_STEPS=many
export REFORMER_STEPS
misuse "REFORMER_STEPS is 'many', expected an integer of at least 1" train --data x --output "$work/none"
unset REFORMER_STEPS
REFORMER_LENGHT=4096 "$program" train --config "$source/configs/quickstart.json" --print-config >"$work/out" 2>"$work/err"
says err "reformer: warning: the environment's REFORMER_LENGHT is no option's; did you mean REFORMER_LENGTH?"
REFORMER_LENGTH=4096 REFORMER_FIXTURES=x REFORMER_FREEZE='a,b' REFORMER_SEQUENTIAL=yes \
    "$program" train --config "$source/configs/quickstart.json" --print-config >"$work/out" 2>"$work/err"
if [ -s "$work/err" ]; then fault "variables that are right are warned of: $(cat "$work/err")"; fi
for row in "length 4096 (REFORMER_LENGTH)" "freeze a,b (REFORMER_FREEZE)" "sequential yes (REFORMER_SEQUENTIAL)"; do
    tr -s ' ' <"$work/out" | grep -qxF "$row" || fault "--print-config has no line '$row'"
done

# Configuration files.
file=$work/c.json
config() {
    printf '%s' "$2" >"$file"
    misuse "$1" train --config "$file" --data x --output "$work/none"
}
config "$file: \"train\" has no key \"step\"; did you mean \"steps\"?" '{"model": {}, "train": {"step": 5}}'
config "$file: there is no section \"trian\"; did you mean \"train\"?" '{"trian": {}}'
config "$file: train.steps is '\"5\"', expected an integer of at least 1" '{"train": {"steps": "5"}}'
config "$file: section \"model\" is not an object" '{"model": 5}'
config "$file: expected an object such as {\"model\": {...}, \"train\": {...}}" '[]'
config "$file is not a JSON file: line 1: '[' or '{' expected near 'steps'" 'steps = 5'
config "$file is not a JSON file: line 1: duplicate object key near '\"model\"'" '{"model": {}, "model": {}}'
expect 2 train --config "$work/nothing" --data x --output "$work/none"
says err "there is no file '$work/nothing'"
expect 2 train --config quikstart --data x --output "$work/none"
says err "there is no file 'quikstart' and no preset of that name"
expect 1 train --config "$work" --data x --output "$work/none"

# What cannot be found is a failure, not misuse; nothing is left behind.
expect 1 eval --model "$work/none" --data "$file"
says err "$work/none"
expect 1 generate --model "$work/none" --prompt x
expect 1 inspect --model "$work/none"
expect 1 train --config "$source/configs/quickstart.json" --data "$work/none.txt" --output "$work/none"
if [ -e "$work/none" ]; then fault "$work/none was made"; fi
cli_done
