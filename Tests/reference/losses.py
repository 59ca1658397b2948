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



def focal(x, y, alpha=0.25, gamma=2.0, reduction="mean"):
    """torchvision.ops.sigmoid_focal_loss, written out."""
    p = torch.sigmoid(x)
    loss = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    loss = loss * (1 - (p * y + (1 - p) * (1 - y))) ** gamma
    if alpha is not None:
        loss = (alpha * y + (1 - alpha) * (1 - y)) * loss
    return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]


def dice(x, labels, smoothing=1.0):
    """The soft Dice loss over the classes of a whole batch."""
    p = F.softmax(x, -1).reshape(-1, x.shape[-1])
    y = F.one_hot(labels.flatten(), x.shape[-1]).to(p)
    overlap = 2 * (p * y).sum(0) + smoothing
    return (1 - overlap / (p.sum(0) + y.sum(0) + smoothing)).mean()


def detection(x, y, classes, offsets):
    """RetinaNet's losses: torchvision.models.detection.retinanet, written out for one batch."""
    holds = classes > 0
    count = holds.sum().clamp(min=1)
    target = F.one_hot(classes.clamp(min=0), x.shape[-1] + 1)[..., 1:].to(x)
    labels = focal(x, target, reduction="none")[classes != -1].sum() / count
    boxes = F.smooth_l1_loss(y[holds], offsets[holds], beta=1 / 9, reduction="sum") / count
    return torch.stack([labels, boxes])


def psnr(x, y):
    """The mean over the images of 10 log10(1 / mse)."""
    return (-10 * ((x - y) ** 2).mean((1, 2, 3)).log10()).mean()


def ssim(x, y):
    """Wang et al. 2004 with Gaussian windows of 11 x 11, deviation 1.5, over pixels in 0...1."""
    place = torch.arange(11, dtype=torch.float64) - 5
    bell = torch.exp(-((place / 1.5) ** 2) / 2)
    window = torch.outer(bell, bell) / bell.sum() ** 2
    channels = x.shape[-1]
    weight = window.expand(channels, 1, 11, 11)

    def blurred(image):
        return F.conv2d(image.permute(0, 3, 1, 2), weight, groups=channels)

    mx, my = blurred(x), blurred(y)
    vx, vy, both = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * both + c2)
            / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


for reduction in ["none", "sum", "mean"]:
    case(f"focal {reduction}", lambda x, y: focal(x, y, reduction=reduction), x=LOGITS, y=BITS)
    case(f"smooth l1 {reduction}", lambda x, y: F.smooth_l1_loss(x, y, reduction=reduction),
         ("x", "y"), x=KINK_X, y=KINK_Y)
case("focal half", lambda x, y: focal(x, y, None, 0.5), x=X, y=SAME.sigmoid())
case("focal plain", lambda x, y: focal(x, y, 0.5, 0), x=LOGITS, y=BITS)
case("smooth l1 narrow", lambda x, y: F.smooth_l1_loss(x, y, beta=0.25), ("x", "y"),
     x=KINK_X, y=KINK_Y)
case("smooth l1 sharp", lambda x, y: F.smooth_l1_loss(x, y, beta=0), ("x", "y"),
     x=KINK_X, y=KINK_Y)
PIXELS = torch.randn(2, 2, 3, 4, dtype=torch.float64)
# Class 3 is nowhere.
MASKS = torch.tensor([[[0, 1, 2], [0, 0, 1]], [[2, 2, 0], [0, 1, 0]]])
case("dice", dice, x=PIXELS, labels=MASKS)
case("dice smooth", lambda x, labels: dice(x, labels, 0.1), x=PIXELS, labels=MASKS)
# Background, classes 0 and 2, anchors that count for nothing, an image without anything.
ANCHORS = torch.tensor([[0, 1, -1, 3, 0], [0, 0, -1, 0, 0]])
case("detection", detection, ("x", "y"), x=torch.randn(2, 5, 3, dtype=torch.float64),
     y=torch.randn(2, 5, 4, dtype=torch.float64), classes=ANCHORS,
     offsets=torch.randn(2, 5, 4, dtype=torch.float64))
case("detection of nothing", detection, ("x", "y"), x=torch.randn(1, 3, 2, dtype=torch.float64),
     y=torch.randn(1, 3, 4, dtype=torch.float64), classes=torch.tensor([[0, -1, 0]]),
     offsets=torch.zeros(1, 3, 4, dtype=torch.float64))
IMAGES = torch.rand(1, 11, 12, 2, dtype=torch.float64)
NOISY = IMAGES + 0.1 * torch.randn(1, 11, 12, 2, dtype=torch.float64)
case("psnr", psnr, ("x", "y"), x=PIXELS, y=PIXELS.flip(2))
case("ssim", ssim, x=NOISY, y=IMAGES)

