"""Writes Tests/ApusTrainingTests/Reference/recurrent-curves.json: a hundred losses of PyTorch's LSTM, GRU and RNN.

Run once, by hand, with PyTorch installed; the result is committed. Weights and tokens follow formulas that the test
has too: no file of weights is needed.
"""

import json
import pathlib

import torch
from torch import nn

VOCABULARY, VECTOR, UNITS, LAYERS, BATCH, TIME, STEPS = 20, 8, 12, 2, 4, 15, 100


class Network(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, VECTOR)
        self.core = kind(VECTOR, UNITS, LAYERS, batch_first=True)
        self.head = nn.Linear(UNITS, VOCABULARY)

    def forward(self, ids):
        return self.head(self.core(self.embedding(ids))[0])


def weights(number, count):
    """Of the parameter of that number, in the order of names: -0.4 to 0.4."""
    return [((index * 7919 + number * 104729) % 1009 / 1009 - 0.5) * 0.8 for index in range(count)]


def tokens(step):
    return [[(row * 5 + place * place * 3 + step % 7) % VOCABULARY for place in range(TIME + 1)]
            for row in range(BATCH)]


def curve(kind):
    model = Network(kind)
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.named_parameters())):
            values = torch.tensor(weights(number, parameter.numel()), dtype=torch.float64)
            parameter.copy_(values.reshape(parameter.shape))
    update = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(STEPS):
        rows = torch.tensor(tokens(step))
        logits = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        update.zero_grad()
        loss.backward()
        update.step()
        losses.append(round(loss.item(), 7))
    return losses


curves = {kind.__name__: curve(kind) for kind in (nn.LSTM, nn.GRU, nn.RNN)}
path = pathlib.Path(__file__).parent.parent / "ApusTrainingTests" / "Reference" / "recurrent-curves.json"
path.write_text(json.dumps(curves, separators=(",", ":")))
