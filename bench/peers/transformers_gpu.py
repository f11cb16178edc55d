"""What bench/peers/gpu stands beside: transformers' Reformer and PyTorch's exact attention on one GPU. It runs as a process of its own, so
that its memory is nobody else's. Prints one JSON line a measurement: {"name", "ms": [...], "peak_bytes"} or {"name", "error"}. Peak
memory is what PyTorch's allocator had in use: without the CUDA context, and without what the allocator keeps in reserve. Exit 77
where torch or transformers is missing.

    python3 bench/peers/transformers_gpu.py layer|exact|step|decode|limits OPTIONS-IN-JSON
"""
import gc
import json
import sys
import time

try:
    import torch
    import transformers
    from transformers import ReformerConfig
    from transformers.models.reformer import modeling_reformer
except ImportError as missing:
    print(f"skipped: {missing}", file=sys.stderr)
    sys.exit(77)

BUDGET = 20.0  # seconds in which a measurement begins no further repeat
device = "cuda"


def say(**line):
    print(json.dumps(line), flush=True)


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def reset():
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak():
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def timed(call, repeats, warmup=2):
    """Milliseconds of each repeat, waited for one by one, as `reformer bench` does."""
    for _ in range(warmup):
        call()
    wait()
    milliseconds = []
    end = time.perf_counter() + BUDGET
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        wait()
        milliseconds.append(1e3 * (time.perf_counter() - start))
        if time.perf_counter() > end:
            break
    return milliseconds


def guarded(name, work):
    """One measurement; whatever fails is a line of its own and does not end the others."""
    try:
        reset()
        say(name=name, **work())
    except Exception as failure:  # noqa: BLE001: out of memory, a changed interface, a kernel that is not there
        say(name=name, error=f"{type(failure).__name__}: {failure}"[:300])


