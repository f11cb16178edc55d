#!/usr/bin/env python3
"""Load model directories that we saved with Hugging Face transformers and compare what they compute with ours.

    load_in_transformers.py MODEL_DIR IO.safetensors [MODEL_DIR IO.safetensors ...] [TOLERANCE]

The class is the one that config.json names. IO.safetensors holds `input_ids` [batch, length], optionally `attention_mask` of
the same shape, and what our program computed: `logits` (language models [batch, length, vocabulary], classifiers [batch,
labels]), `start_logits` and `end_logits` [batch, length], or `last_hidden_state` [batch, length, 2 hidden]. A model must have
a hash_seed (or no lsh layers), so that both sides draw the same rotations, and no head bias, which transformers 5 would leave
out.

Exit codes: 0 equal within TOLERANCE (1e-4), 1 not, 2 misused, 77 torch or transformers is not installed.
"""
import sys

SKIPPED = 77
OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state")


TYPES = "reformer.embeddings.token_type_embeddings.weight"


def read_config(folder):
    """config.json, and what only we know of it. A model with token types is transformers' only for who names the class."""
    import json
    import os

    import transformers

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        ours = json.load(file).get("reformer_c", {})
    if "type_vocab_size" not in ours:
        return transformers.AutoConfig.from_pretrained(folder), ours
    try:
        transformers.AutoConfig.from_pretrained(folder)
    except ValueError:
        return transformers.ReformerConfig.from_pretrained(folder), ours
    raise SystemExit(f"{folder}: transformers takes a model with token types for one of its own")


def left_out(ours, name):
    """The tensors that transformers should leave out, and report: the table of token types, the second of two heads."""
    names = {TYPES} if "type_vocab_size" in ours else set()
    if "next_sentence" in ours and name == "ReformerForMaskedLM":
        names |= {f"classifier.{layer}.{part}" for layer in ("dense", "out_proj") for part in ("weight", "bias")}
    return names


def load(folder):
    """The model in evaluation mode; every other tensor of the file must have found its place, and none be missing."""
    import transformers

    config, ours = read_config(folder)
    kind = type(config).__name__
    if kind != "ReformerConfig":
        raise SystemExit(f"{folder}: transformers reads config.json as {kind}, expected ReformerConfig")
    name = config.architectures[0]
    model, report = getattr(transformers, name).from_pretrained(folder, config=config, output_loading_info=True)
    expected = left_out(ours, name)
    if set(report["unexpected_keys"]) != expected:
        raise SystemExit(f"{folder}: transformers leaves out {sorted(report['unexpected_keys'])}, expected {sorted(expected)}")
    for fault in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report.get(fault):
            raise SystemExit(f"{folder}: transformers reports {fault}: {sorted(map(str, report[fault]))}")
    return model.float().eval()


def compare(folder, path, tolerance):
    """Whether everything in the file is what transformers computes."""
    import torch
    import transformers
    from safetensors.torch import load_file

    stored = load_file(path)
    model = load(folder)
    inputs = {"input_ids": stored["input_ids"].long()}
    if "attention_mask" in stored:
        inputs["attention_mask"] = stored["attention_mask"].long()
    cached = {"use_cache": False} if type(model).__name__ in ("ReformerModel", "ReformerModelWithLMHead") else {}
    with torch.no_grad():
        outputs = model(**inputs, **cached)
    equal = compared = 0
    for name in OUTPUTS:
        if name not in stored:
            continue
        compared += 1
        ours, theirs = stored[name].float(), outputs[name]
        if theirs.shape != ours.shape:
            print(f"{folder}: {name} is {list(ours.shape)}, transformers {transformers.__version__} gives {list(theirs.shape)}")
            continue
        difference = (theirs - ours).abs()
        if "attention_mask" in stored and difference.dim() > 1 and difference.shape[1] == inputs["input_ids"].shape[1]:
            difference = difference[inputs["attention_mask"] != 0]  # what stands at padding means nothing
        error = difference.max().item()
        equal += error <= tolerance
        print(f"{folder}: {type(model).__name__}: largest difference of {name} from transformers {transformers.__version__}: "
              f"{error:.3g} ({'within' if error <= tolerance else 'beyond'} {tolerance:g})")
    return compared > 0 and equal == compared


def main(arguments):
    tolerance = float(arguments.pop()) if len(arguments) % 2 == 1 and len(arguments) > 1 else 1e-4
    if len(arguments) < 2 or len(arguments) % 2 != 0:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        import torch  # noqa: F401
        import transformers
        import safetensors.torch  # noqa: F401
    except ImportError as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    transformers.logging.set_verbosity_error()
    results = [compare(folder, path, tolerance) for folder, path in zip(arguments[::2], arguments[1::2])]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