# Margins, counts, pairs, sequences.
def hinge(x, labels, squared=False):
    loss = (1 - labels * x).clamp(min=0)
    return (loss**2 if squared else loss).mean()


def contrastive(x, y, labels, margin, reduction="mean"):
    """Hadsell, Chopra & LeCun 2006, equations 4 and 5."""
    d = (x - y).norm(dim=-1)
    loss = 0.5 * (labels * d**2 + (1 - labels) * (margin - d).clamp(min=0) ** 2)
    return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]


def info_nce(x, y, temperature=0.1, symmetric=False, reduction="mean"):
    logits = F.normalize(x, dim=-1, eps=1e-8) @ F.normalize(y, dim=-1, eps=1e-8).T / temperature
    own = torch.arange(len(x))
    loss = F.cross_entropy(logits, own, reduction=reduction)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, own, reduction=reduction)) / 2
    return loss


FLAGS = torch.tensor([1, 0, 0, 1])
COUNTS = torch.tensor([[0, 1, 2], [3, 0, 5], [1, 1, 9], [2, 4, 0]])
VARIANCE = Z.abs() + 0.1
for reduction in ["none", "sum", "mean"]:
    case(f"hinge embedding {reduction}",
         lambda x, labels: F.hinge_embedding_loss(x, labels, 0.7, reduction=reduction),
         x=X[:, 0].abs(), labels=SIGNS)
    case(f"multi margin {reduction}",
         lambda x, labels, weights: F.multi_margin_loss(
             x, labels, 2, 0.8, weights, reduction=reduction),
         x=X, labels=LABELS, weights=CLASS_WEIGHTS)
    case(f"margin ranking {reduction}",
         lambda x, y, labels: F.margin_ranking_loss(x, y, labels, 0.1, reduction=reduction),
         ("x", "y"), x=X[:, 0], y=Y[:, 0], labels=SIGNS)
    case(f"contrastive {reduction}",
         lambda x, y, labels: contrastive(x, y, labels, 2.5, reduction), ("x", "y"),
         x=X, y=Y, labels=FLAGS)
    case(f"info nce {reduction}", lambda x, y: info_nce(x, y, reduction=reduction), ("x", "y"),
         x=X, y=Y)
    case(f"poisson {reduction}", lambda x, y: F.poisson_nll_loss(x, y, reduction=reduction),
         x=X, y=COUNTS)
    case(f"gaussian {reduction}",
         lambda x, y, z: F.gaussian_nll_loss(x, y, z, reduction=reduction), ("x", "y", "z"),
         x=X, y=Y, z=VARIANCE)
case("hinge", hinge, x=X[:, 0], labels=SIGNS)
case("hinge squared", lambda x, labels: hinge(x, labels, True), x=X[:, 0], labels=SIGNS)
case("multi margin plain", lambda x, labels: F.multi_margin_loss(x, labels), x=X, labels=LABELS)
case("info nce symmetric", lambda x, y: info_nce(x, y, 0.5, True), ("x", "y"), x=X, y=Y)
case("poisson full", lambda x, y: F.poisson_nll_loss(x, y, False, True), x=X.abs(), y=COUNTS.double())
case("gaussian shared",
     lambda x, y, z: F.gaussian_nll_loss(x, y, z, full=True), ("x", "y", "z"),
     x=X, y=Y, z=VARIANCE[:, :1])

FRAMES = torch.randn(4, 7, 5, dtype=torch.float64)
# A repeated label, one that is alone, one without labels, and one that has too few frames.
READ = torch.tensor([[1, 1, 2], [3, 0, 0], [0, 0, 0], [2, 2, 2]])
READ_LENGTHS = torch.tensor([3, 1, 0, 3])
FRAME_LENGTHS = torch.tensor([7, 4, 5, 4])


def ctc(x, labels, lengths, counts, **settings):
    return F.ctc_loss(F.log_softmax(x, -1).transpose(0, 1), labels, lengths, counts, **settings)


for reduction in ["none", "sum", "mean"]:
    case(f"ctc {reduction}",
         lambda x, labels, lengths, counts: ctc(
             x, labels, lengths, counts, zero_infinity=True, reduction=reduction),
         x=FRAMES, labels=READ, lengths=FRAME_LENGTHS, counts=READ_LENGTHS)
case("ctc whole",
     lambda x, labels: ctc(x, labels, torch.tensor([7, 7]), torch.tensor([3, 3]), blank=4),
     x=FRAMES[:2], labels=torch.tensor([[1, 1, 0], [3, 0, 2]]))

out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "losses.json"
out.write_text(json.dumps(CASES, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
