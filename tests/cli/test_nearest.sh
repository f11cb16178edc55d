#!/bin/sh
# Arithmetic with words, over bytes and over pieces.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

model=$source/models/quickstart
i=0
while [ $i -lt 40 ]; do
    printf 'the king saw %d sheep and the woman saw the man, café\n' $i
    i=$((i + 1))
done >"$work/text"

expect 0 nearest --model "$model" --data "$work/text" 'king - man + woman' --top 3
if [ "$(wc -l <"$work/out")" -ne 4 ]; then fault "not a head and three words: $(cat "$work/out")"; fi
says err '8 words stand often enough'
if grep -q -w -e king -e man -e woman "$work/out"; then fault "the words of the expression are listed: $(cat "$work/out")"; fi
expect 0 nearest --model "$model" --data "$work/text" --layer 2 --center --pool last --limit 600 --quiet --json the
says out '"vectors": "context"'
says out '"layer": 2'
says out '"word": "café"'
expect 0 nearest --model "$model" --data "$work/text" --vectors table --min-count 1 --most-words 4 --json horse
says out '"vectors": "table"'
says out '"words": 4'
says out '"tokens": 0'
expect 2 nearest --model "$model" --data "$work/text" horse
says err "'horse' does not stand in the text"
expect 2 nearest --model "$model" the
says err "the model's tokens are bytes"
expect 2 nearest --model "$model" --data "$work/text" 'king woman'
says err 'a sign is missing'
expect 2 nearest --model "$model" --data "$work/text" --layer 9 king
says err 'layer is 9, but the model has 4'
misuse '--vectors context needs --data PATH, the text that the words stand in' nearest --model "$model" --vectors context king
expect 2 nearest --model "$model"

# The example's two senses of a word are apart in the third layer and alike in the embeddings.
awk -F '\t' 'n[$1]++ < 10' "$source/examples/embeddings/well.tsv" >"$work/well.tsv"
"$source/examples/embeddings/homograph" --program "$program" "$work/well.tsv" >"$work/out" || fault "homograph fails: $(cat "$work/out")"
says out 'well: 10 places of "good", 10 places of "water"'
awk '$1 == "embeddings" { alike = $3 == "1.000" } $1 == 3 { apart = $4 > 0.3 && $5 < -0.3 && $6 > 80 } END { exit !(alike && apart) }' "$work/out" ||
    fault "the senses are not apart: $(cat "$work/out")"

# Pieces: the vocabulary has words of its own.
run tokenize --train --data "$work/text" --vocab-size 40 --output "$work/vocabulary" --type bpe
if grep -q 'without SentencePiece' "$work/err"; then
    echo 'this build is without SentencePiece'
    cli_done
    exit 0
fi
cat >"$work/tiny.json" <<'END'
{
  "model": {
    "vocab_size": 40, "hidden_size": 16, "attn_layers": ["local", "lsh"], "num_attention_heads": 2, "attention_head_size": 8,
    "feed_forward_size": 16, "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64,
    "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "is_decoder": true, "num_buckets": 8
  },
  "train": {"steps": 2, "batch": 1, "length": 32, "rate": 0.01, "warmup": 0, "eval_every": 0, "valid_bytes": 400}
}
END
expect 0 train --config "$work/tiny.json" --tokenizer "$work/vocabulary" --data "$work/text" --output "$work/pieces"
expect 0 nearest --model "$work/pieces" --data "$work/text" 'king - man' --json
says out '"word": "woman"'
says out '"words": 8'
expect 0 nearest --model "$work/pieces" king --json
says out '"vectors": "table"'
says out '"count": 0'
cli_done
