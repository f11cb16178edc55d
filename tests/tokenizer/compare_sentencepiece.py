"""Token ids, offsets and texts of the program beside those of the sentencepiece package, on random and hostile lines.

    compare_sentencepiece.py PROGRAM TEXT FOLDER LINES [MODEL...]

TEXT is what vocabularies are trained on; MODEL are further models to compare. Exit code 77: the package is missing.
"""
import json
import os
import random
import subprocess
import sys

try:
    import sentencepiece
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

program, text, folder, count = sys.argv[1:5]
faults = []


def run(*arguments, data=b""):
    result = subprocess.run([program, *arguments], input=data, capture_output=True)
    if result.returncode != 0:
        raise SystemExit(f"{arguments}: {result.stderr.decode()}")
    return result.stdout


def lines(number):
    """Words of the text in all orders, random characters of every plane, bytes that are no text; no newline in any."""
    random.seed(number)
    words = open(text, encoding="utf-8").read().split()
    nasty = [b"", b" ", b"  ", b"\t", b"\0", b"\xff", b"\xc3", b"\xe2\x96\x81", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"</s>", b"<s>",
             b"<unk>", b"<pad>", b"<mask>", b"\xe3\x80\x80", b"\xc2\xa0", b"\xcc\x81", b"\r", b"\x7f", b"\xe2\x80\x8b",
             b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"<0x41>", b"\xe2\x96\x85", b"\x05", b"a" * 300, b"\xef\xac\x81"]
    made = []
    for i in range(number):
        kind = i % 5
        if kind == 0:
            line = " ".join(random.choices(words, k=random.randint(0, 30))).encode()
        elif kind == 1:
            line = "".join(chr(random.choice([random.randint(32, 126), random.randint(0xA0, 0x2FF), random.randint(0x370, 0xD7FF),
                                              random.randint(0xE000, 0xFFFF), random.randint(0x10000, 0x10FFFF)]))
                           for _ in range(random.randint(0, 40))).encode()
        elif kind == 2:
            line = bytes(random.randrange(256) for _ in range(random.randint(0, 60)))
        elif kind == 3:
            line = b"".join(random.choice(nasty + [random.choice(words).encode()] * 3) for _ in range(random.randint(0, 20)))
        else:
            word = random.choice(words)
            line = (word[: random.randint(0, len(word))] * random.randint(1, 9)).encode() + random.choice(nasty)
        made.append(line.replace(b"\n", b" "))
    return made


def whole(line):
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def as_proto(processor, string):
    try:
        return processor.encode(string, out_type="immutable_proto")
    except ValueError: # its name from 0.2.2 on
        return processor.encode(string, return_type="proto")


def is_tie(processor, one, other):
    scores = [sum(processor.get_score(id) for id in ids) for ids in (one, other)]
    return sorted(one) == sorted(other) and processor.decode(one) == processor.decode(other) and abs(scores[0] - scores[1]) < 1e-3


