#!/bin/sh
# tokenize both ways and its training, and a model of pieces through every command that takes text: train, resume, eval, generate, convert.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

# Bytes: no file is needed, nothing is lost.
model=$source/models/quickstart
expect 0 tokenize --model "$model" --text 'ab'
says out '99 100'
expect 0 tokenize --model "$model" --text '99 100' --decode
says out 'ab'
expect 0 tokenize --model "$model" --text 'a' --json
says out '"begin": 0'
says out '"vocabulary": 258'
expect 2 tokenize --model "$model" --text '300' --decode
says err 'token 1 is 300, but ids go from 0 to 257'
expect 2 tokenize --model "$model" --text 'x' --decode
says err 'is not a token id'
expect 1 tokenize --model "$work/none" --text 'x'
says err 'is neither a model directory'
misuse '--model is missing (or --train, for a new vocabulary)' tokenize --text x
misuse '--train needs --data and --output' tokenize --train
misuse '--text and --data exclude each other; give one of them' tokenize --model "$model" --text x --data "$work/x"

i=0
while [ $i -lt 400 ]; do
    printf 'line %d of a text that says the same again and again, caf\303\251\n' $i
    i=$((i + 1))
done >"$work/text"
run tokenize --train --data "$work/text" --vocab-size 64 --output "$work/vocabulary" --type bpe --special '<mask>'
if grep -q 'without SentencePiece' "$work/err"; then
    echo 'this build is without SentencePiece'
    cli_done
    exit 0
fi
if [ $code -ne 0 ]; then fault "training a vocabulary: $(cat "$work/err")"; fi
for file in spiece.model tokenizer_config.json; do test -s "$work/vocabulary/$file" || fault "no $file"; done
printf '   ' >"$work/blank"
expect 0 tokenize --model "$work/vocabulary" --text '<mask>' --json
if ! grep -q '"mask": 4' "$work/out"; then fault "<mask> is not the vocabulary's mask: $(tr -d '\n' <"$work/out")"; fi
for type in unigram bpe; do
    expect 2 tokenize --train --data "$work/blank" --vocab-size 64 --output "$work/v" --type $type
    says err 'there is no text to learn from'
done
expect 2 tokenize --train --data "$work/text" --vocab-size 100000 --output "$work/v.model"
says err 'Vocabulary size too high'
expect 0 tokenize --model "$work/vocabulary" --data "$work/text" --lines
if [ "$(wc -l <"$work/out")" -ne 400 ]; then fault "400 lines give $(wc -l <"$work/out")"; fi
cp "$work/out" "$work/ids"
expect 0 tokenize --model "$work/vocabulary" --data "$work/ids" --lines --decode
cmp -s "$work/out" "$work/text" || fault "ids do not give the text back: $(head -2 "$work/out")"
expect 0 tokenize --model "$work/vocabulary/spiece.model" --text 'a <mask>' --pieces
says out '<mask>'
expect 0 tokenize --model "$work/vocabulary" --text 'same' --json
says out '"pad": 3'
says out '"eos": 2'

cat >"$work/tiny.json" <<'END'
{
  "description": "as small as it goes",
  "model": {
    "model_type": "reformer", "is_decoder": true, "vocab_size": 258, "hidden_size": 16, "attn_layers": ["local", "lsh"],
    "num_attention_heads": 2, "attention_head_size": 8, "feed_forward_size": 16, "axial_pos_shape": [8, 8],
    "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8,
    "num_buckets": 8, "num_hashes": 1, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0
  },
  "train": {"steps": 8, "batch": 2, "length": 32, "rate": 0.01, "warmup": 2, "eval_every": 4, "log_every": 1, "valid_bytes": 800}
}
END
# A new model takes its number of ids from the tokenizer, which goes with it wherever it is saved.
expect 0 train --config "$work/tiny.json" --tokenizer "$work/vocabulary" --data "$work/text" --output "$work/a" --seed 5 --sample-every 4
says err 'vocab_size is 64, as the tokenizer has (the configuration says 258)'
grep -q '"pad_token_id": 3' "$work/a/config.json" || fault 'the padding token is not that of the tokenizer'
for folder in "$work/a" "$work/a/checkpoints/step-8"; do
    cmp -s "$work/vocabulary/spiece.model" "$folder/spiece.model" || fault "$folder is without its tokenizer"
done
expect 0 train --config "$work/tiny.json" --tokenizer "$work/vocabulary/spiece.model" --data "$work/text" --output "$work/b" --seed 5 --stop-after 3
expect 0 train --resume --output "$work/b"
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" || fault "a resumed run makes another model"
expect 0 train --init-from "$work/a" --data "$work/text" --output "$work/c" --length 32 --steps 1 --quiet
cmp -s "$work/vocabulary/spiece.model" "$work/c/spiece.model" || fault "fine-tuning loses the tokenizer"
expect 0 eval --model "$work/a" --data "$work/text" --last-bytes 800 --json
says out '"bits_per_byte"'
expect 0 generate --model "$work/a" --prompt 'line 7' --tokens 8 --seed 3 --quiet
cp "$work/out" "$work/written"
expect 0 generate --model "$work/a" --prompt '  ' --tokens 8 --seed 3 --quiet
expect 0 generate --model "$work/a" --tokens 8 --seed 3 --quiet
run convert --model "$work/a" --output "$work/bin" --to bin
if ! grep -q libzip "$work/err"; then
    test -s "$work/bin/pytorch_model.bin" || fault 'no pytorch_model.bin'
    expect 0 generate --model "$work/bin" --prompt 'line 7' --tokens 8 --seed 3 --quiet
    cmp -s "$work/out" "$work/written" || fault 'the converted model writes something else'
    expect 0 convert --model "$work/bin" --output "$work/back"
    cmp -s "$work/a/model.safetensors" "$work/back/model.safetensors" || fault 'there and back is another model'
    cmp -s "$work/a/spiece.model" "$work/back/spiece.model" || fault 'the tokenizer was lost on the way'
fi
# Another model's tokenizer.
expect 0 tokenize --train --data "$source/README.md" --vocab-size 300 --output "$work/large"
cp "$work/large/spiece.model" "$work/bin/spiece.model"
expect 1 generate --model "$work/bin" --prompt x
says err "the tokenizer has 300 pieces, but the model's vocab_size is 64"
cli_done
