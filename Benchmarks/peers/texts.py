"""The Python package tokenizers on the lines of a file, for `apus bench tokenizer --peers`.

    texts.py --tokenizer tokenizer.json --texts FILE --function encode_batch|encode_batch_fast [--threads N]

See protocol.py for what is read and written.
"""

import argparse
import os

import protocol


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--function", required=True, choices=["encode_batch", "encode_batch_fast"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    protocol.use_threads(options.threads)
    # Read by the package when its threads start.
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if options.threads > 1 else "false"
    protocol.require("tokenizers")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(options.tokenizer)
    with open(options.texts, "rb") as source:
        texts = [line.decode("utf-8", errors="replace") for line in source.read().split(b"\n") if line]
    encode = getattr(tokenizer, options.function)
    step = lambda: len(encode(texts, add_special_tokens=False))
    step()
    protocol.say(ready=True, versions=protocol.versions("tokenizers"))
    protocol.serve(run=protocol.timed(step))


if __name__ == "__main__":
    main()
