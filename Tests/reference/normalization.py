"""Writes Tests/ApusNNTests/Reference/batch-norm.json: PyTorch's batch normalisation, step by step.

Run once, by hand, with PyTorch installed; the result is committed. All in double. Images are stored
channels last. A case is a list of applications; each has its input, what comes out, the gradient of
the sum of cos(i) times the i-th result, and the running statistics afterwards.
"""

import json
import pathlib

import torch

torch.manual_seed(12)
DTYPE = torch.float64
CHANNELS = 3
INPUTS = [1.5 * torch.randn(3, 2, 2, CHANNELS, dtype=DTYPE) + 0.5 * step for step in range(6)]


def applied(norm, x):
    x = x.clone().requires_grad_(True)
    y = norm(x.movedim(-1, 1)).movedim(1, -1)
    weights = torch.arange(y.numel(), dtype=DTYPE).cos().reshape(y.shape)
    norm.zero_grad()
    (y * weights).sum().backward()
    result = {"x": x.flatten().tolist(), "shape": list(x.shape), "y": y.flatten().tolist(),
              "dx": x.grad.flatten().tolist()}
    if norm.affine and norm.weight.requires_grad:
        result["dweight"] = norm.weight.grad.tolist()
        result["dbias"] = norm.bias.grad.tolist()
    if norm.track_running_stats:
        result["mean"] = norm.running_mean.tolist()
        result["variance"] = norm.running_var.tolist()
        result["count"] = norm.num_batches_tracked.item()
    return result


def case(momentum=0.1, affine=True, tracks=True, plan="ttttte"):
    """plan: t trains, e evaluates, f is in training with frozen parameters."""
    norm = torch.nn.BatchNorm2d(CHANNELS, momentum=momentum, affine=affine,
                                track_running_stats=tracks, dtype=DTYPE)
    if affine:
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, 1.5, -2.0]))
            norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    steps = []
    for kind, x in zip(plan, INPUTS):
        # Frozen batch norm of PyTorch's users: parameters without gradient, statistics as in evaluation.
        if affine:
            norm.weight.requires_grad_(kind != "f")
            norm.bias.requires_grad_(kind != "f")
        norm.train(kind == "t")
        steps.append({"kind": kind, **applied(norm, x)})
    return {"momentum": momentum, "affine": affine, "tracks": tracks, "steps": steps}


CASES = {
    "momentum": case(),
    "other momentum": case(momentum=0.3, plan="tte"),
    "cumulative": case(momentum=None),
    "without parameters": case(affine=False, plan="te"),
    "without statistics": case(tracks=False, plan="te"),
    "frozen": case(plan="tfte"),
}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "batch-norm.json"
text = json.dumps(rounded(CASES), separators=(",", ":"))
out.write_text(text.replace('},"', '},\n"') + "\n")
