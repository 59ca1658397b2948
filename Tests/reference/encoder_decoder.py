"""What PyTorch's nn.Transformer makes of rows of tokens; with PyTorch installed.

Writes Tests/ApusTrainingTests/Reference/encoder-decoder.json: for small models, normalised before or after, with one
vocabulary or two, the logits of a padded batch, its loss and the norms of its gradients, and what greedy decoding
writes. Weights come from SplitMix64 on both sides, in the order of their sorted names. Run once, by hand; the result is
committed. EncoderDecoderTests compares.
"""

import json
import math
import pathlib
import sys

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from transformer_vectors import padding, tokens, values

FILE = pathlib.Path(__file__).parent.parent / "ApusTrainingTests" / "Reference" / "encoder-decoder.json"
WIDTH, HEADS, HIDDEN, LAYERS, LENGTH = 8, 2, 12, 2, 10
START, END = 0, 1
SOURCE_LENGTHS, SOURCE, TARGET = [6, 3, 1], 6, 5


def table(length):
    place, column = torch.arange(length)[:, None], torch.arange(WIDTH)[None]
    angle = place * 10000.0 ** (-(column // 2 * 2) / WIDTH)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).double()


class Model(nn.Module):
    def __init__(self, first, vocabularies, learned):
        super().__init__()
        # Both sides normalise the last layers' results, as nn.Transformer does.
        whole = nn.Transformer(
            WIDTH, HEADS, LAYERS, LAYERS, HIDDEN, dropout=0, batch_first=True, norm_first=first)
        self.encoder, self.decoder = whole.encoder, whole.decoder
        source, target = vocabularies[0], vocabularies[-1]
        if len(vocabularies) == 1:
            self.embedding = nn.Embedding(source, WIDTH)
        else:
            self.source_embedding = nn.Embedding(source, WIDTH)
            self.target_embedding = nn.Embedding(target, WIDTH)
            self.generator = nn.Linear(WIDTH, target, bias=False)
        if learned:
            self.source_positions = nn.Embedding(LENGTH, WIDTH)
            self.target_positions = nn.Embedding(LENGTH, WIDTH)

    def placed(self, side, ids):
        embedding = getattr(self, "embedding", None) or getattr(self, f"{side}_embedding")
        positions = getattr(self, f"{side}_positions", None)
        places = positions.weight if positions is not None else table(LENGTH)
        return embedding(ids) * math.sqrt(WIDTH) + places[:ids.shape[1]]

    def forward(self, source, lengths, before):
        unseen = padding(lengths, source.shape[1])
        memory = self.encoder(self.placed("source", source), src_key_padding_mask=unseen)
        causal = nn.Transformer.generate_square_subsequent_mask(before.shape[1], dtype=torch.float64)
        hidden = self.decoder(
            self.placed("target", before), memory, tgt_mask=causal, memory_key_padding_mask=unseen)
        weight = self.generator.weight if hasattr(self, "generator") else self.embedding.weight
        return hidden @ weight.T


def filled(model, first):
    """Lively weights, by the places of the sorted names."""
    model = model.double()
    for seed, (name, parameter) in enumerate(sorted(model.named_parameters())):
        drawn = values(first + seed, *parameter.shape)
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.copy_(drawn * (1 if "embedding" in name else 2))
            else:
                parameter.copy_(drawn * 0.2 + (1 if name.endswith("weight") else 0))
    return model


def case(seed, first, vocabularies, learned):
    model = filled(Model(first, vocabularies, learned), seed)
    # The fast path of nn.TransformerEncoder leaves padding out.
    model.train()
    source = tokens(21, vocabularies[0], len(SOURCE_LENGTHS), SOURCE)
    labels = tokens(22, vocabularies[-1], len(SOURCE_LENGTHS), TARGET)
    labels[1, 3:] = -100
    before = torch.cat([torch.full((len(labels), 1), START), labels[:, :-1].clamp(min=0)], 1)
    logits = model(source, SOURCE_LENGTHS, before)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    loss.backward()
    written = []
    for row, length in zip(source, SOURCE_LENGTHS):
        target = [START]
        while len(target) <= LENGTH - 1 and (len(target) == 1 or target[-1] != END):
            scores = model(row[None, :length], [length], torch.tensor([target]))[0, -1]
            target.append(int(scores.argmax()))
        written.append(target[1:])
    return {
        "seed": seed, "normFirst": first, "vocabularies": vocabularies, "learned": learned,
        "source": source.tolist(), "lengths": SOURCE_LENGTHS, "labels": labels.tolist(),
        "logits": [float(f"{x:.8g}") for x in logits.flatten().tolist()], "loss": float(loss.detach()),
        "gradients": {
            name: float(f"{p.grad.norm():.8g}") for name, p in sorted(model.named_parameters())},
        "written": written}


if __name__ == "__main__":
    torch.manual_seed(0)
    cases = [
        case(1800, False, [13], False), case(2500, True, [13], True),
        case(2700, True, [11, 14], False), case(2500, False, [11, 14], True)]
    FILE.write_text(json.dumps(cases) + "\n")
    for c in cases:
        print(c["loss"], c["written"])
