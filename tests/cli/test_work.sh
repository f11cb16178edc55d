#!/bin/sh
# The program at work, end to end on a model of a few thousand parameters: train, interrupt, resume, evaluate, write, plan, inspect.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

cat >"$work/tiny.json" <<'END'
{
  "description": "as small as it goes",
  "model": {
    "model_type": "reformer", "is_decoder": true, "vocab_size": 258, "hidden_size": 16, "attn_layers": ["local", "lsh"],
    "num_attention_heads": 2, "attention_head_size": 8, "feed_forward_size": 16, "axial_pos_shape": [8, 8],
    "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8,
    "num_buckets": 8, "num_hashes": 1, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0
  },
  "train": {"steps": 12, "batch": 2, "length": 32, "rate": 0.01, "warmup": 2, "eval_every": 6, "log_every": 1, "valid_bytes": 400}
}
END
i=0
while [ $i -lt 60 ]; do
    printf 'line %d of a text that says the same again and again\n' $i
    i=$((i + 1))
done >"$work/text"

# Train: plain lines of progress on standard error, a summary on standard output, a model in the folder.
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/a" --seed 5 --sample-every 6 --sample-tokens 8
says err "step 12/12  loss "
says err "validation loss "
says err "step 6 wrote:"
says out "steps       12 in "
says out "model       $work/a"
for file in config.json model.safetensors train.json metrics.jsonl; do test -s "$work/a/$file" || fault "no $file"; done
expect 2 train --config "$work/tiny.json" --data "$work/text" --output "$work/a"
says err "holds a run already"

# The recorded settings are a configuration file that makes the same run.
expect 0 train --config "$work/a/train.json" --output "$work/b" --quiet --json
says out '"step": 12'
if [ -s "$work/err" ]; then fault "--quiet speaks: $(cat "$work/err")"; fi
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" || fault "the recorded settings make another model"

# Stopped and resumed, to the same bits.
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/c" --seed 5 --sample-every 6 --sample-tokens 8 --stop-after 5
expect 0 train --resume --output "$work/c"
says out "steps       12 in "
cmp -s "$work/a/model.safetensors" "$work/c/model.safetensors" || fault "a resumed run makes another model"
expect 2 train --resume --output "$work/nothing"
says err "has no train.json"

# The other optimizer: a run of its own, which does not go on from the first one's checkpoints.
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/adafactor" --optimizer adafactor --stop-after 5 --memory-limit 1MiB
says err "relative step sets the rate"
expect 0 train --resume --output "$work/adafactor"
says out "steps       12 in "
expect 1 train --resume --output "$work/adafactor" --optimizer adamw --steps 13
says err "was written with the optimizer adafactor"
expect 1 train --config "$work/tiny.json" --data "$work/text" --output "$work/toobig" --memory-limit 100KB
says err "the limit is"
test ! -e "$work/toobig" || fault "a refused run wrote a folder"

