#!/bin/sh
# Data that are made, end to end: a run that is interrupted and resumed, its figures, the evaluation of its model; a file of that name.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

cat >"$work/tiny.json" <<'END'
{
  "model": {
    "vocab_size": 258, "hidden_size": 16, "attn_layers": ["lsh"], "num_attention_heads": 2, "attention_head_size": 8,
    "feed_forward_size": 16, "axial_pos_embds": false, "max_position_embeddings": 64, "is_decoder": true,
    "lsh_attn_chunk_length": 8, "num_buckets": 4, "hidden_dropout_prob": 0.0
  },
  "train": {"data": "recall", "steps": 6, "batch": 2, "length": 64, "warmup": 2, "eval_every": 3, "log_every": 1, "eval_tokens": 256}
}
END
expect 0 train --config "$work/tiny.json" --output "$work/a" --seed 5
says err "vocab_size is 128, as recall has"
says err "sequence accuracy "
expect 0 train --config "$work/tiny.json" --output "$work/b" --seed 5 --stop-after 2
expect 0 train --resume --output "$work/b"
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" || fault "a resumed run makes another model"
grep -q '"drill": "recall"' "$work/a/config.json" || fault "config.json does not say what was learned"
grep -q '"sequence_accuracy": ' "$work/a/metrics.jsonl" || fault "metrics.jsonl has no accuracy of sequences"

expect 0 eval --model "$work/a" --data recall --distance 32 --sequences 9 --batch 4 --by-position 40,60 --json
says out '"windows": 9'
says out '"tokens": 144'
says out '"sequence_accuracy": '
says out '"by_position": ['
expect 0 eval --model "$work/a" --data recall --pairs 3 --sequences 9 --json
says out '"tokens": 27'
expect 2 eval --model "$work/a" --data copy --pairs 3
says err "pairs is for recall"
expect 0 eval --model "$work/a" --data copy --sequences 2 --by-position 40
says out "positions 40"
expect 2 eval --model "$work/a" --data copy --sequences 2 --distance 63
says err "expected 2 to 62"
expect 2 eval --model "$work/a" --data copy --last-bytes 10
says err "last_bytes and pack are for texts"
expect 1 generate --model "$work/a" --prompt x --tokens 2
says err "vocab"

# A recipe for texts: what only they have is left out, unless it is said with the data.
sed 's/"data": "recall"/"valid_bytes": 50, "sample_every": 3/' "$work/tiny.json" >"$work/book.json"
expect 0 train --config "$work/book.json" --data copy --output "$work/e" --steps 1
says err "valid-bytes of $work/book.json is for texts, and copy is made: left out"
says err "sample-every of"
says err " bits/token  norm "
grep -q '"valid_bytes": 0' "$work/e/train.json" || fault "train.json has what was left out"
expect 0 train --resume --output "$work/e" --steps 2
expect 0 train --config "$work/book.json" --data copy --output "$work/f" --steps 1 --json
says out '"best_bits_per_byte": null'
expect 2 train --config "$work/book.json" --data copy --valid-bytes 50 --output "$work/g" --steps 1
says err "valid is for texts, but the data are made (copy)"
expect 2 train --config "$work/tiny.json" --data recall --sequential --output "$work/g" --steps 1
says err "sequential is for texts"
sed 's/"data": "recall"/"data": "recall", "valid_bytes": 50/' "$work/tiny.json" >"$work/both.json"
expect 2 train --config "$work/both.json" --output "$work/g" --steps 1
says err "valid is for texts"

# A file is ./copy.
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
cd "$work"
printf 'a text that is called as data that are made are called, and is long enough for a window or two of sixty-four' >copy
cat copy copy copy >more && mv more copy
expect 0 train --config "$work/tiny.json" --data copy --output "$work/c" --steps 1
says err "the file of that name is ./copy"
expect 0 train --config "$work/tiny.json" --data ./copy --output "$work/d" --steps 1
grep -q '"drill"' "$work/d/config.json" && fault "a text is taken for a drill"
cli_done
