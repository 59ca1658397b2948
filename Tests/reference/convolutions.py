"""Writes Tests/ApusNNTests/Reference/convolutions.json: PyTorch's convolutions and their gradients.

Run once, by hand, with PyTorch installed; the result is committed. Arrays are [n, spatial..., c] and
[outputs, window..., inputs / groups] in the file. Images, weights and biases are those of `numbered`, here
and in the test. With E = Σ y² / 2, each case holds y, the gradients of E for image, weight and bias, and the
gradients of Σ (∂E/∂image)² / 2 + Σ (∂E/∂weight)² / 2 for image and weight, all in double.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

CASES = {}


def numbered(shape, factor, modulus, middle, scale):
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((factor * i % modulus - middle) / scale).reshape(shape)


def first(x):
    """Channels last as PyTorch has them."""
    return x.movedim(-1, 1)


def numbers(x):
    return [round(v, 9) for v in x.detach().flatten().tolist()]


FUNCTIONS = {
    "conv1d": F.conv1d, "conv2d": F.conv2d, "conv3d": F.conv3d,
    "convTranspose1d": F.conv_transpose1d, "convTranspose2d": F.conv_transpose2d,
    "convTranspose3d": F.conv_transpose3d,
}


def case(name, kind, image, channels, window, stride=1, before=0, after=None, dilation=1, groups=1,
         output_padding=0, same=False):
    """`same`: what is said to Apus; `before` and `after` are what comes of it."""
    rank = len(window)
    each = lambda value: [value] * rank if isinstance(value, int) else value
    stride, before, dilation, further = map(each, (stride, before, dilation, output_padding))
    after = before if after is None else each(after)
    inputs, outputs = channels
    is_transposed = kind.startswith("convTranspose")
    shape = (
        [inputs, *window, outputs // groups] if is_transposed
        else [outputs, *window, inputs // groups])
    x = numbered([*image, inputs], 37, 127, 63.25, 64).requires_grad_()
    w = numbered(shape, 53, 97, 48, 64).requires_grad_()
    b = numbered([outputs], 29, 31, 15, 16).requires_grad_()
    if is_transposed:
        y = FUNCTIONS[kind](
            first(x), first(w), b, stride, before, further, groups, dilation)
        # PyTorch has no padding that differs before and after.
        assert before == after
    else:
        sides = [side for pair in reversed(list(zip(before, after))) for side in pair]
        y = FUNCTIONS[kind](F.pad(first(x), sides), first(w), b, stride, 0, dilation, groups)
    y = y.movedim(1, -1)
    gx, gw, gb = torch.autograd.grad(y.square().sum() / 2, [x, w, b], create_graph=True)
    hx, hw = torch.autograd.grad((gx.square().sum() + gw.square().sum()) / 2, [x, w])
    CASES[name] = {
        "kind": kind, "image": [*image, inputs], "weight": shape, "outputs": outputs,
        "stride": stride, "before": before, "after": after, "dilation": dilation, "groups": groups,
        "outputPadding": further, "isSame": same, "shape": list(y.shape), "y": numbers(y),
        "gradients": [numbers(g) for g in (gx, gw, gb)], "second": [numbers(h) for h in (hx, hw)],
    }


case("1d", "conv1d", [2, 9], (2, 3), [3], stride=2, before=1)
case("1d dilated", "conv1d", [1, 11], (2, 2), [3], before=2, dilation=3)
case("2d", "conv2d", [2, 4, 5], (3, 4), [3, 3], before=1)
case("2d one pixel", "conv2d", [2, 1, 1], (3, 2), [3, 3], before=1)
case("2d pointwise", "conv2d", [2, 3, 3], (4, 3), [1, 1])
case("2d pointwise strided", "conv2d", [1, 5, 4], (3, 4), [1, 1], stride=2)
case("2d odd strides", "conv2d", [1, 7, 8], (2, 3), [3, 2], stride=[2, 3], before=[1, 0])
case("2d dilated", "conv2d", [1, 6, 5], (2, 2), [2, 3], stride=[1, 2], before=[2, 3], dilation=[3, 2])
case("2d groups", "conv2d", [1, 4, 4], (4, 6), [3, 3], before=1, groups=2)
case("2d depthwise", "conv2d", [1, 5, 4], (4, 8), [3, 3], before=1, groups=4)
case("2d sides", "conv2d", [1, 4, 4], (2, 2), [3, 3], before=[0, 2], after=[1, 0])
# PyTorch's "same" has a stride of 1 only; with others, TensorFlow's rule.
case("2d same", "conv2d", [1, 4, 5], (2, 3), [2, 3], before=[0, 1], after=[1, 1], same=True)
case("2d same strided", "conv2d", [1, 6, 7], (2, 3), [3, 3], stride=2, before=[0, 1], after=[1, 1],
     same=True)
case("2d same dilated", "conv2d", [1, 5, 6], (2, 2), [2, 3], before=[1, 2], after=[1, 2],
     dilation=2, same=True)
case("3d", "conv3d", [1, 3, 4, 3], (2, 3), [2, 3, 2], stride=[1, 2, 1], before=[1, 1, 0])
case("transposed 1d", "convTranspose1d", [2, 4], (3, 2), [4], stride=2, before=1)
case("transposed 2d", "convTranspose2d", [1, 3, 4], (3, 2), [3, 3], stride=2, before=1,
     output_padding=1)
case("transposed 2d groups", "convTranspose2d", [1, 3, 3], (4, 6), [2, 3], stride=[2, 3],
     before=[0, 1], output_padding=[1, 0], groups=2)
case("transposed 2d dilated", "convTranspose2d", [1, 3, 3], (2, 2), [3, 2], before=1, dilation=2)
case("transposed 3d", "convTranspose3d", [1, 2, 2, 2], (2, 2), [2, 3, 2], stride=[2, 1, 2],
     before=[0, 1, 0])

path = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "convolutions.json"
path.write_text(json.dumps(CASES, indent=None, sort_keys=True).replace("}, ", "},\n") + "\n")
