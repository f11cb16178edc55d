"""Files of weights as PyTorch and NumPy write them, read by the program, and the program's own read by PyTorch.

    torch_files.py PROGRAM MODEL FOLDER

MODEL is a model directory with safetensors; FOLDER is for what is made. Exit code 77: a package is missing.
"""
import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys

try:
    import numpy
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

program, model, folder = sys.argv[1:]
faults = []


def fault(text):
    print(text)
    faults.append(text)


def run(*arguments):
    result = subprocess.run([program, *arguments], capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def fresh(name):
    path = os.path.join(folder, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    shutil.copy(os.path.join(model, "config.json"), path)
    return path


def check(name, expected, *options):
    """Converting FOLDER/NAME gives `expected`, tensor for tensor."""
    output = os.path.join(folder, name + ".out")
    shutil.rmtree(output, ignore_errors=True)
    code, said = run("convert", "--model", os.path.join(folder, name), "--output", output, *options)
    if code != 0:
        return fault(f"{name}: exit code {code}: {said}")
    found = load_file(os.path.join(output, "model.safetensors"))
    if sorted(found) != sorted(expected):
        return fault(f"{name}: other tensors: {sorted(set(found) ^ set(expected))}")
    for key in expected:
        if found[key].dtype != expected[key].dtype or not torch.equal(found[key], expected[key]):
            fault(f"{name}: {key} differs")


weights = load_file(os.path.join(model, "model.safetensors"))
weights = {key: value.float() for key, value in weights.items() if "mask_value" not in key}
weights["lm_head.bias"] = torch.randn_like(weights["lm_head.bias"])


def as_module(values):
    """A state dictionary as Module.state_dict gives it, with its _metadata."""
    import collections
    state = collections.OrderedDict(values)
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return state


def save(name, values, zipped=True, file="pytorch_model.bin"):
    path = os.path.join(fresh(name), file)
    torch.save(values, path, _use_new_zipfile_serialization=zipped)
    return path


save("zip", as_module(weights))
code, said = run("inspect", "--model", os.path.join(folder, "zip"))
if "without libzip" in said:
    print("skipped:", said)
    sys.exit(77)
old = dict(weights)
old["lm_head.decoder.bias"] = weights["lm_head.bias"]
for layer in range(len(json.load(open(os.path.join(model, "config.json")))["attn_layers"])):
    old[f"reformer.encoder.layers.{layer}.attention.self_attention.mask_value_float32"] = torch.tensor(-1e9)
for zipped in (True, False):
    kind = "zip" if zipped else "stream"
    save(kind, as_module(weights), zipped)
    check(kind, weights)
    save(kind + "-parameters", {key: torch.nn.Parameter(value) for key, value in weights.items()}, zipped)
    check(kind + "-parameters", weights)
    save(kind + "-v4", as_module(old), zipped)
    check(kind + "-v4", weights)
    # The bias of the decoder is the trained one where the two differ.
    save(kind + "-decoder", as_module({**old, "lm_head.bias": torch.zeros_like(weights["lm_head.bias"])}), zipped)
    check(kind + "-decoder", weights)
    save(kind + "-bare", as_module({key.removeprefix("reformer."): value for key, value in weights.items()}), zipped)
    check(kind + "-bare", weights)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        narrow = {key: value.to(dtype) for key, value in weights.items()}
        save(f"{kind}-{dtype}", narrow, zipped)
        check(f"{kind}-{dtype}", {key: value.float() for key, value in narrow.items()})
    # Views: transposed, inside a larger row of numbers, of any rank.
    row = torch.randn(sum(value.numel() for value in weights.values()) + 7)
    views, begin = {}, 7
    for key, value in weights.items():
        part = row[begin : begin + value.numel()]
        part.copy_(value.flatten())
        views[key] = part.view(value.shape)
        begin += value.numel()
    save(kind + "-one-row", views, zipped)
    check(kind + "-one-row", weights)
    turned = {key: value.permute(*reversed(range(value.dim()))).contiguous().permute(*reversed(range(value.dim())))
              for key, value in weights.items()}
    save(kind + "-turned", turned, zipped)
    check(kind + "-turned", weights)
    every_second = {key: torch.stack([value, value + 1], -1)[..., 0] for key, value in weights.items()}
    save(kind + "-every-second", every_second, zipped)
    check(kind + "-every-second", weights)

# In shards.
path = fresh("shards")
names = sorted(weights)
halves = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
for file, part in halves.items():
    torch.save({key: weights[key] for key in part}, os.path.join(path, file))
json.dump({"metadata": {}, "weight_map": {key: file for file, part in halves.items() for key in part}},
          open(os.path.join(path, "pytorch_model.bin.index.json"), "w"))
check("shards", weights)
for dtype, torch_dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
    check("shards", {key: value.to(torch_dtype) for key, value in weights.items()}, "--dtype", dtype)

# Ours, read by PyTorch: whole, mapped, in shards, in other types.
for dtype, torch_dtype in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
    for shard in ("0", "20KB"):
        output = os.path.join(folder, f"bin-{dtype}-{shard}")
        code, said = run("convert", "--model", os.path.join(folder, "zip"), "--output", output, "--to", "bin", "--dtype", dtype,
                         "--shard-size", shard)
        if code != 0:
            fault(f"to bin: {said}")
            continue
        files = sorted(name for name in os.listdir(output) if name.endswith(".bin"))
        if (len(files) > 1) != (shard != "0"):
            fault(f"to bin, shards of {shard}: {files}")
        for mapped in (False, True):
            found = {}
            for file in files:
                found.update(torch.load(os.path.join(output, file), weights_only=True, mmap=mapped))
            wanted = {**weights, "lm_head.decoder.bias": weights["lm_head.bias"]}
            if sorted(found) != sorted(wanted):
                fault(f"to bin: other tensors: {sorted(set(found) ^ set(wanted))}")
            for key in set(found) & set(wanted):
                if not torch.equal(found[key], wanted[key].to(torch_dtype)):
                    fault(f"to bin {dtype}: {key} differs")
                if found[key].data_ptr() % 64 != 0 and mapped:
                    fault(f"to bin: {key} does not lie at a multiple of 64 bytes")
        name = os.path.basename(output)
        check(name, {key: value.to(torch_dtype).float() for key, value in weights.items()})

# Trax: the list of layers, NumPy arrays, several protocols.
config = json.load(open(os.path.join(model, "config.json")))
heads, width = config["num_attention_heads"], config["attention_head_size"]
array = {key.removeprefix("reformer."): value.numpy() for key, value in weights.items()}


def pair(name):
    return (array[name + ".weight"], array[name + ".bias"])


def dense(name):
    return (numpy.ascontiguousarray(array[name + ".weight"].T), array[name + ".bias"])


def into_heads(matrix):
    return numpy.ascontiguousarray(matrix.reshape(heads, width, -1).swapaxes(1, 2))


def block(layer, chunked):
    name = f"encoder.layers.{layer}."
    attention = [into_heads(array[name + f"attention.self_attention.{part}.weight"])
                 for part in ("query_key", "query", "key", "value") if name + f"attention.self_attention.{part}.weight" in array]
    output = array[name + "attention.output.dense.weight"].T.reshape(heads, width, -1)
    feed = (pair(name + "feed_forward.layer_norm"), dense(name + "feed_forward.dense.dense"), (), (),
            dense(name + "feed_forward.output.dense"), ())
    if chunked:
        feed = ((), (), feed, ())
    return [((pair(name + "attention.layer_norm"),), tuple(attention) + (numpy.ascontiguousarray(output),)), (),
            [((), ((), (), feed))], ()]


def trax(chunked):
    layers = [entry for layer in range(len(config["attn_layers"])) for entry in block(layer, chunked)]
    axes = tuple((array[f"embeddings.position_embeddings.weights.{k}"],) for k in range(len(config["axial_pos_shape"])))
    head = (numpy.ascontiguousarray(array["lm_head.decoder.weight"].T), array["lm_head.bias"])
    return ((), array["embeddings.word_embeddings.weight"], (), axes, (), tuple(layers), (), pair("encoder.layer_norm"), (), head, ())


for protocol in (2, 3, 4):
    for chunked in (False, True):
        path = fresh(f"trax-{protocol}-{chunked}")
        with gzip.open(os.path.join(path, "model.pkl.gz"), "wb") as stream:
            pickle.dump({"step": 7, "weights": trax(chunked), "history": None}, stream, protocol=protocol)
        check(f"trax-{protocol}-{chunked}", weights)


# What would execute something is refused by its name, whatever the container.
class Hostile:
    def __reduce__(self):
        return (os.system, ("echo executed > executed",))


for zipped in (True, False):
    save("hostile", {"lm_head.bias": Hostile()}, zipped)
    code, said = run("inspect", "--model", os.path.join(folder, "hostile"))
    if code == 0 or "system" not in said or os.path.exists("executed"):
        fault(f"hostile: exit code {code}: {said}")
path = fresh("hostile-trax")
pickle.dump({"weights": Hostile()}, gzip.open(os.path.join(path, "model.pkl.gz"), "wb"))
code, said = run("inspect", "--model", path)
if code == 0 or "system" not in said:
    fault(f"hostile-trax: exit code {code}: {said}")

print("torch", torch.__version__, "numpy", numpy.__version__, len(faults), "faults")
sys.exit(1 if faults else 0)
