#!/bin/sh
# The tasks end to end: a masked language model is trained, interrupted, resumed, judged, and fills gaps; vectors in every format;
# classifiers and question answerers, made from its weights, are used.
. "$(dirname "$0")/common.sh"
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

cat >"$work/tiny.json" <<'END'
{
  "model": {
    "vocab_size": 258, "hidden_size": 16, "attn_layers": ["local", "lsh"], "num_attention_heads": 2, "attention_head_size": 8,
    "feed_forward_size": 16, "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 64,
    "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "local_num_chunks_after": 1, "lsh_num_chunks_after": 1,
    "num_buckets": 8, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0
  },
  "train": {"task": "masked-lm", "steps": 12, "batch": 2, "length": 32, "rate": 0.01, "warmup": 2, "eval_every": 6, "log_every": 1,
            "accumulate": 2, "valid_bytes": 400}
}
END
i=0
while [ $i -lt 60 ]; do
    printf 'line %d of a text that says the same again and again\n' $i
    i=$((i + 1))
done >"$work/text"

# Trained; stopped and resumed to the same bits; what it is stands in config.json.
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/a" --seed 5 --sample-every 4
says err "validation loss "
grep -q '"ReformerForMaskedLM"' "$work/a/config.json" || fault "config.json names another class"
grep -q '"mask_token": 1' "$work/a/config.json" || fault "the mask token is not recorded"
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/b" --seed 5 --stop-after 5
expect 0 train --resume --output "$work/b"
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" || fault "a resumed run makes another model"
expect 0 eval --model "$work/a" --data "$work/text" --length 32
says out "accuracy"
expect 1 generate --model "$work/a" --prompt line --tokens 4
says err "every token sees the later ones"

# Whole words: recorded, resumed to the same bits, judged in the same way every time.
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/words" --seed 5 --mask-whole-words
grep -q '"mask_whole_words": true' "$work/words/config.json" || fault "that words are masked is not recorded"
cmp -s "$work/a/model.safetensors" "$work/words/model.safetensors" && fault "whole words make no difference"
expect 0 train --config "$work/tiny.json" --data "$work/text" --output "$work/words-b" --seed 5 --mask-whole-words --stop-after 5
expect 0 train --resume --output "$work/words-b"
cmp -s "$work/words/model.safetensors" "$work/words-b/model.safetensors" || fault "a resumed run of whole words makes another model"
expect 0 eval --model "$work/words" --data "$work/text" --length 32
grep '^loss' "$work/out" >"$work/first"
expect 0 eval --model "$work/words" --data "$work/text" --length 32 --batch 3
grep '^loss' "$work/out" | cmp -s - "$work/first" || fault "another evaluation masks other words"
expect 2 train --task lm --init-from "$work/a" --data "$work/text" --output "$work/never" --steps 2 --length 32 --mask-whole-words
says err "whole words are to be masked, but the task is lm"

# Another task from its weights: the head is kept, and the direction is changed.
expect 0 train --task lm --init-from "$work/a" --data "$work/text" --output "$work/lm" --steps 2 --length 32 --warmup 0
says err "is_decoder: true from now on"
expect 0 generate --model "$work/lm" --prompt line --tokens 4
expect 0 train --task masked-lm --init-from "$work/lm" --data "$work/text" --output "$work/again" --steps 1 --length 32 --warmup 0
says err "is_decoder: false from now on"
says err "local_num_chunks_after: 1 from now on"
tr -d ' \n' <"$work/again/config.json" | grep -q '"is_decoder":false.*"lsh_num_chunks_after":1' || fault "config.json has another direction"

# The same without training: there and back the weights are as they were; another head is said.
expect 0 convert --model "$work/lm" --task masked-lm --output "$work/there"
says err "is_decoder: false from now on"
expect 0 fill --model "$work/there" --text 'li[MASK]e'
expect 0 convert --model "$work/there" --task lm --output "$work/back"
says err "is_decoder: true from now on"
cmp -s "$work/lm/model.safetensors" "$work/back/model.safetensors" || fault "other weights after two conversions"
expect 0 generate --model "$work/back" --prompt line --tokens 4
expect 0 convert --model "$work/lm" --task classify --direction bidirectional --output "$work/bare"
says err "left out, not of a ReformerForSequenceClassification: lm_head"
says err "starts from first values: classifier"
expect 2 convert --model "$work/lm" --direction bidirectional --output "$work/wrong"
says err "the task masked-lm can"

