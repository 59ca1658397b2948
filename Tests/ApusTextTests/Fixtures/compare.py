"""Compares `apus tokenize` with the Python packages tokenizers and tiktoken over megabytes of text in many scripts.

    python compare.py corpus FOLDER                  # 22 MB of text from Debian packages, unpacked below FOLDER
    python compare.py train FOLDER                   # tokenizers of 6,000 to 8,000 tokens, learnt from a part of it
    python compare.py check FOLDER APUS [FILE...]    # every text with every tokenizer, and with further tokenizer.json

The packages are manpages-ja, -ru, -zh and -de and iso-codes: `apt-get download NAME && dpkg-deb -x NAME_*.deb FOLDER`.
Prints one line a tokenizer: the texts, bytes and tokens, and how many texts differ.
"""

import base64
import glob
import gzip
import json
import os
import random
import re
import struct
import subprocess
import sys

from samples import texts as random_texts


def manual_pages(folder):
    for path in sorted(glob.glob(f"{folder}/usr/share/man/*/man*/*.gz")):
        lines = []
        for line in gzip.open(path).read().decode(errors="replace").split("\n"):
            if not line.startswith((".\\\"", "'\\\"")):
                lines.append(re.sub(r"^\.\w+ ?", "", line))
        yield from ("\n".join(lines[start : start + 12]) for start in range(0, len(lines), 12))


def translations(folder):
    for path in sorted(glob.glob(f"{folder}/usr/share/locale/*/LC_MESSAGES/*.mo")):
        data = open(path, "rb").read()
        count, _, start = struct.unpack("<3I", data[8:20])
        strings = []
        for index in range(count):
            length, offset = struct.unpack("<2I", data[start + 8 * index : start + 8 * index + 8])
            strings.append(data[offset : offset + length].decode(errors="replace").replace("\0", " "))
        yield from (", ".join(strings[place : place + 8]) for place in range(0, count, 8))


def corpus(folder):
    generator, chosen = random.Random(1), []
    for source, most in [(manual_pages, 13_000_000), (translations, 9_000_000)]:
        size, part = 0, list(source(folder))
        generator.shuffle(part)
        for text in part:
            if size > most:
                break
            size += len(text.encode())
            chosen.append(text)
    generator.shuffle(chosen)
    with open(f"{folder}/corpus.jsonl", "w") as target:
        for text in chosen:
            target.write(json.dumps({"text": text}) + "\n")
    print(len(chosen), "texts,", sum(len(text.encode()) for text in chosen), "bytes")


def read(path):
    return [json.loads(line)["text"] for line in open(path)]


def train(folder):
    import make

    texts = read(f"{folder}/corpus.jsonl")[::6]
    make.SENTENCES[:] = texts
    make.SIZES.update(bpe=8000, wordpiece=8000, unigram=6000, words=8000, alphabet=1500)
    for name, build in make.TOKENIZERS.items():
        build().save(f"{folder}/{name}.json")
        print(name, flush=True)
    # Ranks for tiktoken are those of the byte-level tokenizer.
    make.write_ranks(json.load(open(f"{folder}/byte-level.json")), f"{folder}/ranks.tiktoken")


def ours(apus, tokenizer, lines, *more):
    run = subprocess.run(
        [apus, "tokenize", "--tokenizer", tokenizer, "--ids", "--field", "text", *more],
        input="".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def report(name, texts, ids, wanted):
    different = [text for text, a, b in zip(texts, ids, wanted, strict=True) if a != b]
    print(f"{name}: {len(texts)} texts, {sum(len(text.encode()) for text in texts)} bytes, "
          f"{sum(map(len, wanted))} tokens, {len(different)} texts differ", flush=True)
    for text in different[:3]:
        print("   ", ascii(text[:100]))
    return len(different)


def check(folder, apus, files):
    import make
    import tiktoken
    from tokenizers import Tokenizer

    texts = read(f"{folder}/corpus.jsonl") + random_texts(7, 50_000, 60)
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    different = 0
    for path in [f"{folder}/{name}.json" for name in make.TOKENIZERS] + files:
        tokenizer = Tokenizer.from_file(path)
        wanted = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        different += report(os.path.basename(path), texts, ours(apus, path, lines), wanted)
    path = f"{folder}/ranks.tiktoken"
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in open(path)}
    for name, pattern in make.patterns().items():
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        wanted = encoding.encode_ordinary_batch(texts, num_threads=2)
        different += report(f"tiktoken {name}", texts, ours(apus, path, lines, "--tiktoken", name), wanted)
    print("no difference" if different == 0 else f"{different} differences")
    return different > 0


if __name__ == "__main__":
    command, folder = sys.argv[1:3]
    sys.exit({"corpus": corpus, "train": train}[command](folder) if command != "check"
             else check(folder, sys.argv[3], sys.argv[4:]))
