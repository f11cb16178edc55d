"""transformers' Reformer on the CPU: seconds of training steps and of a forward pass, and the process's peak memory, for the
"model" section of one of our recipes. Prints one JSON object. Exit 77 where torch or transformers is missing.

    python3 bench/peers/transformers_step.py configs/bible-medium.json LENGTH THREADS [REPEATS]
"""
import json
import resource
import statistics
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
    path, length, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    repeats = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    keys = {k: v for k, v in json.load(open(path))["model"].items() if k != "model_type"}
    keys["max_position_embeddings"] = max(length, keys.get("max_position_embeddings", length))
    shape = keys["axial_pos_shape"]
    shape[0] = length // shape[1]  # transformers trains only at exactly the product of the axes
    assert shape[0] * shape[1] == length, "the length must be a multiple of the second axis"
    model = ReformerModelWithLMHead(ReformerConfig(**keys)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(3, keys["vocab_size"], (1, length))
    seconds = []
    for _ in range(repeats + 1):
        start = time.time()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model.eval()
    forward = []
    with torch.no_grad():
        for _ in range(repeats):
            start = time.time()
            model(ids)
            forward.append(time.time() - start)
    print(json.dumps({"length": length, "seconds": seconds[1:], "median_seconds": statistics.median(seconds[1:]),
                      "forward_seconds": forward, "forward_median_seconds": statistics.median(forward),
                      "peak_rss_bytes": peak, "torch": torch.__version__}))


main()
