#!/usr/bin/env python3
"""Load a model directory that we saved with Hugging Face transformers and compare its logits with ours.

    load_in_transformers.py MODEL_DIR IO.safetensors [TOLERANCE]

IO.safetensors holds `input_ids` [batch, length], optionally `attention_mask` of the same shape, and `logits`
[batch, length, vocabulary] as our program computed them. The model must have a hash_seed (or no lsh layers), so that both
sides draw the same rotations, and no head bias, which transformers 5 would leave out.

Exit codes: 0 equal within TOLERANCE (1e-4), 1 not, 2 misused, 77 torch or transformers is not installed.
"""
import sys

SKIPPED = 77


def load(folder):
    """The model in evaluation mode; every tensor of the file must have found its place, and none be missing."""
    from transformers import AutoConfig, ReformerModelWithLMHead

    kind = type(AutoConfig.from_pretrained(folder)).__name__
    if kind != "ReformerConfig":
        raise SystemExit(f"{folder}: transformers reads config.json as {kind}, expected ReformerConfig")
    model, report = ReformerModelWithLMHead.from_pretrained(folder, output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(fault):
            raise SystemExit(f"{folder}: transformers reports {fault}: {sorted(map(str, report[fault]))}")
    return model.float().eval()


def main(arguments):
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        import torch
        import transformers
        from safetensors.torch import load_file
    except ImportError as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    transformers.logging.set_verbosity_error()
    tolerance = float(arguments[2]) if len(arguments) == 3 else 1e-4
    stored = load_file(arguments[1])
    model = load(arguments[0])
    inputs = {"input_ids": stored["input_ids"].long()}
    if "attention_mask" in stored:
        inputs["attention_mask"] = stored["attention_mask"].long()
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits
    ours = stored["logits"].float()
    if logits.shape != ours.shape:
        print(f"{arguments[0]}: logits are {list(ours.shape)}, transformers {transformers.__version__} gives "
              f"{list(logits.shape)}")
        return 1
    error = (logits - ours).abs().max().item()
    equal = error <= tolerance
    print(f"{arguments[0]}: largest difference of logits from transformers {transformers.__version__}: {error:.3g} "
          f"({'within' if equal else 'beyond'} {tolerance:g})")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
