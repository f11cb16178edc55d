#!/usr/bin/env python3
"""The usual dot product in place of the full shared-QK attention of table 2, in PyTorch: an experiment, nothing needs it.

Full attention of a model whose queries are also its keys can be read in two ways. reformer computes what LSH attention
approximates: keys of length one, and a token does not see itself. The usual dot product of queries and keys, to which one
matrix is given for both, leaves keys as long as they are, divides by the root of the width, and lets a token see itself.

    dot_product.py judge MODEL [--seed 1001] [--sequences 256]     weights of MODEL with either, with half of the difference, and with
                                                                   scores divided by the root of the width once more
    dot_product.py train LIKE OUTPUT [--seed 1] [--steps 600]      a model of the shape of LIKE that learns with the usual dot
                                                                   product; `reformer eval` reads it

Rows are those of `reformer train` and `eval` with the same seed. Not those: first weights, and rounding.
"""
import argparse
import json
import math
import pathlib
import shutil
import struct

import numpy
import torch

LAYER = "reformer.encoder.layers.0."
FULL = {  # keys of length one, a token sees itself, what scores are divided by once more: the width to this power
    "shared QK, as reformer": (True, False, 0.0),
    "keys of their own length": (False, False, 0.0),
    "a token sees itself": (True, True, 0.0),
    "both: the usual dot product": (False, True, 0.0),
    "scores divided once more": (True, False, 0.5),
}


def philox(counter, seed):
    """Ten rounds of Philox4x32; counter: four arrays."""
    low, word = numpy.uint64(0xFFFFFFFF), numpy.uint64(32)
    keys = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = numpy.uint64(0xD2511F53) * counter[0], numpy.uint64(0xCD9E8D57) * counter[2]
        counter = [second >> word ^ counter[1] ^ numpy.uint64(keys[0]), second & low,
                   first >> word ^ counter[3] ^ numpy.uint64(keys[1]), first & low]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def rows(seed, judged, first, count, length):
    """ids [count, length]: 0 w 0 w"""
    number, block = numpy.meshgrid(numpy.arange(first, first + count, dtype=numpy.uint64), numpy.arange((length // 2 + 2) // 4, dtype=numpy.uint64),
                                   indexing="ij")
    purpose = numpy.full_like(number, 15 << 24 | 3 * judged)
    bits = numpy.stack(philox([block, 0 * block, number, purpose], seed), -1).reshape(count, -1)[:, :length // 2 - 1]
    word = 1 + (bits * numpy.uint64(127) >> numpy.uint64(32)).astype(numpy.int64)
    zero = numpy.zeros((count, 1), numpy.int64)
    return torch.from_numpy(numpy.concatenate([zero, word, zero, word], 1))


def read(folder):
    """The weights by name, and what config.json says."""
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    weights = {name: torch.from_numpy(numpy.frombuffer(data[8 + size:][slice(*entry["data_offsets"])], numpy.float32).reshape(entry["shape"]).copy())
               for name, entry in header.items()}
    return weights, json.loads((folder / "config.json").read_text())


def write(folder, weights, like):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in weights.items():
        values = tensor.detach().cpu().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(like / "config.json", folder)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def attend(query, value, unit_keys, sees_itself, power):
    """query, value [batch, heads, length, width]"""
    length, width = query.shape[-2:]
    key = query * torch.rsqrt(query.square().mean(-1, keepdim=True) + 1e-6) if unit_keys else query
    scores = query @ key.transpose(-1, -2) / (math.sqrt(width) * width**power)
    if not sees_itself:
        scores = scores.masked_fill(torch.eye(length, dtype=torch.bool, device=query.device), -1e5)
    future = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    return torch.softmax(scores.masked_fill(future, -1e9), -1) @ value


def forward(weights, ids, config, full):
    """Logits [batch, length, 128] of one layer with ordinary residuals."""
    def norm(x, name):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"], config["layer_norm_eps"])

    def linear(x, name):
        return torch.nn.functional.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))

    def heads(x):
        return x.view(*ids.shape, config["num_attention_heads"], -1).transpose(1, 2)

    x = weights["reformer.embeddings.word_embeddings.weight"][ids] + weights["reformer.embeddings.position_embeddings.embedding.weight"][:ids.shape[1]]
    h = norm(x, LAYER + "attention.layer_norm")
    h = attend(heads(linear(h, LAYER + "attention.self_attention.query_key")), heads(linear(h, LAYER + "attention.self_attention.value")), *full)
    x = x + linear(h.transpose(1, 2).reshape(*ids.shape, -1), LAYER + "attention.output.dense")
    h = norm(x, LAYER + "feed_forward.layer_norm")
    x = x + linear(torch.relu(linear(h, LAYER + "feed_forward.dense.dense")), LAYER + "feed_forward.output.dense")
    x = norm(x, "reformer.encoder.layer_norm")
    return x @ weights["lm_head.decoder.weight"].T + weights["lm_head.bias"]


def measure(weights, ids, config, full):
    """The loss of the second word, and which of its symbols are told right."""
    half = ids.shape[1] // 2
    logits, told = forward(weights, ids, config, full)[:, half:-1], ids[:, half + 1:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), told.flatten()), logits.argmax(-1) == told


