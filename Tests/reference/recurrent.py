"""Writes Tests/ApusNNTests/Reference/recurrent.json: PyTorch's RNN, LSTM and GRU with their gradients.

Run once, by hand, with PyTorch installed; the result is committed. All in double, batch first. The
gradient is of the sum of cos(i) times the i-th element of all results, one behind the other. With
lengths, sequences are packed, and padded with zeros afterwards.
"""

import json
import pathlib

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(13)
DTYPE = torch.float64
BATCH, TIME, INPUTS, HIDDEN = 3, 5, 2, 4
KINDS = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}


def numbers(tensor):
    return [round(value, 9) for value in tensor.flatten().tolist()]


def case(kind, lengths=None, begins=False, **options):
    layer = KINDS[kind](INPUTS, HIDDEN, batch_first=True, dtype=DTYPE, **options)
    x = torch.randn(BATCH, TIME, INPUTS, dtype=DTYPE, requires_grad=True)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    initial = [torch.randn(rows, BATCH, HIDDEN, dtype=DTYPE, requires_grad=True)
               for _ in range(2 if kind == "LSTM" else 1)] if begins else None
    given = None
    if initial is not None:
        given = tuple(initial) if kind == "LSTM" else initial[0]
    fed = x
    if lengths:
        fed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, state = layer(fed, given)
    if lengths:
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=TIME)
    last = list(state) if kind == "LSTM" else [state]
    flat = torch.cat([y.flatten()] + [s.flatten() for s in last])
    (flat * torch.arange(flat.numel(), dtype=DTYPE).cos()).sum().backward()
    return {
        "kind": kind, "layers": layer.num_layers, "bidirectional": layer.bidirectional,
        "relu": options.get("nonlinearity") == "relu", "bias": options.get("bias", True),
        "lengths": lengths, "x": numbers(x), "y": numbers(y), "last": [numbers(s) for s in last],
        "initial": None if initial is None else [numbers(s) for s in initial],
        "dx": numbers(x.grad),
        "dinitial": None if initial is None else [numbers(s.grad) for s in initial],
        "weights": {name: numbers(p) for name, p in layer.named_parameters()},
        "gradients": {name: numbers(p.grad) for name, p in layer.named_parameters()},
    }


CASES = {
    "an RNN": case("RNN", begins=True),
    "an RNN of ReLUs without biases": case("RNN", nonlinearity="relu", bias=False),
    "an LSTM": case("LSTM"),
    "an LSTM that begins somewhere": case("LSTM", begins=True),
    "two layers of LSTM in both directions": case("LSTM", num_layers=2, bidirectional=True, begins=True),
    "an LSTM with lengths": case("LSTM", lengths=[5, 2, 3], begins=True),
    "two layers of LSTM in both directions with lengths": case(
        "LSTM", num_layers=2, bidirectional=True, lengths=[1, 5, 4]),
    "a GRU": case("GRU", begins=True),
    "two layers of GRU in both directions with lengths": case(
        "GRU", num_layers=2, bidirectional=True, lengths=[3, 5, 2], begins=True),
}

path = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "recurrent.json"
sizes = {"batch": BATCH, "time": TIME, "inputs": INPUTS, "hidden": HIDDEN}
path.write_text(json.dumps({**sizes, "cases": CASES}, separators=(",", ":")))
