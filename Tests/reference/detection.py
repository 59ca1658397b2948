"""Writes Tests/ApusNNTests/Reference/detection.json: boxes, suppression and average precision.

Run once, by hand, with NumPy and pycocotools installed; the result is committed. Overlaps, offsets and
suppression are torchvision's rules written out in double; COCO's average precision is pycocotools' own, and
VOC's that of the development kit (`voc_eval.py`, all points) written out.
"""

import contextlib
import io
import json
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

random = np.random.default_rng(7)


def boxes(count, size=100.0):
    corner = random.uniform(0, size, (count, 2))
    extent = random.uniform(1, size / 2, (count, 2))
    # Numbers that f32 has, so that everybody computes with the same.
    return np.concatenate([corner, corner + extent], 1).astype(np.float32).astype(np.float64)


def area(b):
    return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])


def overlap(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), -1)
    union = area(a)[:, None] + area(b)[None] - both
    around = np.prod(np.maximum(a[:, None, 2:], b[None, :, 2:])
                     - np.minimum(a[:, None, :2], b[None, :, :2]), -1)
    iou = both / union
    return iou, iou - (around - union) / around


def nms(b, scores, threshold):
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        iou = overlap(b[first:first + 1], b[order])[0][0]
        order = order[iou <= threshold]
    return kept


def batched_nms(b, scores, labels, threshold):
    """torchvision's trick: classes are moved apart."""
    return nms(b + labels[:, None] * (b.max() + 1), scores, threshold)


def encode(b, a, variances=(0.1, 0.2)):
    size, own = b[:, 2:] - b[:, :2], a[:, 2:] - a[:, :2]
    middle, centre = (b[:, 2:] + b[:, :2]) / 2, (a[:, 2:] + a[:, :2]) / 2
    return np.concatenate([(middle - centre) / own / variances[0],
                           np.log(size / own) / variances[1]], 1)


A, B = boxes(6), boxes(5)
iou, generalized = overlap(A, B)
MANY = boxes(60)
SCORES = random.uniform(0, 1, 60).astype(np.float32).astype(np.float64)
SCORES[10] = SCORES[20] = SCORES[30]
LABELS = random.integers(0, 3, 60)
ANCHORS = boxes(6)
RESULT = {
    "boxes": A.tolist(), "others": B.tolist(), "area": area(A).tolist(), "iou": iou.tolist(),
    "generalizedIoU": generalized.tolist(), "anchors": ANCHORS.tolist(),
    "offsets": encode(A, ANCHORS).tolist(),
    "many": MANY.tolist(), "scores": SCORES.tolist(), "labels": LABELS.tolist(),
    "kept": {str(t): nms(MANY, SCORES, t) for t in (0.0, 0.3, 0.5, 1.0)},
    "keptByClass": {str(t): batched_nms(MANY, SCORES, LABELS, t) for t in (0.0, 0.3, 0.5)},
}

CLASSES = 4


def image(kind):
    """Boxes that are there and what was found: near them, far from them, twice, of wrong classes."""
    truth = boxes(0 if kind == "empty" else random.integers(1, 7))
    labels = random.integers(0, CLASSES - 1, len(truth))
    found, classes = [], []
    if kind != "missed":
        for box, label in zip(truth, labels):
            for _ in range(random.integers(0, 4)):
                found.append(box + random.normal(0, 3, 4))
                classes.append(label if random.uniform() < 0.8 else random.integers(0, CLASSES))
        for box in boxes(random.integers(0, 4)):
            found.append(box)
            classes.append(random.integers(0, CLASSES))
    if kind == "crowded":
        for _ in range(150):
            found.append(truth[0] + random.normal(0, 4, 4))
            classes.append(labels[0])
    found = np.array(found).reshape(-1, 4).astype(np.float32).astype(np.float64)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    # Few different scores: many are equal.
    scores = np.round(random.uniform(0, 1, len(found)), 1 if kind == "equal" else 3)
    return {
        "truth": truth.tolist(), "labels": labels.tolist(), "found": found.tolist(),
        "scores": scores.astype(np.float32).astype(np.float64).tolist(),
        "classes": [int(c) for c in classes],
    }


IMAGES = [image(k) for k in
          ["plain"] * 12 + ["empty", "missed", "crowded", "equal", "equal"] + ["plain"] * 3]


def coco():
    def xywh(b):
        return [b[0], b[1], b[2] - b[0], b[3] - b[1]]

    truths, found = [], []
    for number, one in enumerate(IMAGES):
        for b, label in zip(one["truth"], one["labels"]):
            w = xywh(b)
            truths.append({"id": len(truths) + 1, "image_id": number, "category_id": int(label),
                           "bbox": w, "area": w[2] * w[3], "iscrowd": 0})
        for b, label, score in zip(one["found"], one["classes"], one["scores"]):
            found.append({"image_id": number, "category_id": label, "bbox": xywh(b),
                          "score": score})
    data = COCO()
    data.dataset = {"images": [{"id": n} for n in range(len(IMAGES))], "annotations": truths,
                    "categories": [{"id": c} for c in range(CLASSES)], "info": {}}
    data.createIndex()
    run = COCOeval(data, data.loadRes(found), "bbox")
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.params.maxDets = [100]
    run.evaluate()
    run.accumulate()
    # [thresholds, recalls, classes, areas, counts]
    return run.eval["precision"][:, :, :, 0, 0].mean(1)


def voc(label, threshold):
    entries, count, seen = [], 0, {}
    for number, one in enumerate(IMAGES):
        own = [b for b, l in zip(one["truth"], one["labels"]) if l == label]
        count += len(own)
        seen[number] = (np.array(own).reshape(-1, 4), [False] * len(own))
        entries += [(-s, n, number, b) for n, (b, l, s) in
                    enumerate(zip(one["found"], one["classes"], one["scores"])) if l == label]
    # By falling score; of equal ones the first image and the first detection.
    entries.sort(key=lambda e: (e[0], e[2], e[1]))
    right = []
    for _, _, number, b in entries:
        own, used = seen[number]
        hit = False
        if len(own):
            ious = overlap(np.array([b]), own)[0][0]
            best = int(ious.argmax())
            if ious[best] > threshold and not used[best]:
                used[best] = hit = True
        right.append(hit)
    if count == 0:
        return None
    tp = np.cumsum(right)
    recall, precision = tp / count, tp / np.arange(1, len(tp) + 1)
    r = np.concatenate([[0.0], recall, [1.0]])
    p = np.concatenate([[0.0], precision, [0.0]])
    for i in range(len(p) - 1, 0, -1):
        p[i - 1] = max(p[i - 1], p[i])
    steps = np.where(r[1:] != r[:-1])[0]
    return float(((r[steps + 1] - r[steps]) * p[steps + 1]).sum())


with contextlib.redirect_stdout(io.StringIO()):
    PRECISION = coco()
RESULT["images"] = IMAGES
RESULT["classCount"] = CLASSES
RESULT["coco"] = [[None if v < 0 else v for v in row] for row in PRECISION.tolist()]
RESULT["voc"] = {str(t): [voc(c, t) for c in range(CLASSES)] for t in (0.3, 0.5, 0.75)}

out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "detection.json"
out.write_text(json.dumps(RESULT, separators=(",", ":")).replace('],"', '],\n"') + "\n")