# Gaps.
expect 0 fill --model "$work/a" --text 'li[MASK]e 5[MASK]' --top 3
if [ "$(wc -l <"$work/out")" -ne 3 ]; then fault "not two places and a text: $(cat "$work/out")"; fi
expect 0 fill --model "$work/a" --text 'li_e' --marker _ --json
says out '"position": 2'
says out '"probability": '
expect 2 fill --model "$work/a" --text 'line'
says err "nothing is missing"
expect 2 fill --model "$work/lm" --text 'l[MASK]ne'
says err "ReformerForMaskedLM is needed"

# Vectors.
printf 'one\ntwo words\n' >"$work/lines"
expect 0 embed --model "$work/a" --data "$work/lines" --lines
if [ "$(wc -l <"$work/out")" -ne 2 ]; then fault "not a vector a line"; fi
says out '{"text": 1, "embedding": ['
expect 0 embed --model "$work/a" --text one --pool none --layer 1
says out '"token": 2, "id": 103, "begin": 2, "end": 3, "string": "e"'
printf 'one\n\ntwo\n' >"$work/blank"
expect 2 embed --model "$work/a" --data "$work/blank" --lines
says err 'line 2 has no token'
expect 0 embed --model "$work/a" --data "$work/lines" --lines --normalize --output "$work/v.npy"
if [ "$(wc -c <"$work/v.npy")" -ne $((128 + 2 * 32 * 4)) ]; then fault "v.npy has $(wc -c <"$work/v.npy") bytes"; fi
expect 0 embed --model "$work/a" --data "$work/lines" --lines --output "$work/v.safetensors"
says_count=$(head -c 200 "$work/v.safetensors" | grep -c '"shape":\[2,32\]' || true)
if [ "$says_count" -ne 1 ]; then fault "v.safetensors has another header"; fi
misuse '--output is "v.txt", expected a name that ends in .npy or .safetensors' embed --model "$work/a" --text x --output v.txt
misuse '--text and --data exclude each other; give one of them' embed --model "$work/a" --text x --data y
expect 2 embed --model "$work/a" --text x --layer 3
says err "layer is 3, but the model has 2"

# Labels: a table or JSON lines, from scratch and from the masked model's weights; to the same bits when resumed.
i=0
printf 'id\tsentence\tmood\n' >"$work/moods.tsv"
while [ $i -lt 40 ]; do
    if [ $((i % 2)) -eq 0 ]; then mood=glad word=good; else mood=sad word=poor; fi
    printf '{"text": "number %d was %s", "label": "%s"}\n' $i $word $mood >>"$work/moods.jsonl"
    printf '%d\tnumber %d was %s\t%s\n' $i $i $word $mood >>"$work/moods.tsv"
    printf '{"question": "who?", "context": "caf\303\251 %d, then Ann%d came", "answer": "Ann%d"}\n' $i $i $i >>"$work/who.jsonl"
    i=$((i + 1))
done
for kind in "moods.jsonl" "moods.tsv --text-field sentence --label-field mood"; do
    # shellcheck disable=SC2086 # the options are words
    expect 0 train --config "$work/tiny.json" --task classify --output "$work/mood" --seed 2 --batch 4 --steps 60 --eval-every 30 --data "$work"/$kind
    expect 0 classify --model "$work/mood" --text 'number 3 was poor' --all
    says out "glad"
    says out "sad"
    mv "$work/mood" "$work/mood-${kind%% *}"
