"""Writes Tests/ApusNNTests/Reference/metrics.json: scikit-learn's metrics of small data.

Run once, by hand, with scikit-learn installed; the result is committed.
"""

import json
import pathlib

import numpy as np
import sklearn.metrics as m

rng = np.random.default_rng(14)
COUNT, CLASSES = 97, 5
# Class 4 is never right and rarely there; scores of two digits, so that some are equal.
labels = rng.choice(CLASSES, COUNT, p=[0.4, 0.3, 0.15, 0.12, 0.03])
scores = np.round(rng.normal(size=(COUNT, CLASSES)) + 1.5 * np.eye(CLASSES)[labels], 2)
scores[:, 4] -= 6
predictions = scores.argmax(1)
probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
positive = (rng.random(COUNT) < 0.3).astype(int)
ranking = np.round(positive + rng.normal(size=COUNT), 1)
targets = np.round(1000 + rng.normal(size=COUNT), 3)
guesses = np.round(targets + 0.5 * rng.normal(size=COUNT), 3)

figures = {
    "accuracy": m.accuracy_score(labels, predictions),
    "top 2": m.top_k_accuracy_score(labels, scores, k=2),
    "perplexity": float(np.exp(m.log_loss(labels, probabilities, labels=range(CLASSES)))),
    "roc auc": m.roc_auc_score(positive, ranking),
    "average precision": m.average_precision_score(positive, ranking),
    "mae": m.mean_absolute_error(targets, guesses),
    "mse": m.mean_squared_error(targets, guesses),
    "rmse": float(m.mean_squared_error(targets, guesses) ** 0.5),
    "r2": m.r2_score(targets, guesses),
    "iou macro": m.jaccard_score(labels, predictions, average="macro", zero_division=0),
}
for average in ["micro", "macro", "weighted"]:
    figures[f"precision {average}"] = m.precision_score(
        labels, predictions, average=average, zero_division=0)
    figures[f"recall {average}"] = m.recall_score(labels, predictions, average=average)
    figures[f"f1 {average}"] = m.f1_score(labels, predictions, average=average, zero_division=0)
result = {
    "labels": labels.tolist(), "scores": scores.flatten().tolist(),
    "positive": positive.tolist(), "ranking": ranking.tolist(), "targets": targets.tolist(),
    "guesses": guesses.tolist(),
    "confusion": m.confusion_matrix(labels, predictions, labels=range(CLASSES)).flatten().tolist(),
    "f1 of classes": m.f1_score(labels, predictions, average=None, zero_division=0).tolist(),
    "curve": np.stack(m.roc_curve(positive, ranking, drop_intermediate=False)[:2]).T.flatten()
    .tolist(),
}
result |= {name: [float(value)] for name, value in figures.items()}
out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "metrics.json"
out.write_text(json.dumps(result, separators=(",", ":")).replace("],", "],\n") + "\n")
