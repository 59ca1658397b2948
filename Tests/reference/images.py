"""Writes Tests/ApusNNTests/Reference/images.json: what PyTorch makes of images, and the gradients.

Run once, by hand, with PyTorch installed; the result is committed. All in double. Images are stored
channels last. Each case holds the result, and the gradient of the sum of cos(i) times its i-th
element for each input.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(13)
DTYPE = torch.float64
SHAPES = {"line": (1, 5, 3), "image": (1, 4, 5, 1), "pair": (2, 3, 2, 4), "volume": (1, 2, 3, 2, 1),
          "deep": (1, 2, 2, 20)}
INPUTS = {name: torch.randn(*shape, dtype=DTYPE) for name, shape in SHAPES.items()}
GAMMA = {c: torch.linspace(0.5, 1.5, c, dtype=DTYPE) for c in (3, 4)}
BETA = {c: torch.linspace(-1, 1, c, dtype=DTYPE) for c in (3, 4)}
CASES = {}


def case(name, image, function, *parameters):
    """`function` takes channels first."""
    leaves = [t.clone().requires_grad_(True) for t in (INPUTS[image], *parameters)]
    result = function(leaves[0].movedim(-1, 1), *leaves[1:]).movedim(1, -1)
    weights = torch.arange(result.numel(), dtype=DTYPE).cos().reshape(result.shape)
    (result * weights).sum().backward()
    CASES[name] = {
        "image": image, "shape": list(result.shape), "result": result.flatten().tolist(),
        "gradients": [leaf.grad.flatten().tolist() for leaf in leaves],
    }


for groups in (1, 2, 4):
    case(f"groupNorm {groups}", "pair", lambda x, g, b: F.group_norm(x, groups, g, b, 1e-3),
         GAMMA[4], BETA[4])
case("groupNorm plain", "line", lambda x: F.group_norm(x, 3))
case("instanceNorm", "pair", lambda x, g, b: F.instance_norm(x, weight=g, bias=b), GAMMA[4], BETA[4])
case("instanceNorm line", "line", lambda x: F.instance_norm(x))
case("localResponseNorm 3", "pair", lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2))
case("localResponseNorm 2", "pair", lambda x: F.local_response_norm(x, 2, 0.5))
case("localResponseNorm 18", "deep", lambda x: F.local_response_norm(x, 18, 0.5))
for mode in ("nearest", "nearest-exact"):
    case(f"{mode} size", "image", lambda x: F.interpolate(x, (7, 3), mode=mode))
    case(f"{mode} scale", "image", lambda x: F.interpolate(x, scale_factor=2, mode=mode))
    case(f"{mode} odd scale", "image", lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode=mode))
    case(f"{mode} line", "line", lambda x: F.interpolate(x, 8, mode=mode))
    case(f"{mode} volume", "volume", lambda x: F.interpolate(x, (3, 2, 4), mode=mode))
for align in (False, True):
    end = " aligned" if align else ""
    for mode in ("bilinear", "bicubic"):
        case(f"{mode} size{end}", "image",
             lambda x: F.interpolate(x, (7, 3), mode=mode, align_corners=align))
        case(f"{mode} scale{end}", "image",
             lambda x: F.interpolate(x, scale_factor=2, mode=mode, align_corners=align))
        case(f"{mode} odd scale{end}", "image",
             lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode=mode, align_corners=align))
        case(f"{mode} one{end}", "image",
             lambda x: F.interpolate(x, (1, 1), mode=mode, align_corners=align))
    case(f"linear{end}", "line", lambda x: F.interpolate(x, 9, mode="linear", align_corners=align))
    case(f"trilinear{end}", "volume",
         lambda x: F.interpolate(x, (3, 2, 5), mode="trilinear", align_corners=align))
case("bilinear near scale", "image",
     lambda x: F.interpolate(x, scale_factor=1.1, mode="bilinear", align_corners=False))
case("bilinear half near scale", "image",
     lambda x: F.interpolate(x, scale_factor=(1.1, 2), mode="bilinear", align_corners=False))
case("nearest-exact near scale", "image",
     lambda x: F.interpolate(x, scale_factor=(1.15, 0.5), mode="nearest-exact"))
case("pixelShuffle", "pair", lambda x: F.pixel_shuffle(x, 2))
case("pixelShuffle deep", "deep", lambda x: F.pixel_shuffle(x[:, :18], 3))
case("pixelUnshuffle", "deep", lambda x: F.pixel_unshuffle(x, 2))
for mode in ("reflect", "replicate", "circular"):
    case(f"pad {mode}", "image", lambda x: F.pad(x, (2, 3, 1, 2), mode=mode))
    case(f"pad {mode} line", "line", lambda x: F.pad(x, (0, 4), mode=mode))


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


file = {"inputs": {n: {"shape": list(t.shape), "values": t.flatten().tolist()}
                   for n, t in INPUTS.items()}, "cases": CASES}
out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "images.json"
text = json.dumps(rounded(file), separators=(",", ":"))
out.write_text(text.replace('},"', '},\n"') + "\n")