done
cmp -s "$work/mood-moods.jsonl/model.safetensors" "$work/mood-moods.tsv/model.safetensors" || fault "a table and JSON lines make other models"
grep -q '"0": "glad"' "$work/mood-moods.tsv/config.json" || fault "id2label does not name the labels"
expect 0 train --config "$work/tiny.json" --task classify --output "$work/part" --seed 2 --batch 4 --steps 60 --eval-every 30 --data "$work/moods.jsonl" --stop-after 13
expect 0 train --resume --output "$work/part"
cmp -s "$work/mood-moods.jsonl/model.safetensors" "$work/part/model.safetensors" || fault "a resumed classifier is another one"
expect 0 eval --model "$work/part" --data "$work/moods.jsonl" --batch 3 --json
says out '"task": "classify"'
says out '"examples": 40'
for key in loss accuracy macro_f1 matthews; do says out "\"$key\": "; done
expect 0 train --config "$work/tiny.json" --task classify --output "$work/by" --seed 2 --batch 4 --steps 20 --eval-every 5 --data "$work/moods.jsonl" --best-by accuracy
says err "macro f1 "
says err "matthews "
says out "best by     accuracy "
grep -q '"macro_f1": ' "$work/by/metrics.jsonl" || fault "metrics.jsonl has no F1"
expect 0 train --config "$work/tiny.json" --task classify --output "$work/by1" --seed 2 --batch 4 --steps 20 --eval-every 5 --data "$work/moods.jsonl" --best-by accuracy --stop-after 7
expect 0 train --resume --output "$work/by1"
for run in by by1; do grep -o '"is_best": [a-z]*' "$work/$run/metrics.jsonl" >"$work/$run.best"; done
cmp -s "$work/by.best" "$work/by1.best" || fault "a resumed run chooses another best model: $(cat "$work/by.best" "$work/by1.best")"
expect 2 train --config "$work/tiny.json" --task classify --output "$work/by2" --data "$work/moods.jsonl" --best-by perplexity
says err 'best_by is "perplexity", expected a figure of the task classify: loss, accuracy, macro_f1, matthews'

# Several labels, and numbers.
i=0
while [ $i -lt 40 ]; do
    if [ $((i % 3)) -eq 0 ]; then several='"round", "red"'; else several='"red"'; fi
    printf '{"text": "number %d", "label": [%s]}\n' $i "$several" >>"$work/several.jsonl"
    printf '{"text": "number %d", "label": %d}\n' $i $((i % 7)) >>"$work/whole.jsonl"
    printf '{"text": "number %d", "label": %d.5}\n' $i $((i % 7)) >>"$work/values.jsonl"
    i=$((i + 1))
done
for kind in several values; do
    expect 0 train --config "$work/tiny.json" --task classify --output "$work/$kind" --seed 2 --batch 4 --steps 20 --data "$work/$kind.jsonl"
    expect 0 eval --model "$work/$kind" --data "$work/$kind.jsonl" --batch 5
    cp "$work/out" "$work/$kind.out"
    expect 0 bench step --model "$work/$kind" --length 32 --repeats 1
    says out 'loss '
    expect 0 plan --model "$work/$kind" --length 32 --time
done
grep -q '^subset accuracy  ' "$work/several.out" || fault "no subset accuracy: $(cat "$work/several.out")"
grep -q '^micro f1  ' "$work/several.out" || fault "no micro F1: $(cat "$work/several.out")"
grep -q '^mean squared error  ' "$work/values.out" || fault "no mean squared error: $(cat "$work/values.out")"
grep -q '^spearman  ' "$work/values.out" || fault "no rank correlation: $(cat "$work/values.out")"
expect 0 eval --model "$work/values" --data "$work/whole.jsonl" --json
says out '"pearson": '
expect 1 eval --model "$work/values" --data "$work/several.jsonl"
says err "its labels are lists of texts, but the model's are numbers"
expect 1 eval --model "$work/several" --data "$work/moods.jsonl"
says err "its labels are one of many (texts or integers), but the model's are lists of texts"
expect 0 classify --model "$work/part" --data "$work/lines" --lines --json
says out '"label": "sad"'
expect 0 train --task classify --init-from "$work/a" --output "$work/fine" --data "$work/moods.jsonl" --steps 3 --length 64 --warmup 0
says err "left out, not of a ReformerForSequenceClassification: lm_head.bias, lm_head.decoder.weight"
says err "starts from first values: classifier.dense.bias"
printf '{"text": "a", "label": "x"}\n{"text": "b"}\n' >"$work/wrong.jsonl"
expect 1 train --config "$work/tiny.json" --task classify --output "$work/wrong" --data "$work/wrong.jsonl"
says err 'row 2: expected texts "text"'