# Interrupted once: the step is finished and saved, exit code 130, and resuming goes on.
# interrupts SIGNAL FOLDER
interrupts() {
    : >"$work/err"
    "$program" train --config "$work/tiny.json" --data "$work/text" --output "$2" --steps 100000000 --eval-every 0 2>"$work/err" >"$work/out" &
    child=$!
    tries=0
    while ! grep -q '^step ' "$work/err" && [ $tries -lt 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -"$1" $child
    code=0
    wait $child || code=$?
    if [ $code -ne 130 ]; then fault "SIG$1: exit code $code, expected 130: $(tail -3 "$work/err")"; fi
    says err "resume"
    expect 0 train --resume --output "$2" --stop-after 1
}
interrupts INT "$work/d"

# Who reads what a run says may stop reading; the run goes on. A terminal that is closed interrupts it.
"$program" train --config "$work/tiny.json" --data "$work/text" --output "$work/unread" --steps 40 --log-every 1 2>&1 | head -n 1 >"$work/out"
if [ ! -d "$work/unread/checkpoints/step-40" ]; then fault "a run ended because its log was not read: $(ls "$work/unread/checkpoints")"; fi
interrupts HUP "$work/h"

# Evaluate.
expect 0 eval --model "$work/a" --data "$work/text" --last-bytes 400 --json
for key in loss perplexity bits_per_byte accuracy tokens windows; do says out "\"$key\": "; done
expect 0 eval --model "$work/a" --data "$work/text" --length 16 --batch 3
says out "bits per byte"
expect 3 eval --model "$work/a" --data "$work/text" --at-most 0.001
says err "is more than the 0.001"
expect 0 eval --model "$work/a" --data "$work/text" --at-most 100

# Write: the same seed gives the same bytes, to a pipe as to a file; the seed is told where none was given.
expect 0 generate --model "$work/a" --prompt line --tokens 20 --seed 3 --quiet
cp "$work/out" "$work/bytes"
if [ -s "$work/err" ]; then fault "--quiet speaks: $(cat "$work/err")"; fi
expect 0 generate --model "$work/a" --prompt line --tokens 20 --seed 3 --output "$work/file"
cmp -s "$work/bytes" "$work/file" || fault "a file gets other bytes than a pipe"
if [ -s "$work/out" ]; then fault "--output writes to standard output too"; fi
printf line | "$program" generate --model "$work/a" --prompt-file - --tokens 20 --seed 3 --quiet | cmp -s - "$work/bytes" ||
    fault "a prompt from standard input gives other bytes"
expect 0 generate --model "$work/a" --prompt line --tokens 4
seed=$(sed -n 's/^seed \([0-9]*\)$/\1/p' "$work/err")
cp "$work/out" "$work/bytes"
expect 0 generate --model "$work/a" --prompt line --tokens 4 --seed "${seed:-none}"
cmp -s "$work/out" "$work/bytes" || fault "the seed that was told gives other bytes"
expect 0 generate --model "$work/a" --tokens 4 --samples 2 --text
says out "--- sample 2 ---"
expect 0 generate --model "$work/a" --prompt x --tokens 4 --samples 2 --json --seed 1
says out '"seed": 1'
if [ "$(grep -c '"text": ' "$work/out")" -ne 2 ]; then fault "JSON has not two samples: $(cat "$work/out")"; fi
expect 0 generate --model "$work/a" --prompt x --tokens 4 --samples 2 --seed 1 --output "$work/two"
test -s "$work/two.1" && test -s "$work/two.2" || fault "no file for each sample"
expect 2 generate --model "$work/a" --prompt x --tokens 100
says err "64 positions"
if [ -e /dev/full ]; then
    code=0
    "$program" generate --model "$work/a" --prompt x --tokens 4 >/dev/full 2>"$work/err" || code=$?
    if [ $code -ne 1 ]; then fault "a full disk: exit code $code, expected 1"; fi
    says err "cannot write to standard output"
fi

# Plan, measure, look inside.
expect 0 plan --config "$work/tiny.json" --length 16,64 --batch 2
says out "full attention, stored"
expect 0 plan --model "$work/a" --length 32 --inference --json
says out '"peak_bytes": '
expect 0 bench step --model "$work/a" --length 32 --repeats 2
says out "tokens a second"
expect 0 bench memory --model "$work/a" --length 32 --optimizer adafactor --json
says out '"peak_bytes": '
says out '"planned_bytes": '
expect 0 bench memory --model "$work/a" --length 32
says out "of the plan"
expect 1 bench step --model "$work/a" --length 32 --memory-limit 100KB
says err "GiB"
expect 0 bench reversal --config "$work/tiny.json" --length 32 --deepest 6 --repeats 1 --output "$work/pictures"
says out "fixed32"
test -s "$work/pictures/reversal.svg" || fault "no picture of reversal"
expect 2 bench reversal --length 32
says err "needs --config"
expect 2 bench reversal --config "$work/tiny.json" --longest 2048
says err "--longest is an option of bench scaling"
expect 0 bench scaling --longest 2048 --tokens 2048 --heads 1 --hidden 16 --head-width 16 --repeats 1 --warmup 0 --output "$work/pictures"
says out "time of a sequence grows as length^"
for name in scaling.json scaling-time.svg scaling-memory.svg; do test -s "$work/pictures/$name" || fault "no $name"; done
expect 0 bench collisions --draws 1024 --head-width 4 --seed 2 --output "$work/pictures"
says out "1024 draws; no share is further than"
for name in collisions.json collisions-angular.svg collisions-hyperplane.svg collisions-rounds.svg; do test -s "$work/pictures/$name" || fault "no $name"; done
expect 2 bench collisions --draws 1500
says err "draws 1500"
expect 2 bench collisions --rounds 2
says err "--rounds is an option of bench attention"
# Full attention in the place of LSH, and other rounds.
expect 0 eval --model "$work/a" --data "$work/text" --attention full --num-hashes 3
expect 0 generate --model "$work/a" --prompt x --tokens 4 --attention full
expect 2 eval --model "$work/a" --data "$work/text" --attention most
says err "expected one of as-is, full, lsh"
# More positions than trained.
expect 0 convert --model "$work/a" --output "$work/stretched" --extend-positions 100
expect 0 plan --model "$work/stretched" --length 100 --inference
expect 0 plan --model "$work/a" --length 100 --inference --extend-positions 100
expect 1 plan --model "$work/a" --length 100 --inference
says err "--extend-positions 100"
expect 0 generate --model "$work/a" --prompt x --tokens 100 --extend-positions 128
# The largest that fits, and limits.
expect 0 plan --config "$work/tiny.json" --fit 1MiB
says out "batch 1 of length 64, which is all the positions of the model"
expect 0 plan --config "$work/tiny.json" --fit 1MiB --maximize batch --length 16 --json
says out '"limited_by": "memory"'
expect 0 plan --config "$work/tiny.json" --length 64 --memory-limit 1MiB --optimizer adafactor
says out "slices: "
expect 1 plan --config "$work/tiny.json" --length 64 --memory-limit 100KB
says err "even with 1 head"
expect 1 plan --config "$work/tiny.json" --fit 10KB
says err "finest slices"
expect 2 plan --config "$work/tiny.json"
says err "--fit SIZE"
expect 2 plan --config "$work/tiny.json" --fit 1MiB --length 64
says err "--maximize batch"
expect 2 plan --config "$work/tiny.json" --length 64 --maximize batch
says err "--maximize needs --fit"
expect 0 bench attention --length 96 --hidden 32 --heads 2 --head-width 16 --chunk 16 --rounds 2 --repeats 2
says out "attention_backward"
expect 0 bench attention --kind local --length 96 --hidden 32 --heads 2 --head-width 16 --chunk 16 --forward-only --json
says out '"forward_ms": '
expect 0 bench generate --model "$work/a" --length 32 --batch 2 --repeats 5
says out "nine of ten within"
expect 0 bench generate --model "$work/a" --length 32 --repeats 3 --json
says out '"token_ms": '
expect 0 inspect --model "$work/a"
says out "reformer.embeddings.word_embeddings.weight"
expect 0 inspect --model "$work/a" --json
says out '"parameters": '
# Buckets that are left to the automatic rule are decided once, by the training length, and kept at every other.
sed 's/"num_buckets": 8/"num_buckets": null/; s/"lsh_attn_chunk_length": 8/"lsh_attn_chunk_length": 64/; s/"local_attn_chunk_length": 8/"local_attn_chunk_length": 64/
     s/"axial_pos_shape": \[8, 8\]/"axial_pos_shape": [128, 128]/; s/"max_position_embeddings": 64/"max_position_embeddings": 4096/
     s/"length": 32/"length": 4096/; s/"steps": 12, "batch": 2/"steps": 2, "batch": 1/; s/"valid_bytes": 400/"valid_bytes": 4096/' "$work/tiny.json" >"$work/auto.json"
for i in 1 2 3 4 5 6 7; do cat "$work/text"; done >"$work/long"
expect 0 train --config "$work/auto.json" --data "$work/long" --output "$work/auto" --stop-after 1 --sample-every 0
says err "128"
grep -q '"num_buckets": 128' "$work/auto/config.json" || fault "the file does not say 128 buckets"
expect 0 eval --model "$work/auto" --data "$work/long" --length 200 --json
expect 0 eval --model "$work/auto" --data "$work/long" --length 16384 --json
expect 0 generate --model "$work/auto" --prompt-file "$work/text" --tokens 2
expect 0 train --resume --output "$work/auto"
grep -q '"num_buckets": 128' "$work/auto/config.json" || fault "other buckets after a resume"
expect 0 train --config "$work/auto.json" --data "$work/long" --output "$work/factors" --num-buckets 4,16 --stop-after 1 --sample-every 0
tr -d ' \n' <"$work/factors/config.json" | grep -q '"num_buckets":\[4,16\]' || fault "--num-buckets is not in the file"

# A damaged model: which file, what is wrong, exit code 1, and the file left as it was.
cp -r "$work/a" "$work/damaged"
head -c 1000 "$work/a/model.safetensors" >"$work/damaged/model.safetensors"
expect 1 generate --model "$work/damaged" --prompt x
says err "damaged/model.safetensors"
test "$(wc -c <"$work/damaged/model.safetensors")" -eq 1000 || fault "a damaged file was changed"

# Other types of number: half the bytes, and a model that still evaluates.
expect 0 convert --model "$work/a" --output "$work/half" --dtype bf16
expect 0 inspect --model "$work/half"
says out "bf16"
expect 0 convert --model "$work/half" --output "$work/shards" --shard-size 4KiB
if [ ! -f "$work/shards/model.safetensors.index.json" ]; then fault "no index of shards"; fi
expect 0 generate --model "$work/shards" --prompt x --tokens 3
cp "$work/a/model.safetensors" "$work/untouched"
expect 2 convert --model "$work/a" --output "$work/a/"
expect 2 convert --model "$work/a" --output "$work/half" --dtype f16
says err 'holds a config.json already'
cmp -s "$work/a/model.safetensors" "$work/untouched" || fault 'convert wrote over its model'
if (ulimit -f 1 && "$program" convert --model "$work/a" --output "$work/cut") >"$work/out" 2>"$work/err"; then fault 'convert wrote a file that is too large'; fi
says err 'cannot write'
if [ -e "$work/cut/config.json" ]; then fault 'what convert could not finish looks like a model'; fi
expect 2 convert --model "$work/a" --output "$work/a"
expect 0 devices
says out "cuda"
expect 0 devices --json
says out '"cuda": '

# Verify: recorded numbers of another implementation, and what it says when they are too far off.
vectors=$source/tests/vectors/lm_train_local_only
expect 0 verify --model "$vectors" --reference "$vectors/io.safetensors"
says out "logits "
says out "tensors within their limits"
expect 3 verify --model "$vectors" --reference "$vectors/io.safetensors" --tolerance 1e-30
says out "NO"
expect 0 verify --model "$vectors" --reference "$vectors/io.safetensors" --stream float32 --json
says out '"passed": true'
cli_done
