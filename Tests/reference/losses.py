"""Writes Tests/ApusNNTests/Reference/losses.json: PyTorch's losses and their gradients.

Run once, by hand, with PyTorch installed; the result is committed. Each case holds its inputs, the
loss, and the gradient of the loss's sum for each input that is differentiated, all in double.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(10)

X = torch.randn(4, 3, dtype=torch.float64)
Y = torch.randn(4, 3, dtype=torch.float64)
Z = torch.randn(4, 3, dtype=torch.float64)
# Differences on both sides of a kink, at it (1 and -1, exactly) and at 0.
KINK_X = torch.tensor([0.0, 1.0, -1.0, 0.5, -3.0, 2.5, 0.25], dtype=torch.float64)
KINK_Y = torch.tensor([0.0, 0.0, 0.0, 0.25, 1.0, 0.0, 1.25], dtype=torch.float64)
LOGITS = torch.tensor([-100.0, -100.0, 100.0, 100.0, 0.0, 0.0, -1.5, 2.0], dtype=torch.float64)
BITS = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.3, 0.8], dtype=torch.float64)
LABELS = torch.tensor([2, 0, 1, 2])
SOME = torch.tensor([2, -100, 1, -100])
SIGNS = torch.tensor([1, -1, -1, 1])
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
ELEMENT_WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.0, 3.0, 1.0, 0.1], dtype=torch.float64)
POSITIVE = torch.tensor(3.0, dtype=torch.float64)
TARGET = F.softmax(Y, -1)
# A class that never occurs, and one that always does.
SPARSE = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
LOGP = F.log_softmax(X, -1)
# An anchor that equals its positive, and one that equals its negative.
SAME = torch.cat([X[:1], Y[1:]])
OTHER = torch.cat([Z[:3], X[3:]])

CASES = {}


def case(name, function, differentiated=("x",), **inputs):
    leaves = {
        key: value.clone().requires_grad_(key in differentiated) for key, value in inputs.items()
    }
    loss = function(**leaves)
    loss.sum().backward()
    CASES[name] = {
        "inputs": {
            key: {
                "shape": list(value.shape),
                "values": value.flatten().tolist(),
                "isInteger": not value.is_floating_point(),
            }
            for key, value in inputs.items()
        },
        "loss": loss.detach().flatten().tolist(),
        "gradients": {key: leaves[key].grad.flatten().tolist() for key in differentiated},
    }


for reduction in ["none", "sum", "mean"]:
    both = ("x", "y")
    case(f"mse {reduction}", lambda x, y: F.mse_loss(x, y, reduction=reduction), both, x=X, y=Y)
    case(f"mae {reduction}", lambda x, y: F.l1_loss(x, y, reduction=reduction), both,
         x=KINK_X, y=KINK_Y)
    case(f"huber {reduction}", lambda x, y: F.huber_loss(x, y, reduction=reduction), both,
         x=KINK_X, y=KINK_Y)
    case(f"bce {reduction}",
         lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction=reduction),
         x=LOGITS, y=BITS)
    case(f"nll {reduction}", lambda x, labels: F.nll_loss(x, labels, reduction=reduction),
         x=LOGP, labels=LABELS)
    case(f"nll ignored weighted {reduction}",
         lambda x, labels, weights: F.nll_loss(x, labels, weights, reduction=reduction),
         x=LOGP, labels=SOME, weights=CLASS_WEIGHTS)
    case(f"cosine embedding {reduction}",
         lambda x, y, labels: F.cosine_embedding_loss(x, y, labels, 0.1, reduction=reduction),
         both, x=X, y=Y, labels=SIGNS)
    case(f"triplet {reduction}",
         lambda x, y, z: F.triplet_margin_loss(x, y, z, 0.7, eps=0, reduction=reduction),
         ("x", "y", "z"), x=X, y=Y, z=Z)

case("huber narrow", lambda x, y: F.huber_loss(x, y, delta=0.25), ("x", "y"), x=KINK_X, y=KINK_Y)
case("bce weighted",
     lambda x, y, weights: F.binary_cross_entropy_with_logits(x, y, weights, pos_weight=POSITIVE),
     x=LOGITS, y=BITS, weights=ELEMENT_WEIGHTS)
for ours, theirs in [
    ("none", "none"), ("sum", "sum"), ("batchMean", "batchmean"), ("elementMean", "mean"),
]:
    case(f"kl {ours}", lambda x, y: F.kl_div(x, y, reduction=theirs), ("x", "y"), x=LOGP, y=TARGET)
case("kl log", lambda x, y: F.kl_div(x, y, reduction="batchmean", log_target=True), ("x", "y"),
     x=LOGP, y=TARGET.log())
case("kl sparse", lambda x, y: F.kl_div(x, y, reduction="batchmean"), x=LOGP[:2], y=SPARSE)
case("cosine", lambda x, y: F.cosine_similarity(x, y, dim=-1), ("x", "y"), x=X, y=Y)
case("cosine columns", lambda x, y: F.cosine_similarity(x, y, dim=0), ("x", "y"), x=X, y=Y)
case("triplet order 1", lambda x, y, z: F.triplet_margin_loss(x, y, z, 0.7, p=1, eps=0),
     ("x", "y", "z"), x=X, y=Y, z=Z)
case("triplet equal", lambda x, y, z: F.triplet_margin_loss(x, y, z, 9.0, eps=0),
     ("x", "y", "z"), x=X, y=SAME, z=OTHER)

out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "losses.json"
out.write_text(json.dumps(CASES, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