# Pairs: without a table of token types the second text follows the first; with one it is told apart by it, in training and in use.
i=0
while [ $i -lt 40 ]; do
    if [ $((i % 2)) -eq 0 ]; then same=yes other=$((i % 7)); else same=no other=$((i % 7 + 1)); fi
    printf '{"a": "a %d", "text_pair": "b %d", "label": "%s"}\n' $((i % 7)) $other $same >>"$work/same.jsonl"
    i=$((i + 1))
done
sed 's/"hidden_size"/"reformer_c": {"type_vocab_size": 2}, "hidden_size"/' "$work/tiny.json" >"$work/types.json"
for kind in tiny types; do
    expect 0 train --config "$work/$kind.json" --task classify --text-field a --output "$work/same-$kind" --seed 2 --batch 4 --steps 12 --data "$work/same.jsonl"
    expect 0 eval --model "$work/same-$kind" --data "$work/same.jsonl" --text-field a
    expect 0 classify --model "$work/same-$kind" --text 'a 3' --text-pair 'b 3' --all
    cp "$work/out" "$work/first"
    printf '{"a": "a 3", "text_pair": "b 3"}\n{"a": "a 3b 3"}\n' >"$work/rows"
    expect 0 classify --model "$work/same-$kind" --data "$work/rows" --lines --text-field a --all
    head -n 1 "$work/out" | cmp -s - "$work/first" || fault "a pair in a line is judged otherwise than one by --text-pair"
    tail -n 1 "$work/out" >"$work/second"
    if [ $kind = tiny ]; then
        cmp -s "$work/first" "$work/second" || fault "without token types a pair of bytes is not the two joined"
    else
        cmp -s "$work/first" "$work/second" && fault "token types make no difference"
    fi
done
grep -q '"type_vocab_size": 2' "$work/same-types/config.json" || fault "the table is not recorded"
grep -q '"model_type": "reformer_c"' "$work/same-types/config.json" || fault "transformers would misread the model"
expect 0 train --config "$work/types.json" --task classify --text-field a --output "$work/same-part" --seed 2 --batch 4 --steps 12 --data "$work/same.jsonl" --stop-after 5
expect 0 train --resume --output "$work/same-part"
cmp -s "$work/same-types/model.safetensors" "$work/same-part/model.safetensors" || fault "a resumed classifier of pairs is another one"
run convert --model "$work/same-types" --output "$work/same-bin" --to bin
if ! grep -q libzip "$work/err"; then # else the build cannot write the format
    if [ "$code" -ne 0 ]; then fault "convert --to bin: exit code $code: $(cat "$work/err")"; fi
    expect 0 classify --model "$work/same-bin" --text 'a 3' --text-pair 'b 3' --all
    cmp -s "$work/out" "$work/first" || fault "the converted model judges otherwise"
fi
expect 0 inspect --model "$work/same-types"
says out "token_type_embeddings"
expect 0 train --config "$work/types.json" --task classify --init-from "$work/a" --output "$work/same-new" --text-field a --data "$work/same.jsonl" --steps 1 --warmup 0
says err "starts from first values: reformer.embeddings.token_type_embeddings.weight"
misuse '--text-field and --pair-field are for --lines of JSON objects' classify --model "$work/same-tiny" --text x --pair-field b
printf '[1]\n' >"$work/rows"
expect 1 classify --model "$work/same-tiny" --data "$work/rows" --lines --pair-field b
says err 'line 1: expected a JSON object with the text "text"'

# Next sentences, alone and beside missing tokens: one directory with both heads, resumed to the same bits, judged, used.
i=0
while [ $i -lt 40 ]; do
    printf 'This is sentence %d. It is followed by another one! Is it?\n\n' $i
    i=$((i + 1))
