"""Generation here against transformers' generate, with models that transformers has made.

usage: generate_with_transformers.py PROGRAM WORK
A model with local layers only is compared in everything; one with LSH layers without beams, since transformers' cache gives
all rows of a batch the past of the first one there.
"""

import contextlib
import io
import json
import subprocess
import sys

try:
    import torch
    import transformers
    from transformers import GenerationConfig, ReformerConfig, ReformerModelWithLMHead
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

transformers.logging.set_verbosity_error()
PROGRAM, WORK = sys.argv[1:]
PROMPT = "There was once a town, and in the town a clock that nobody wound."


def make(name, layers):
    torch.manual_seed(5)
    config = ReformerConfig(
        is_decoder=True, hidden_size=32, num_attention_heads=2, attention_head_size=8, feed_forward_size=48, vocab_size=258,
        axial_pos_embds=True, axial_pos_shape=[16, 16], axial_pos_embds_dim=[12, 20], max_position_embeddings=256,
        attn_layers=layers, num_buckets=4, num_hashes=2, hash_seed=3, lsh_attn_chunk_length=16, local_attn_chunk_length=16,
        hidden_dropout_prob=0.0, lsh_attention_probs_dropout_prob=0.0, local_attention_probs_dropout_prob=0.0,
        initializer_range=0.3, axial_norm_std=1.0)
    model = ReformerModelWithLMHead(config).eval()
    model.save_pretrained(f"{WORK}/{name}")
    return model


def reference(model, prompt, **settings):
    ids = torch.tensor([[byte + 2 for byte in prompt.encode()]])
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # it talks of inputs that it does not know
        found = model.generate(ids, attention_mask=torch.ones_like(ids), return_dict_in_generate=True, output_scores=True,
                               pad_token_id=0, **settings)
    texts = [sequence[ids.shape[1]:].tolist() for sequence in found.sequences]
    # An end token is followed by padding.
    end = settings.get("eos_token_id")
    ends = end if isinstance(end, list) else [end]
    cut = [next((text[:i + 1] for i, token in enumerate(text) if token in ends), text) for text in texts]
    return cut, getattr(found, "sequences_scores", None)


def ours(name, prompt, *options):
    command = [PROGRAM, "generate", "--model", f"{WORK}/{name}", "--prompt", prompt, "--device", "cpu", "--precision", "f32",
               "--seed", "1", "--quiet", "--json", "--logprobs", "0", *options]
    samples = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["samples"]
    return [[token["id"] for token in sample["tokens"]] for sample in samples], [sample["logprob"] for sample in samples]


faults = 0


def compare(what, expected, found):
    global faults
    if expected != found:
        faults += 1
        print(f"{what}: transformers writes {expected}, the program {found}")


def check(name, model, settings, options):
    defaults = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": 0}
    expected, scores = reference(model, PROMPT, **{**defaults, **settings})
    found, sums = ours(name, PROMPT, "--tokens", str({**defaults, **settings}["max_new_tokens"]), *options)
    compare(f"{name} {settings}", expected, found)
    if scores is not None and "repetition_penalty" not in settings:
        penalty = settings.get("length_penalty", 1.0)
        for score, total, text in zip(scores.tolist(), sums, found):
            if abs(score - total / len(text) ** penalty) > 1e-3 * abs(score):
                compare(f"{name} {settings}: score", score, total / len(text) ** penalty)


greedy = ["--temperature", "0"]
local = make("local", ["local", "local"])
mixed = make("mixed", ["local", "lsh", "local", "lsh"])
for name, model in [("local", local), ("mixed", mixed)]:
    check(name, model, {}, greedy)
    check(name, model, {"max_new_tokens": 80, "no_repeat_ngram_size": 2}, greedy + ["--no-repeat-ngram", "2"])
    check(name, model, {"repetition_penalty": 1.3}, greedy + ["--repetition-penalty", "1.3"])
    check(name, model, {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3},
          greedy + ["--repetition-penalty", "0.8", "--no-repeat-ngram", "3"])
    check(name, model, {"sequence_bias": [[[101], 4.5], [[7], -3.0]], "repetition_penalty": 1.3},
          greedy + ["--logit-bias", "101=4.5", "--logit-bias", "7=-3", "--repetition-penalty", "1.3"])
for beams in [2, 5]:
    for penalty in [0.0, 1.0, 1.7]:
        check("local", local, {"num_beams": beams, "length_penalty": penalty, "num_return_sequences": 2},
              ["--beams", str(beams), "--length-penalty", str(penalty), "--samples", "2"])
    check("local", local, {"num_beams": beams, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2},
          ["--beams", str(beams), "--no-repeat-ngram", "2", "--repetition-penalty", "1.2"])

# Its generation_config.json is the default here.
for settings in [{"num_beams": 3, "length_penalty": 0.5, "max_new_tokens": 18, "early_stopping": True},
                 {"do_sample": False, "max_new_tokens": 12, "no_repeat_ngram_size": 2},
                 {"do_sample": False, "max_length": len(PROMPT) + 9}]:
    GenerationConfig(eos_token_id=0, pad_token_id=0, **settings).save_pretrained(f"{WORK}/local")
    expected, _ = reference(local, PROMPT, **{"do_sample": False, "eos_token_id": 0, **settings})
    compare(f"generation_config.json {settings}", expected, ours("local", PROMPT)[0])
print("as transformers" if faults == 0 else f"{faults} faults")
sys.exit(faults > 0)
