"""transformers' cached generation on the CPU: seconds of one new token after a prompt, for the "model" section of one of our recipes.
Prints one JSON object. Exit 77 where torch or transformers is missing.

    python3 bench/peers/transformers_generate.py configs/bible-medium.json PROMPT THREADS [TOKENS]

A token's cost is the difference of two runs of different length over the difference of their lengths: the prompt's cost is in both.
"""
import json
import sys
import time

try:
    import torch
    from transformers import ReformerConfig
    from transformers.models.reformer.modeling_reformer import ReformerModelWithLMHead
except ImportError as missing:
    print(f"skipped: {missing}", file=sys.stderr)
    sys.exit(77)


def main():
    path, prompt, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tokens = int(sys.argv[4]) if len(sys.argv) > 4 else 48
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    keys = {k: v for k, v in json.load(open(path))["model"].items() if k != "model_type"}
    keys["max_position_embeddings"] = keys["axial_pos_shape"][0] * keys["axial_pos_shape"][1]
    model = ReformerModelWithLMHead(ReformerConfig(**keys)).eval()
    ids = torch.randint(3, keys["vocab_size"], (1, prompt))
    few = 4
    seconds = []
    for count in (few, few, few + tokens):  # the first is not counted
        start = time.time()
        with torch.no_grad():
            model.generate(ids, max_new_tokens=count, do_sample=False, eos_token_id=None)
        seconds.append(time.time() - start)
    print(json.dumps({"prompt": prompt, "tokens": tokens, "seconds_per_token": (seconds[2] - seconds[1]) / tokens,
                      "torch": torch.__version__}))


main()