done >"$work/prose"
expect 0 train --config "$work/tiny.json" --task next-sentence --data "$work/prose" --output "$work/next" --steps 4 --seed 3
grep -q '"next_sentence": "sentence"' "$work/next/config.json" || fault "what pairs are made of is not recorded"
grep -q '"is_next": 0' "$work/next/config.json" || fault "label2id does not name the labels"
expect 0 eval --model "$work/next" --data "$work/prose" --batch 3 --json
says out '"task": "next-sentence"'
expect 0 classify --model "$work/next" --text 'This is it.' --text-pair 'It is followed.' --all
says out "not_next"
for run in both "both-part --stop-after 5"; do
    # shellcheck disable=SC2086 # the options are words
    expect 0 train --config "$work/types.json" --task masked-lm,next-sentence --spans paragraph --mask-whole-words --data "$work/prose" --seed 3 --output "$work"/$run
done
says err "stopped at step 5 as asked"
expect 0 train --resume --output "$work/both-part"
says err "pair accuracy "
cmp -s "$work/both/model.safetensors" "$work/both-part/model.safetensors" || fault "a resumed run of two heads makes another model"
grep -q '"next_sentence": "paragraph"' "$work/both/config.json" || fault "paragraphs are not recorded"
expect 0 eval --model "$work/both" --data "$work/prose" --length 32
says out "pair loss  "
expect 0 eval --model "$work/both" --data "$work/prose" --length 32 --json
says out '"pair_accuracy": '
expect 0 classify --model "$work/both" --text 'This is it.' --text-pair 'It is followed.'
expect 0 fill --model "$work/both" --text 'This [MASK]s it.' --top 2
expect 0 inspect --model "$work/both"
says out "classifier.dense.weight"
expect 0 train --task masked-lm --init-from "$work/both" --data "$work/prose" --output "$work/single-head" --steps 1 --length 32 --warmup 0
says err "left out, not of a ReformerForMaskedLM: classifier.dense.bias"
expect 0 train --task masked-lm,next-sentence --init-from "$work/a" --data "$work/prose" --output "$work/second-head" --steps 1 --length 32 --warmup 0
says err "starts from first values: classifier.dense.bias"
expect 2 train --config "$work/tiny.json" --spans line --data "$work/prose" --output "$work/never"
says err "spans are for next-sentence"

# Answers.
expect 0 train --config "$work/tiny.json" --task answer --output "$work/who" --data "$work/who.jsonl" --length 64 --steps 10
expect 0 train --config "$work/tiny.json" --task answer --output "$work/whose" --data "$work/who.jsonl" --length 64 --steps 10 --stop-after 3
expect 0 train --resume --output "$work/whose" --stop-after 4
expect 0 train --resume --output "$work/whose"
cmp -s "$work/who/model.safetensors" "$work/whose/model.safetensors" || fault "a resumed question answerer is another model"
expect 0 train --task answer --direction bidirectional --init-from "$work/lm" --output "$work/causal" --steps 4 --length 48 --warmup 0 --data "$work/who.jsonl" \
    --freeze '*.embeddings.*' --freeze '*.layers.0.*,*.layers.1.*'
says err "is_decoder: false from now on"
says err "left out, not of a ReformerForQuestionAnswering: lm_head"
says err "starts from first values: qa_outputs"
says err "frozen: "
expect 2 train --task answer --init-from "$work/lm" --output "$work/frozen" --length 48 --data "$work/who.jsonl" --freeze 'encoder.layer.0.*'
says err "the nearest are reformer.encoder.layers.0."
# What a run says of its last model on held-out rows is what eval says of that model on those rows.
# same_figures RUN DATA FIGURE...
same_figures() {
    run=$1
    expect 0 eval --model "$work/$run" --data "$work/$2" --length 64 --json
    shift 2
    for figure in "$@"; do
        told=$(grep '"kind": "evaluation"' "$work/$run/metrics.jsonl" | tail -n 1 | sed -n "s/.*\"$figure\": \([-0-9.e]*\).*/\1/p")
        found=$(sed -n "s/.*\"$figure\": \([-0-9.e]*\).*/\1/p" "$work/out")
        awk -v a="$told" -v b="$found" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d < 1e-6 && d > -1e-6) }' || fault "$run: $figure is '$told' in training and '$found' in eval"
    done
}
expect 0 train --config "$work/tiny.json" --task answer --output "$work/told" --data "$work/who.jsonl" --valid "$work/who.jsonl" --valid-bytes 0 --length 64 --steps 12 --eval-every 12
same_figures told who.jsonl loss exact_match f1 accuracy
expect 0 train --config "$work/tiny.json" --task classify --output "$work/told2" --data "$work/moods.jsonl" --valid "$work/moods.jsonl" --valid-bytes 0 --length 64 --steps 12 --eval-every 12
same_figures told2 moods.jsonl loss accuracy macro_f1 matthews

