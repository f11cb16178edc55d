#!/bin/sh
# Help, manual pages, completion and --print-config: complete, and from the same tables.
. "$(dirname "$0")/common.sh"
cd "$source"

expect 0 --help
commands=$(sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$work/out")
for command in train eval generate verify plan inspect convert tokenize bench devices help version completion; do
    case " $(echo $commands) " in *" $command "*) ;; *) fault "help does not name $command" ;; esac
done
says out "REFORMER_LENGTH for --length"
expect 2
says err "usage: reformer COMMAND"
expect 0 version
if ! grep -qE '^reformer [0-9]+\.[0-9]+\.[0-9]+$' "$work/out"; then fault "version says $(cat "$work/out")"; fi
expect 0 --version

for command in $commands; do
    expect 0 "$command" --help
    cp "$work/out" "$work/help"
    if [ -s "$work/err" ]; then fault "$command --help speaks on standard error"; fi
    if [ "$(sed -n '/^examples:/,/^$/p' "$work/help" | grep -c '^  reformer ')" -ne 2 ]; then fault "$command --help has not two examples"; fi
    expect 0 help "$command"
    cmp -s "$work/out" "$work/help" || fault "help $command is not $command --help"
    if grep -nE '.{81}' "$work/help" | grep -vE '^[0-9]+:(  reformer |usage: )'; then fault "$command --help is wider than 80 columns"; fi
done

# The examples are accepted as they stand. An example with a configuration shows its settings; the rest are about the program.
for command in train eval generate verify plan bench; do
    "$program" "$command" --help | sed -n '/^examples:/,/^$/s/^  reformer //p' >"$work/examples"
    while read -r example; do
        eval "set -- $example"
        expect 0 "$@" --print-config
    done <"$work/examples"
done

# Defaults, and the environment's value where one is set.
expect 0 train --help
says out "updates in total [1000]"
REFORMER_STEPS=7 "$program" train --help >"$work/out"
says out "updates in total [7, from REFORMER_STEPS]"

expect 0 generate --help
says out "[no-]early-stopping"
says out "end a beam search"

# Who won.
printf '{"model": {"hidden_size": 8}, "train": {"steps": 30, "batch": 3, "length": 300}}' >"$work/c.json"
REFORMER_STEPS=20 REFORMER_BATCH=2 "$program" train -c "$work/c.json" --steps 10 --print-config >"$work/out"
for row in "steps 10 (command line)" "batch 2 (REFORMER_BATCH)" "length 300 ($work/c.json)" "accumulate 1 (default)"; do
    tr -s ' ' <"$work/out" | grep -qxF "$row" || fault "--print-config has no line '$row'"
done
expect 0 train -c "$work/c.json" --print-config --json
says out '"from": "default"'
says out '"hidden_size": 8'

# Presets are found from anywhere, hold only known keys, and are models that can be planned.
for preset in configs/*.json; do
    name=$(basename "$preset" .json)
    (cd / && "$program" train --config "$name" --print-config) >"$work/out" 2>"$work/err" || fault "preset $name: $(cat "$work/err")"
    expect 0 plan --config "$preset" --length 2048
done

# Manual pages.
mkdir "$work/man"
expect 0 manual "$work/man"
for command in $commands; do
    test -s "$work/man/reformer-$command.1" || fault "no manual page of $command"
done
if command -v groff >/dev/null; then
    if [ "$(grep -c '^.SS "optimizer"' "$work/man/reformer-train.1")" -ne 1 ]; then fault "a heading stands twice in the manual"; fi
    for page in "$work"/man/*.1; do
        groff -man -Tutf8 -ww -z "$page" 2>"$work/err" || true
        if [ -s "$work/err" ]; then fault "$(basename "$page"): $(head -3 "$work/err")"; fi
    done
fi
expect 1 manual "$work/no-such-folder"
says err "cannot be written"

# Completion.
expect 0 completion bash
if command -v bash >/dev/null; then
    cp "$work/out" "$work/completion"
    complete() {
        bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _reformer; echo "${COMPREPLY[@]}"' "$work/completion" "$@"
    }
    if [ "$(complete reformer tr)" != train ]; then fault "completion of 'tr': $(complete reformer tr)"; fi
    if [ "$(complete reformer train --sched)" != --schedule ]; then fault "completion of '--sched': $(complete reformer train --sched)"; fi
    if [ "$(complete reformer train --direction bi)" != bidirectional ]; then fault "completion of 'bi': $(complete reformer train --direction bi)"; fi
    for option in freeze label-smoothing class-weights spike-guard milestone-every overfit-batches decay-steps; do
        if [ "$(complete reformer train --$option)" != --$option ]; then fault "--$option does not complete"; fi
    done
    if [ "$(complete reformer train --schedule lin)" != linear ]; then fault "completion of 'lin': $(complete reformer train --schedule lin)"; fi
fi
expect 0 completion zsh
says out "#compdef reformer"

# Every setting that a command asks for is one that it has.
for file in src/cli/command_*.c src/cli/generate_settings.c src/cli/train_settings.c src/cli/output.c src/cli/model_source.c; do
    grep -o 'rf_settings_[a-z]*([a-z&]*, "[a-z0-9-]*"' "$file" | sed 's/.*"\(.*\)"/\1/' | sort -u | while read -r name; do
        common=RF_COMMON_$(printf %s "$name" | tr a-z- A-Z_)
        cat "$file" src/cli/command.c src/cli/generate_options.c src/cli/train_options.c | grep -q "\.name = \"$name\"\|{$common\>" ||
            echo "$file asks for --$name, which no table has"
    done
done >"$work/names"
if [ -s "$work/names" ]; then fault "$(cat "$work/names")"; fi
cli_done