def judge(options):
    weights, config = read(options.model)
    weights = {name: tensor.to(options.device) for name, tensor in weights.items()}
    for name, full in FULL.items():
        losses, right = [], []
        for first in range(0, options.sequences, 4):
            ids = rows(options.seed, 1, first, min(4, options.sequences - first), config["max_position_embeddings"]).to(options.device)
            with torch.no_grad():
                loss, told = measure(weights, ids, config, full)
            losses.append(loss.item() * len(ids))
            right.append(told.float().mean().item() * len(ids))
        print(f"{name:28} loss {sum(losses) / options.sequences:.9f}  symbols right {100 * sum(right) / options.sequences:.2f}", flush=True)


def train(options):
    weights, config = read(options.like)
    drawn = torch.Generator().manual_seed(options.seed)
    for name, tensor in weights.items():
        first = 0.02 * torch.randn(tensor.shape, generator=drawn) if tensor.dim() > 1 else torch.full_like(tensor, float("norm.weight" in name))
        weights[name] = first.to(options.device).requires_grad_()
    matrices = [tensor for tensor in weights.values() if tensor.dim() > 1]
    others = [tensor for tensor in weights.values() if tensor.dim() == 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.98),
                              eps=1e-9)
    warmup = options.steps // 10
    for step in range(options.steps):
        for group in adamw.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (options.steps - warmup)))
            group["lr"] = options.rate * (cosine if step >= warmup else (step + 1) / warmup)
        ids = rows(options.seed, 0, 16 * step, 16, config["max_position_embeddings"]).to(options.device)
        loss, told = measure(weights, ids, config, FULL[options.full])
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        adamw.step()
        if (step + 1) % 100 == 0:
            print(f"{step + 1}: loss {loss.item():.5f}, symbols right {100 * told.float().mean().item():.2f}", flush=True)
    write(options.output, weights, options.like)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    judging = commands.add_parser("judge")
    judging.add_argument("model", type=pathlib.Path)
    judging.add_argument("--seed", type=int, default=1001)
    judging.add_argument("--sequences", type=int, default=256)
    training = commands.add_parser("train")
    training.add_argument("like", type=pathlib.Path)
    training.add_argument("output", type=pathlib.Path)
    training.add_argument("--seed", type=int, default=1)
    training.add_argument("--steps", type=int, default=600)
    training.add_argument("--rate", type=float, default=0.004)
    training.add_argument("--weight-decay", type=float, default=0.0)
    training.add_argument("--full", choices=FULL, default="both: the usual dot product")
    for command in (judging, training):
        command.add_argument("--device", default="cpu")
        command.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    judge(options) if options.command == "judge" else train(options)


main()