expect 0 answer --model "$work/who" --question 'who?' --text 'then Bob came' --top 2
if [ "$(wc -l <"$work/out")" -ne 2 ]; then fault "not two answers: $(cat "$work/out")"; fi
expect 0 answer --model "$work/who" --question 'who?' --text 'then Bob came' --json
says out '"begin": '
expect 0 eval --model "$work/who" --data "$work/who.jsonl"
says out "scored              80 in 40 examples"
says out "exact match  "
expect 0 eval --model "$work/who" --data "$work/who.jsonl" --json
for key in loss exact_match f1 accuracy; do says out "\"$key\": "; done

# Several texts at once: the same results in the same order. (The last digits may differ: numbers are compared to 1e-5.)
i=0
while [ $i -lt 23 ]; do
    printf '%.*s[MASK] %d\n' $((i * 7 % 31 + 1)) 'abcdefghijklmnopqrstuvwxyzabcdef' $i
    i=$((i + 1))
done >"$work/many"
numbers() { tr -c '0-9.eE+\n-' ' ' <"$1" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /[0-9]/) print $i }'; }
same() {
    numbers "$work/one" >"$work/one.numbers"
    numbers "$work/out" >"$work/out.numbers"
    paste "$work/one.numbers" "$work/out.numbers" | awk '{ d = $1 - $2; if (d > 1e-5 || d < -1e-5 || NF != 2) { print; exit 1 } }' ||
        fault "$1: other numbers with --batch"
    if [ "$(grep -c . "$work/one.numbers")" -lt 23 ]; then fault "$1: too few numbers"; fi
}
for pool in mean none; do
    expect 0 embed --model "$work/a" --data "$work/many" --lines --pool $pool
    cp "$work/out" "$work/one"
    expect 0 embed --model "$work/a" --data "$work/many" --lines --pool $pool --batch 5 --num-hashes 0
    same "embed --pool $pool"
done
expect 0 fill --model "$work/a" --data "$work/many" --lines --top 2 --json
cp "$work/out" "$work/one"
expect 0 fill --model "$work/a" --data "$work/many" --lines --top 2 --json --batch 4
same fill
expect 0 classify --model "$work/part" --data "$work/many" --lines --json --all
cp "$work/out" "$work/one"
expect 0 classify --model "$work/part" --data "$work/many" --lines --json --all --batch 8
same classify
expect 0 answer --model "$work/who" --question 'who?' --question 'where is it?' --data "$work/many" --lines --json
cp "$work/out" "$work/one"
expect 0 answer --model "$work/who" --question 'who?' --question 'where is it?' --data "$work/many" --lines --json --batch 6
same answer
expect 0 embed --model "$work/a" --data "$work/many" --lines --batch 3 --num-hashes 4
printf 'one[MASK]\nnothing\n' >"$work/half"
expect 2 fill --model "$work/a" --data "$work/half" --lines --batch 2 # what stands before a text that is wrong is shown
says err "nothing is missing"
if [ "$(wc -l <"$work/out")" -ne 2 ]; then fault "not one place and a text: $(cat "$work/out")"; fi

# Models of other tasks are refused by what they are for.
expect 2 classify --model "$work/a" --text x
says err "is a model for the task masked-lm"
expect 2 answer --model "$work/a" --text x --question y
says err "ReformerForQuestionAnswering is needed"
misuse 'answer needs --question TEXT' answer --model "$work/a" --text x
cli_done