def buckets(length, chunk=64):
    """transformers' automatic rule, written out: two factors above 128."""
    power = max(1, (2 * (length // chunk)).bit_length() - 1)
    return 2**power if 2**power <= 2 * chunk else [2 ** (power // 2), 2 ** (power - power // 2)]


def layer(options):
    """The LSH layer with its qk and v projections, in bf16 on a GPU; with "tokens" as many sequences as hold them."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    for length in options["lengths"]:
        batch = max(1, options.get("tokens", 0) // length)

        def build():
            config = ReformerConfig(hidden_size=512, attention_head_size=64, num_attention_heads=8, lsh_attn_chunk_length=64,
                                    num_buckets=buckets(length), num_hashes=options.get("rounds", 4),
                                    is_decoder=True,
                                    lsh_attention_probs_dropout_prob=0.0, max_position_embeddings=length)
            module = modeling_reformer.LSHSelfAttention(config).to(device, dtype).train()
            x = torch.randn(batch, length, 512, device=device, dtype=dtype, requires_grad=True)
            call = lambda: module(hidden_states=x).hidden_states  # noqa: E731
            return x, torch.compile(call) if options.get("compiled") else call

        def forward():
            _, call = build()
            with torch.no_grad():
                return {"ms": timed(call, options["repeats"]), "peak_bytes": peak()}

        def both():
            x, call = build()
            gradient = torch.randn(batch, length, 512, device=device, dtype=dtype)

            def step():
                call().backward(gradient)
                x.grad = None

            return {"ms": timed(step, options["repeats"]), "peak_bytes": peak()}

        guarded(f"forward {length}", forward)
        guarded(f"forward+backward {length}", both)


def exact(options):
    """Causal softmax attention alone, no projections, cuDNN's kernels."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = SDPBackend.CUDNN_ATTENTION if device == "cuda" else SDPBackend.MATH
    attend = torch.nn.functional.scaled_dot_product_attention
    for length in options["lengths"]:

        def inputs():
            return [torch.randn(1, 8, length, 64, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]

        def forward():
            q, k, v = inputs()
            with torch.no_grad(), sdpa_kernel(backend):
                return {"ms": timed(lambda: attend(q, k, v, is_causal=True), options["repeats"]), "peak_bytes": peak()}

        def both():
            q, k, v = inputs()
            gradient = torch.randn_like(q)

            def step():
                attend(q, k, v, is_causal=True).backward(gradient)
                q.grad = k.grad = v.grad = None

            with sdpa_kernel(backend):
                return {"ms": timed(step, options["repeats"]), "peak_bytes": peak()}

        guarded(f"forward {length}", forward)
        guarded(f"forward+backward {length}", both)


def model_of(path, length, chunked=0):
    """A model from the "model" section of one of our recipes, its positions as many as the length: transformers trains only there."""
    with open(path, encoding="utf8") as file:
        keys = {k: v for k, v in json.load(file)["model"].items() if k != "model_type"}
    if length is not None:
        keys["max_position_embeddings"] = length
        shape = keys["axial_pos_shape"]
        shape[0] = length // shape[1]
        assert shape[0] * shape[1] == length, "the length must be a multiple of the second axis"
    if chunked:
        keys.update(chunk_size_feed_forward=chunked, chunk_size_lm_head=chunked)
    torch.manual_seed(0)
    return modeling_reformer.ReformerModelWithLMHead(ReformerConfig(**keys)).to(device), keys


def step(options):
    """Training steps: bf16 autocast over f32 weights, fused AdamW; with the feed-forward and the head whole, and in pieces."""
    torch.backends.cuda.matmul.allow_tf32 = True
    for chunked in options["chunked"]:

        def run():
            model, keys = model_of(options["config"], options["length"], chunked)
            model.train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
            ids = torch.randint(0, keys["vocab_size"], (1, options["length"]), device=device)
            call = torch.compile(model) if options.get("compiled") else model

            def update():
                with torch.autocast(device, torch.bfloat16):
                    loss = call(ids, labels=ids).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

            return {"ms": timed(update, options["repeats"], 1), "peak_bytes": peak(),
                    "parameters": sum(p.numel() for p in model.parameters())}

        guarded(f"chunked {chunked}" if chunked else "whole", run)


def decode(options):
    """A token of cached greedy generation: the difference between two lengths of continuation, so that the prompt is left out."""

    def run():
        model, keys = model_of(options["config"], None)
        model.eval()
        ids = torch.randint(3, keys["vocab_size"], (options["batch"], options["prompt"]), device=device)

        def seconds(count):
            wait()
            start = time.perf_counter()
            with torch.no_grad():
                out = model.generate(ids, max_new_tokens=count, do_sample=False, eos_token_id=None)
            wait()
            assert out.shape[1] == options["prompt"] + count, "generation stopped early"
            return time.perf_counter() - start

        few, many = 8, 8 + options["tokens"]
        seconds(2)
        pairs = [(seconds(few), seconds(many)) for _ in range(options["repeats"])]
        return {"ms": [1e3 * (b - a) / (many - few) for a, b in pairs], "prompt_ms": [1e3 * a for a, _ in pairs], "peak_bytes": peak()}

    guarded("decode", run)


def limits(options):
    """What the GPU does at most: bf16 products of 8192 x 8192, and a copy of 2 GiB (bytes read and written)."""
    n = 8192 if device == "cuda" else 512
    size = 2**31 if device == "cuda" else 2**24

    def product():
        a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
        return {"ms": timed(lambda: a @ b, options["repeats"]), "operations": 2 * n**3}

    def copy():
        x = torch.empty(size, device=device, dtype=torch.uint8)
        y = torch.empty_like(x)
        return {"ms": timed(lambda: y.copy_(x), options["repeats"]), "bytes": 2 * size}

    guarded("product", product)
    guarded("copy", copy)


def main():
    global device
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    device = options.get("device", "cuda")
    transformers.logging.set_verbosity_error()
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    say(name="versions", torch=torch.__version__, transformers=transformers.__version__, device=name)
    {"layer": layer, "exact": exact, "step": step, "decode": decode, "limits": limits}[kind](options)


main()
