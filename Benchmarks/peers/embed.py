"""An encoder of sentences in PyTorch or ONNX Runtime, for `apus bench embed --peers`.

    embed.py --folder FOLDER --texts FILE --peer torch|onnxruntime --batch N --length N [--tokens] [--threads N]

Texts go sorted by length in batches that are padded to their longest, as sentence-transformers does it. With --tokens
they have been made tokens before the clock runs. The vectors are means over tokens, of length 1.

See protocol.py for what is read and written.
"""

import argparse
import os
import tempfile

import protocol


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--peer", required=True, choices=["torch", "onnxruntime"])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--tokens", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main():
    options = parse()
    protocol.use_threads(options.threads)
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if options.threads > 1 else "false"
    # A folder is given: nothing is asked of a network.
    os.environ["HF_HUB_OFFLINE"] = "1"
    modules = ["torch", "transformers", "tokenizers"]
    if options.peer == "onnxruntime":
        modules += ["onnx", "onnxruntime"]
    protocol.require(*modules)
    import numpy
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    torch.set_num_threads(options.threads)
    tokenizer = Tokenizer.from_file(f"{options.folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(options.length)
    with open(options.texts, "rb") as source:
        texts = [line.decode("utf-8", errors="replace") for line in source.read().split(b"\n") if line]

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(options.folder).eval()

        def forward(self, ids, mask):
            vectors = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask[:, :, None].to(vectors.dtype)
            mean = (vectors * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean)

    model = Encoder()
    if options.peer == "torch":

        def run(ids, mask):
            with torch.inference_mode():
                return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    else:
        run = onnx_session(model, options.threads)

    def encode(rows):
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        result = [None] * len(rows)
        for start in range(0, len(order), options.batch):
            numbers = order[start : start + options.batch]
            longest = max(len(rows[number]) for number in numbers)
            ids = numpy.zeros((len(numbers), longest), numpy.int64)
            mask = numpy.zeros((len(numbers), longest), numpy.int64)
            for place, number in enumerate(numbers):
                row = rows[number]
                ids[place, : len(row)] = row
                mask[place, : len(row)] = 1
            for number, vector in zip(numbers, run(ids, mask)):
                result[number] = vector
        return numpy.stack(result)

    def tokenized():
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]

    ready = tokenized()
    step = (lambda: encode(ready)) if options.tokens else (lambda: encode(tokenized()))
    vectors = step()
    protocol.say(
        ready=True, versions=protocol.versions(*modules), tokens=sum(map(len, ready)),
        vectors=[round(float(x), 6) for x in vectors[0]],
    )
    protocol.serve(run=protocol.timed(step))


def onnx_session(model, threads):
    """The same model by ONNX Runtime, with all of its optimisations."""
    import io

    import onnxruntime
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        ids = torch.ones((2, 8), dtype=torch.int64)
        names = ["ids", "mask"]
        axes = {name: {0: "n", 1: "t"} for name in names} | {"vectors": {0: "n"}}
        # What the exporter says is for who exports, and would stand among the answers.
        import contextlib

        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                model, (ids, ids), path, input_names=names, output_names=["vectors"], dynamic_axes=axes,
                opset_version=17, dynamo=False,
            )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]


if __name__ == "__main__":
    main()
