"""Writes Tests/ApusNNTests/Reference/padding-modes.json: PyTorch's convolution layers with padding modes.

Run once, by hand, with PyTorch installed; the result is committed. Arrays are [n, spatial..., c] and
[outputs, window..., inputs / groups] in the file. Images, weights and biases are those of `numbered`, here and
in the test. Each case holds y and the gradients of Σ y² / 2 for image, weight and bias, in double.
"""

import json
import pathlib

import torch

CASES = {}
LAYERS = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


def numbered(shape, factor, modulus, middle, scale):
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((factor * i % modulus - middle) / scale).reshape(shape)


def first(x):
    """Channels last as PyTorch has them."""
    return x.movedim(-1, 1)


def numbers(x):
    return [round(v, 9) for v in x.detach().flatten().tolist()]


def case(name, image, channels, window, mode, stride=1, padding=1, dilation=1, groups=1):
    """`padding`: a number, one an axis, or "same"."""
    rank = len(window)
    inputs, outputs = channels
    layer = LAYERS[rank](
        inputs, outputs, window, stride, padding, dilation, groups, padding_mode=mode).double()
    x = numbered([*image, inputs], 37, 127, 63.25, 64).requires_grad_()
    w = numbered([outputs, *window, inputs // groups], 53, 97, 48, 64).requires_grad_()
    b = numbered([outputs], 29, 31, 15, 16).requires_grad_()
    y = torch.func.functional_call(layer, {"weight": first(w), "bias": b}, first(x)).movedim(1, -1)
    gradients = torch.autograd.grad(y.square().sum() / 2, [x, w, b])
    each = lambda value: [value] * rank if isinstance(value, int) else value
    CASES[name] = {
        "image": [*image, inputs], "outputs": outputs, "window": window, "mode": mode,
        "stride": each(stride), "padding": [] if padding == "same" else each(padding),
        "dilation": each(dilation), "groups": groups, "shape": list(y.shape), "y": numbers(y),
        "gradients": [numbers(g) for g in gradients],
    }


for mode in ["zeros", "reflect", "replicate", "circular"]:
    case(f"1d {mode}", [2, 7], (2, 3), [3], mode, stride=2, padding=2)
    case(f"1d {mode} same", [1, 6], (1, 2), [4], mode, padding="same")
    case(f"2d {mode}", [2, 4, 5], (2, 4), [3, 3], mode)
    case(f"2d {mode} sides", [1, 5, 4], (2, 2), [3, 5], mode, stride=[2, 1], padding=[1, 2])
    case(f"2d {mode} dilated", [1, 6, 5], (4, 4), [3, 2], mode, dilation=2, padding=2, groups=2)
    case(f"3d {mode}", [1, 3, 4, 3], (1, 2), [3, 2, 3], mode, padding=1)

path = pathlib.Path(__file__).parent.parent / "ApusNNTests/Reference/padding-modes.json"
path.write_text(json.dumps(CASES, sort_keys=True, separators=(",", ":")) + "\n")
