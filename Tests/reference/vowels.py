"""Prints what the nearest neighbour under dynamic time warping gets right of JapaneseVowels.

    python3 Tests/reference/vowels.py aeon/datasets/data/JapaneseVowels

The figure that Docs/ImageModels.md compares `apus train japanese-vowels` with: all channels are warped together, by
squared distances, without a window (Shokoohi-Yekta et al. 2017 call it DTW_D).
"""

import sys

import numpy as np


def read(path):
    series, labels = [], []
    for line in open(path, encoding="utf-8"):
        if line[0] in "#@" or not line.strip():
            continue
        *channels, label = line.strip().split(":")
        series.append(np.array([[float(v) for v in c.split(",")] for c in channels]).T)
        labels.append(label)
    return series, labels


def distance(x, y):
    cost = ((x[:, None] - y[None]) ** 2).sum(-1).tolist()
    above = [0.0] + [np.inf] * len(y)
    for row in cost:
        line = [np.inf]
        for place, step in enumerate(row):
            line.append(step + min(above[place], above[place + 1], line[place]))
        above = line
    return above[-1]


folder = sys.argv[1]
train, speakers = read(f"{folder}/JapaneseVowels_TRAIN.ts")
test, expected = read(f"{folder}/JapaneseVowels_TEST.ts")
right = sum(
    speakers[int(np.argmin([distance(x, y) for y in train]))] == label
    for x, label in zip(test, expected)
)
print(f"{right} of {len(test)}: {100 * right / len(test):.2f} %")