def compare(name, model, given):
    processor = sentencepiece.SentencePieceProcessor(model_proto=open(model, "rb").read())
    joined = b"\n".join(given) + b"\n"
    found = [[int(id) for id in line.split()] for line in run("tokenize", "--model", model, "--lines", data=joined).split(b"\n")[:-1]]
    wanted = [processor.encode(line) for line in given]
    differing = [i for i in range(len(given)) if i >= len(found) or found[i] != wanted[i]]
    # Two ways to cut a text may have the same score, as 0 + 00 and 00 + 0 have; versions of the library take one or the other.
    ties = [i for i in differing if i < len(found) and is_tie(processor, found[i], wanted[i])]
    differing = [i for i in differing if i not in ties]
    for i in differing[:3]:
        print(name, "ids of", given[i], "are", found[i : i + 1], "expected", wanted[i])
    # Back again, where the text that comes out has no newline of its own.
    texts = [processor.decode(ids) for ids in wanted]
    back = run("tokenize", "--model", model, "--lines", "--decode", data="\n".join(" ".join(map(str, ids)) for ids in wanted).encode() + b"\n")
    if back != ("\n".join(texts) + "\n").encode():
        differing.append("decode")
        pairs = zip(back.decode(errors="replace").split("\n"), texts)
        print(name, "texts differ:", [pair for pair in pairs if pair[0] != pair[1]][:2])
    # Offsets: the program counts bytes, the package characters before version 0.2.2.
    in_bytes = as_proto(processor, "\u00e9").pieces[-1].end == 2
    part = [given[i] for i in range(min(5000, len(given))) if i not in ties]
    part = [line for line in part if whole(line) is not None]
    report = json.loads(run("tokenize", "--model", model, "--lines", "--json", data=b"\n".join(part) + b"\n"))
    for line, one in zip(part, report["lines"]):
        string = line.decode()
        at = list(range(len(line) + 1)) if in_bytes else [0]
        for character in "" if in_bytes else string:
            at.append(at[-1] + len(character.encode()))
        spans = [[at[piece.begin], at[piece.end]] for piece in as_proto(processor, string).pieces]
        if [[token["begin"], token["end"]] for token in one["tokens"]] != spans:
            differing.append("offsets")
            print(name, "offsets of", line, "are", [[t["begin"], t["end"]] for t in one["tokens"]], "expected", spans)
            break
    if [processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()] != [
            -1 if report["special"][key] is None else report["special"][key] for key in ("unk", "bos", "eos", "pad")]:
        differing.append("special tokens")
        print(name, "special tokens:", report["special"])
    print(f"{name}: {len(given)} lines, {len(differing)} differ" + (f", {len(ties)} are other cuts of the same score" if ties else ""))
    faults.extend(differing)


def compare_fast(model, given):
    """The tokenizer.json that transformers makes of a model is the same model here."""
    try:
        from transformers import ReformerTokenizer
    except ImportError as missing:
        return print("tokenizer.json: not compared:", missing)
    source = os.path.join(folder, "fast-source")
    os.makedirs(source, exist_ok=True)
    with open(model, "rb") as one, open(os.path.join(source, "spiece.model"), "wb") as other:
        other.write(one.read())
    fast = os.path.join(folder, "fast")
    try:
        ReformerTokenizer.from_pretrained(source).save_pretrained(fast)
    except Exception as failed: # it needs packages of its own
        return print("tokenizer.json: not compared:", str(failed)[:80])
    joined = b"\n".join(given) + b"\n"
    one = run("tokenize", "--model", model, "--lines", data=joined).split(b"\n")
    other = run("tokenize", "--model", os.path.join(fast, "tokenizer.json"), "--lines", data=joined).split(b"\n")
    differing = [i for i in range(len(one)) if one[i] != other[i]]
    for i in differing[:3]:
        print("tokenizer.json:", given[i], one[i], other[i])
    print(f"tokenizer.json: {len(given)} lines, {len(differing)} differ")
    faults.extend(differing)


made = lines(int(count))
for name, options in {"unigram": [], "bpe": ["--type", "bpe"], "bytes": ["--byte-fallback", "--vocab-size", "700"],
                      "bpe-bytes": ["--byte-fallback", "--vocab-size", "700", "--type", "bpe"],
                      "identity": ["--normalization", "identity"],
                      "special": ["--special", "<mask>", "--special", "<cls>", "--type", "bpe"]}.items():
    output = os.path.join(folder, name + ".model")
    size = [] if "--vocab-size" in options else ["--vocab-size", "400"]
    run("tokenize", "--train", "--data", text, "--output", output, *size, *options)
    compare(name, output, made)
for model in sys.argv[5:]:
    compare(model, model, made)
compare_fast(os.path.join(folder, "bpe.model"), made[:20000])
print("sentencepiece", sentencepiece.__version__, len(faults), "faults")
sys.exit(1 if faults else 0)
