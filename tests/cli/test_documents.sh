#!/bin/sh
# Packed documents end to end: rows, files and separators; a run that is interrupted and resumed; the evaluation of its held-out documents; and examples of like
# length in a batch.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

cat >"$work/tiny.json" <<'END'
{
  "model": {
    "vocab_size": 258, "hidden_size": 16, "attn_layers": ["local", "lsh"], "num_attention_heads": 2, "attention_head_size": 8,
    "feed_forward_size": 16, "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64, "is_decoder": true,
    "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "num_buckets": 4, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0
  },
  "train": {"steps": 8, "batch": 2, "length": 32, "rate": 0.01, "warmup": 2, "eval_every": 4, "log_every": 1, "valid_bytes": 100}
}
END
i=0
mkdir "$work/folder"
while [ $i -lt 40 ]; do
    printf 'document %d says a thing or two' $i >"$work/folder/$i"
    printf '{"text": "document %d says a thing or two", "label": "%d"}\n' $i $((i % 2)) >>"$work/rows.jsonl"
    printf 'document %d says a thing or two\n--\n' $i >>"$work/one"
    i=$((i + 1))
done

# The run is the same whether it is interrupted or not, and judging its held-out documents says what it said.
expect 0 train --config "$work/tiny.json" --pack --data "$work/rows.jsonl" --output "$work/a" --seed 5
says err "documents of"
expect 0 train --config "$work/tiny.json" --pack --data "$work/rows.jsonl" --output "$work/b" --seed 5 --stop-after 3
expect 0 train --resume --output "$work/b"
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" || fault "a resumed run makes another model"
expect 0 eval --model "$work/a" --pack --data "$work/rows.jsonl" --last-bytes 100 --seed 5 --json
loss=$(sed -n 's/.*"loss": \([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1/p' "$work/out")
grep '"is_best": true' "$work/a/metrics.jsonl" | tail -n 1 | grep -q "\"loss\": $loss" || fault "eval says $loss, the run another: $(tail -n 1 "$work/a/metrics.jsonl")"

# Files of a folder, and parts of a file.
expect 0 train --config "$work/tiny.json" --pack --data "$work/folder" --output "$work/files" --steps 1
says err "36 documents of"
expect 0 train --config "$work/tiny.json" --pack --data "$work/one" --document-separator '\n--\n' --output "$work/parts" --steps 1
says err "36 documents of"
expect 0 train --config "$work/tiny.json" --task masked-lm --pack --data "$work/folder" --output "$work/masked" --steps 1
expect 0 eval --model "$work/masked" --pack --data "$work/folder"
says out "accuracy"

# Examples of like length.
expect 0 train --config "$work/tiny.json" --task classify --batch-by-length --data "$work/rows.jsonl" --output "$work/classes" --steps 2
grep -q '"padding": ' "$work/classes/metrics.jsonl" || fault "metrics.jsonl has no padding"
expect 2 train --config "$work/tiny.json" --task classify --pack --data "$work/rows.jsonl" --output "$work/no" --steps 1
says err "pack is for language models"
expect 2 train --config "$work/tiny.json" --document-separator x --data "$work/one" --output "$work/no" --steps 1
says err "goes with pack"
expect 2 eval --model "$work/a" --document-separator x --data "$work/one"
says err "goes with pack"
expect 2 eval --model "$work/classes" --pack --data "$work/rows.jsonl"
says err "packed documents are for language models"
cli_done
