"""Writes Tests/ApusNNTests/Reference/layers.json: PyTorch's activations and small layers, and their gradients.

Run once, by hand, with PyTorch installed; the result is committed. Each case holds its inputs by name, the
result, and the gradients of the sum of the result times 1, 2, 3, …, all in double.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(14)
X = torch.tensor([[-40.0, -3.5, -3.0, -1.0, -0.25, 0.5], [1.0, 3.0, 3.5, 6.5, 40.0, -0.1]],
                 dtype=torch.float64)
SLOPES = torch.tensor([0.1, -0.2, 0.3, 0.4, 0.5, 0.6], dtype=torch.float64)
CASES = {}


def case(name, function, **inputs):
    leaves = {key: value.clone().requires_grad_() for key, value in inputs.items()}
    y = function(**leaves)
    (y.flatten() * torch.arange(1, y.numel() + 1)).sum().backward()
    CASES[name] = {
        "inputs": {
            key: {"shape": list(value.shape), "values": value.flatten().tolist()}
            for key, value in inputs.items()
        },
        "result": y.detach().flatten().tolist(),
        "gradients": {key: leaf.grad.flatten().tolist() for key, leaf in leaves.items()},
    }


for name, layer in {
    "ELU": nn.ELU(0.7), "SELU": nn.SELU(), "CELU": nn.CELU(0.7), "Mish": nn.Mish(),
    "ReLU6": nn.ReLU6(), "HardTanh": nn.Hardtanh(), "HardSigmoid": nn.Hardsigmoid(),
    "HardSwish": nn.Hardswish(), "Softplus": nn.Softplus(threshold=1e9), "Softsign": nn.Softsign(),
    "LogSigmoid": nn.LogSigmoid(), "LogSoftmax": nn.LogSoftmax(-1), "GLU": nn.GLU(),
    "Identity": nn.Identity(), "HardShrink": nn.Hardshrink(0.7), "SoftShrink": nn.Softshrink(0.7),
    "TanhShrink": nn.Tanhshrink(), "Threshold": nn.Threshold(0.3, -2.0), "Softmin": nn.Softmin(-1),
}.items():
    # Where a slope has a step there are two right answers.
    x = X + 0.03 if name.startswith("Hard") or name == "ReLU6" else X
    case(name, lambda x: layer(x), x=x)
for name, gate in {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "identity": lambda x: x}.items():
    case(f"GLU {name}", lambda x: x[:, :3] * gate(x[:, 3:]), x=X)
case("PReLU", lambda x, weight: F.prelu(x, weight), x=X, weight=SLOPES)
case("PReLU one", lambda x, weight: F.prelu(x, weight), x=X, weight=SLOPES[:1])
x, z = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 2, dtype=torch.float64)
weight, bias = torch.randn(3, 4, 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
case("Bilinear", lambda x, z, weight, bias: F.bilinear(x, z, weight, bias),
     x=x, z=z, weight=weight, bias=bias)
out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "layers.json"
out.write_text(json.dumps(CASES, separators=(",", ":")).replace("}},", "}},\n") + "\n")
