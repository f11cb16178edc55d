#!/bin/sh
# Ways to write: many prompts, rules, beams, the best of several, log-probabilities, scores, windows, and what a model says of itself.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

cat >"$work/tiny.json" <<'END'
{
  "model": {
    "model_type": "reformer", "is_decoder": true, "vocab_size": 258, "hidden_size": 16, "attn_layers": ["local", "lsh"],
    "num_attention_heads": 2, "attention_head_size": 8, "feed_forward_size": 16, "axial_pos_shape": [8, 8],
    "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8,
    "num_buckets": 8, "num_hashes": 1, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0
  },
  "train": {"steps": 12, "batch": 2, "length": 32, "rate": 0.01, "warmup": 2, "eval_every": 0, "valid_bytes": 400}
}
END
i=0
while [ $i -lt 60 ]; do
    printf 'line %d of a text that says the same again and again\n' $i
    i=$((i + 1))
done >"$work/text"
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/a" --seed 5 --quiet
model=$work/a

# Many prompts: one line of JSON a text, in their order, each as it is alone.
printf 'line\n\na text that is longer\r\nsays' >"$work/prompts"
expect 0 generate --model "$model" --prompts "$work/prompts" --tokens 9 --seed 3 --quiet
cp "$work/out" "$work/lines"
if [ "$(wc -l <"$work/lines")" -ne 4 ]; then fault "not a line a prompt: $(cat "$work/lines")"; fi
number=0
for prompt in 'line' '' 'a text that is longer' 'says'; do
    number=$((number + 1))
    expect 0 generate --model "$model" --prompt "$prompt" --tokens 9 --seed 3 --json --quiet
    alone=$(sed -n 's/^      "text": \(.*[^,]\),*$/\1/p' "$work/out")
    sed -n "${number}p" "$work/lines" | grep -qF -- "\"text\": $alone, " || fault "prompt $number: not $alone: $(sed -n "${number}p" "$work/lines")"
    sed -n "${number}p" "$work/lines" | grep -qF -- "{\"prompt\": $((number - 1)), \"sample\": 0, " || fault "line $number is out of order"
done
printf '{"prompt": "line"}\n{"id": 7, "prompt": ""}\n' >"$work/objects"
expect 0 generate --model "$model" --prompts "$work/objects" --tokens 9 --seed 3 --quiet --batch 1 --output "$work/file"
head -2 "$work/lines" | cmp -s - "$work/file" || fault "objects with prompts give other lines: $(cat "$work/file")"
if [ -s "$work/out" ]; then fault "--output writes to standard output too"; fi
printf '{"prompt": "line"}\n{"prompt": 5}\n' >"$work/objects"
expect 1 generate --model "$model" --prompts "$work/objects"
says err "line 2 is no JSON object with a text as its \"prompt\""
: >"$work/empty"
expect 1 generate --model "$model" --prompts "$work/empty"
says err "there is no prompt in it"

# Rules. A bias that no score outweighs; the same by the token's text; no token twice.
expect 0 generate --model "$model" --prompt x --tokens 4 --seed 1 --quiet --logit-bias 103=1000
if [ "$(cat "$work/out")" != eeee ]; then fault "a bias for e gives $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt x --tokens 4 --seed 1 --quiet --logit-bias e=1000
if [ "$(cat "$work/out")" != eeee ]; then fault "a bias for the text e gives $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt x --tokens 4 --seed 1 --quiet --logit-bias '"7"=1000'
if [ "$(cat "$work/out")" != 7777 ]; then fault "a bias for the text 7 gives $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt x --tokens 4 --seed 1 --quiet --logit-bias e=1000 --logit-bias f=990 --frequency-penalty 6
if [ "$(cat "$work/out")" != eefe ]; then fault "a penalty for frequency gives $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt e --tokens 3 --seed 1 --quiet --logit-bias e=1000 --logit-bias f=990 --presence-penalty 20
if [ "$(cat "$work/out")" != efe ]; then fault "a penalty for presence gives $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt x --tokens 3 --seed 1 --quiet --logit-bias e=1000 --logit-bias f=990 --logit-bias g=980 --no-repeat-ngram 1
if [ "$(cat "$work/out")" != efg ]; then fault "no token twice gives $(cat "$work/out")"; fi
expect 2 generate --model "$model" --prompt x --logit-bias 900=1
says err "tokens 0 to 257"
expect 2 generate --model "$model" --prompt x --logit-bias ee=1
says err "'ee' is 2 tokens of this model, not one"
expect 2 generate --model "$model" --prompt x --logit-bias e
says err "expected TOKEN=NUMBER"

# Log-probabilities, beams, the best of several, how likely the prompt is.
expect 0 generate --model "$model" --prompt line --tokens 5 --beams 3 --samples 2 --length-penalty 0.5 --early-stopping --json --logprobs 0 --seed 1
if [ "$(grep -c '"logprob": -' "$work/out")" -ne 12 ]; then fault "no log-probability for each token and text: $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt line --tokens 3 --temperature 0 --json --logprobs 2 --seed 1
if [ "$(grep -c '"likeliest": ' "$work/out")" -ne 3 ]; then fault "no likeliest tokens: $(cat "$work/out")"; fi
expect 0 generate --model "$model" --prompt line --tokens 5 --samples 2 --best-of 4 --seed 1
says out "--- sample 2 ---"
expect 0 generate --model "$model" --prompt 'line 1 of' --score --quiet
says out " of 8 tokens, "
says out " bits a byte"
expect 0 generate --model "$model" --prompt 'line 1 of' --score --tokens 3 --json --seed 1
for key in samples prompt bits_per_byte scored_tokens; do says out "\"$key\": "; done
says out '"logprob": null'

# Beyond the positions.
expect 2 generate --model "$model" --prompt x --tokens 100
says err "64 positions"
says err "with a window"
expect 0 generate --model "$model" --prompt x --tokens 150 --window 20 --json --seed 1
says out '"new_tokens": 150'

# generation_config.json stands below everything else, and goes where the model goes.
printf '{"do_sample": false, "max_new_tokens": 7, "of_others": [1]}' >"$model/generation_config.json"
expect 0 generate --model "$model" --prompt line --json --seed 1
says out '"new_tokens": 7'
cp "$work/out" "$work/said"
expect 0 generate --model "$model" --prompt line --json --seed 2 --temperature 0 --tokens 7
if [ "$(grep '"text"' "$work/out")" != "$(grep '"text"' "$work/said")" ]; then fault "do_sample false is not temperature 0"; fi
expect 0 generate --model "$model" --prompt line --json --seed 1 --tokens 3
says out '"new_tokens": 3'
REFORMER_TOKENS=4
export REFORMER_TOKENS
expect 0 generate --model "$model" --prompt line --json --seed 1
says out '"new_tokens": 4'
unset REFORMER_TOKENS
expect 0 convert --model "$model" --output "$work/converted"
says_file=$work/converted/generation_config.json
grep -qF '"of_others"' "$says_file" || fault "convert drops what generation_config.json says"
printf '{"temperature": "hot"}' >"$model/generation_config.json"
expect 1 generate --model "$model" --prompt line
says err "generation_config.json: temperature"
cli_done
