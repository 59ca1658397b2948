"""Writes Tests/ApusNNTests/Reference/pooling.json: PyTorch's pooling and its gradients.

Run once, by hand, with PyTorch installed; the result is committed. Images are [n, spatial..., c] in the
file. Each case holds its arguments, what comes of images x, and the gradient for x of a weighted sum of
that, all in double. x and the weights are those of `numbered`, here and in the test.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

CASES = {}


def numbered(shape, modulus, middle, scale):
    """[n, c, ...] whose elements, counted with the channels last, are (37 i mod modulus - middle) / scale."""
    shape = [shape[0], *shape[2:], shape[1]]
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((37 * i % modulus - middle) / scale).reshape(shape).movedim(-1, 1)


def numbers(x):
    return [round(v, 9) for v in x.detach().movedim(1, -1).flatten().tolist()]


def case(name, kind, image, function, **arguments):
    # All different, their magnitudes too.
    x = numbered([1, 2, *image], 127, 63.25, 8).requires_grad_()
    y = function(x)
    (y * numbered(y.shape, 17, 8, 1)).sum().backward()
    CASES[name] = {
        "kind": kind,
        "image": [1, *image, 2],
        "shape": list(y.movedim(1, -1).shape),
        "y": numbers(y),
        "gradient": numbers(x.grad),
        **arguments,
    }


MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
ADAPTIVE_AVERAGE = {
    1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d
}

# image, size, stride, padding, dilation
WINDOWS = [
    ([9], [2], [2], [0], [1]),
    ([10], [3], [2], [1], [2]),
    ([5, 7], [2, 2], [2, 2], [0, 0], [1, 1]),
    ([7, 6], [3, 3], [2, 2], [1, 1], [1, 1]),
    ([6, 8], [3, 2], [1, 3], [1, 1], [2, 3]),
    ([7, 5], [2, 3], [3, 2], [0, 1], [1, 1]),
    ([4, 5, 3], [2, 3, 2], [2, 2, 1], [1, 1, 0], [1, 1, 1]),
]

for image, size, stride, padding, dilation in WINDOWS:
    rank = len(image)
    for ceil in [False, True]:
        shared = dict(size=size, stride=stride, padding=padding, ceilMode=ceil)
        name = f"{image} by {size} / {stride}, {padding} around, ceil {ceil}"
        case(f"max {name}, {dilation} apart", "max", image,
             lambda x: MAX[rank](x, size, stride, padding, dilation, ceil),
             dilation=dilation, **shared)
        if any(d > 1 for d in dilation):
            continue
        for counts in [False, True]:
            case(f"average {name}, counts {counts}", "average", image,
                 lambda x: AVERAGE[rank](x, size, stride, padding, ceil, counts),
                 countsPadding=counts, **shared)
        if rank > 1:
            case(f"average {name}, divided by 3", "average", image,
                 lambda x: AVERAGE[rank](x, size, stride, padding, ceil, True, 3),
                 countsPadding=True, divisor=3, **shared)

for image, outputs in [
    ([7], [3]), ([3], [5]), ([7, 10], [3, 4]), ([8, 6], [4, 3]), ([5, 4], [1, 1]), ([5, 4], [1, 3]),
    ([3, 5, 4], [2, 3, 1]),
]:
    rank = len(image)
    case(f"adaptive max {image} to {outputs}", "adaptiveMax", image,
         lambda x: ADAPTIVE_MAX[rank](x, outputs), size=outputs)
    case(f"adaptive average {image} to {outputs}", "adaptiveAverage", image,
         lambda x: ADAPTIVE_AVERAGE[rank](x, outputs), size=outputs)

for order in [1.0, 2.0, 3.0, float("inf")]:
    for image, size, stride in [([7], [3], [2]), ([6, 5], [2, 3], [2, 1])]:
        lp = F.lp_pool1d if len(image) == 1 else F.lp_pool2d
        arguments = dict(size=size, stride=stride, order=order if order < 10 else -1)
        if order < 10:
            case(f"lp {order} {image} by {size}", "lp", image,
                 lambda x: lp(x.abs(), order, size if len(size) > 1 else size[0],
                              stride if len(size) > 1 else stride[0]), **arguments)
        else:
            case(f"lp {order} {image} by {size}", "lp", image,
                 lambda x: MAX[len(image)](x.abs(), size, stride), **arguments)


def unpooled(x, size, stride, padding, image):
    rank = len(size)
    y, places = MAX[rank](x, size, stride, padding, return_indices=True)
    unpool = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}[rank]
    return unpool(y, places, size, stride, padding, image)


for image, size, stride, padding, to in [
    ([8], [2], [2], [0], None), ([9], [2], [2], [0], [9]), ([6, 8], [2, 2], [2, 2], [0, 0], None),
    ([7, 7], [2, 3], [2, 3], [0, 1], [7, 7]), ([4, 4, 6], [2, 2, 3], [2, 2, 3], [0, 0, 0], None),
]:
    case(f"unpool {image} by {size}, to {to}", "unpool", image,
         lambda x: unpooled(x, size, stride, padding, to),
         size=size, stride=stride, padding=padding, **({"to": to} if to else {}))

out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "pooling.json"
out.write_text(json.dumps(CASES, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
