"""Writes Tests/ApusNNTests/Reference/optimizers.json: what PyTorch's optimisers do in five steps.

Run once, by hand, with PyTorch installed; the result is committed.
"""

import json
import pathlib

import torch

START = [0.5, -1.25, 2.0]
# The gradient of a fixed, uneven bowl: curvature * (p - target).
CURVATURE = torch.tensor([1.0, 3.0, 0.25], dtype=torch.float64)
TARGET = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)

CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_nesterov_decay": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01
    ),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "adam_decay": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.05),
}


def run(make):
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([p])
    trace = []
    for _ in range(5):
        p.grad = (CURVATURE * (p.detach() - TARGET)).clone()
        optimizer.step()
        trace.append(p.detach().tolist())
    return trace


out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "optimizers.json"
out.parent.mkdir(exist_ok=True)
out.write_text(json.dumps({name: run(make) for name, make in CASES.items()}, indent=1) + "\n")
