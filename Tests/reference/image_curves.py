"""Writes Tests/ApusTrainingTests/Reference/image-curves.json: loss curves of LeNet and ResNet-20 in PyTorch.

Run once, by hand, with PyTorch installed; the result is committed. The suite ImageCurveTests trains the same
networks on the same numbers: images, labels and weights come from SplitMix64, by the same formulas on both
sides. Weights are drawn as [outputs, window..., inputs], which is how ours lie.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent / "Benchmarks" / "peers"))
import networks
from loss_curves import uniform

PATH = pathlib.Path(__file__).parent.parent / "ApusTrainingTests" / "Reference" / "image-curves.json"
STEPS, BATCHES = 100, 8
# Examples in a batch.
SIZES = {"lenet": 32, "resnet20": 32}
# Small: two orders of summation part faster where the rate is higher, in PyTorch too.
RATES = {"lenet": 3e-4, "resnet20": 2e-4}
# Times 1 / √fanIn, the bound of the first values.
GAINS = {"lenet": 1, "resnet20": 2.5}
# What ours calls the layers of the Sequential.
LENET = {"0": "conv1", "3": "conv2", "7": "fc1", "9": "fc2"}


def data(name):
    """Noise, and a brighter band of eight rows that tells the class."""
    height, width, channels = networks.IMAGES[name]
    count = SIZES[name] * BATCHES
    labels = numpy.floor((uniform(2, count) + 1) * 5).astype(numpy.int64)
    images = uniform(1, count * height * width * channels).reshape(count, height, width, channels)
    for image, label in zip(images, labels):
        image[2 * label:2 * label + 8] += 0.5
    return torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2), torch.tensor(labels)


def model(name):
    network = networks.torch_network(name)
    paths = {}
    for path, parameter in network.named_parameters():
        layer, _, last = path.rpartition(".")
        paths[f"{LENET.get(layer, layer)}.{last}"] = parameter
    for seed, path in enumerate(sorted(paths)):
        parameter = paths[path]
        shape = list(parameter.shape)
        if len(shape) == 1 and not path.startswith(("conv", "fc")):
            continue  # a normalisation's
        bound = GAINS[name] / math.sqrt(math.prod(shape[1:]) if len(shape) > 1 else 64)
        value = (uniform(100 + seed, math.prod(shape)) * bound).astype(numpy.float32)
        if len(shape) == 4:
            value = value.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2)
        elif path == "fc1.weight":
            value = value.reshape(128, 7, 7, 64).transpose(0, 3, 1, 2)
        with torch.no_grad():
            parameter.copy_(torch.tensor(value.reshape(shape).copy()))
    return network


def curve(name):
    network = model(name)
    images, labels = data(name)
    if name == "lenet":
        optimizer = torch.optim.Adam(network.parameters(), lr=RATES[name])
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=RATES[name], momentum=0.9)
    losses, size = [], SIZES[name]
    for step in range(STEPS):
        part = slice(step % BATCHES * size, (step % BATCHES + 1) * size)
        loss = cross_entropy(network(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    buffers = {
        key: value.flatten().tolist() for key, value in network.named_buffers()
        if key.startswith(("bn1.", "layer3.2.bn2."))
    }
    return losses, buffers


torch.set_num_threads(1)
results = {}
for name in SIZES:
    losses, buffers = curve(name)
    results[name] = {"losses": losses, "buffers": buffers}
    print(name, losses[0], losses[-1])
PATH.write_text(json.dumps(results, sort_keys=True).replace("}, ", "},\n") + "\n")
