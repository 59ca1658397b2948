"""The convolutional networks of train.py, in PyTorch and JAX, with the layers of our recipes.

lenet: conv 3x3 to 32, ReLU, pooling, conv 3x3 to 64, ReLU, pooling, 128, ReLU, 10.
resnet20: He et al. 2015, for CIFAR: 16, 32, 64 channels, three blocks each, projections as shortcuts.
"""

import math

# height, width, channels of an image
IMAGES = {"lenet": (28, 28, 1), "resnet20": (32, 32, 3)}
CLASSES = 10
WIDTHS, BLOCKS = (16, 32, 64), 3
EPSILON, MOVED = 1e-5, 0.1


def torch_network(name):
    """A module of images [n, c, h, w]."""
    from torch import nn
    from torch.nn.functional import relu

    height, width, channels = IMAGES[name]
    if name == "lenet":
        return nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(height // 4 * (width // 4) * 64, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    def convolution(inputs, outputs, size, stride=1):
        layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        return layer

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs)
            self.downsample = None
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(
                    convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = convolution(channels, WIDTHS[0], 3), nn.BatchNorm2d(WIDTHS[0])
            inputs = WIDTHS[0]
            for stage, outputs in enumerate(WIDTHS):
                blocks = []
                for block in range(BLOCKS):
                    blocks.append(Block(inputs, outputs, 2 if stage and not block else 1))
                    inputs = outputs
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.fc = nn.Linear(inputs, CLASSES)

        def forward(self, x):
            x = relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(x.mean((2, 3)))

    return ResNet()


def jax_network(name):
    """(parameters, statistics, function): logits and new statistics of both and images [n, h, w, c]."""
    import jax
    import jax.numpy as jnp

    keys = iter(jax.random.split(jax.random.key(0), 64))
    height, width, channels = IMAGES[name]

    def uniform(shape, terms):
        bound = 1 / math.sqrt(terms)
        return jax.random.uniform(next(keys), shape, minval=-bound, maxval=bound)

    def linear(inputs, outputs):
        return {"w": uniform((inputs, outputs), inputs), "b": uniform((outputs,), inputs)}

    def convolve(x, w, stride=1):
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), [(w.shape[0] // 2, w.shape[0] // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def pool(x):
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    if name == "lenet":
        parameters = {
            "conv1": {"w": uniform((3, 3, channels, 32), 9 * channels),
                      "b": uniform((32,), 9 * channels)},
            "conv2": {"w": uniform((3, 3, 32, 64), 288), "b": uniform((64,), 288)},
            "fc1": linear(height // 4 * (width // 4) * 64, 128), "fc2": linear(128, CLASSES),
        }

        def lenet(p, statistics, x):
            for layer in ("conv1", "conv2"):
                x = pool(jax.nn.relu(convolve(x, p[layer]["w"]) + p[layer]["b"]))
            x = jax.nn.relu(x.reshape(x.shape[0], -1) @ p["fc1"]["w"] + p["fc1"]["b"])
            return x @ p["fc2"]["w"] + p["fc2"]["b"], statistics

        return parameters, {}, lenet

    # Names of convolutions in order, with stride and the place of a block's input.
    parameters, statistics = {}, {}

    def add(layer, inputs, outputs, size):
        deviation = math.sqrt(2 / (size * size * outputs))
        parameters[layer] = {
            "w": deviation * jax.random.normal(next(keys), (size, size, inputs, outputs)),
            "scale": jnp.ones(outputs), "shift": jnp.zeros(outputs)}
        statistics[layer] = {"mean": jnp.zeros(outputs), "variance": jnp.ones(outputs)}

    add("conv", channels, WIDTHS[0], 3)
    inputs, blocks = WIDTHS[0], []
    for stage, outputs in enumerate(WIDTHS):
        for block in range(BLOCKS):
            prefix, stride = f"{stage}.{block}", 2 if stage and not block else 1
            add(f"{prefix}.1", inputs, outputs, 3)
            add(f"{prefix}.2", outputs, outputs, 3)
            if stride != 1:
                add(f"{prefix}.shortcut", inputs, outputs, 1)
            blocks.append((prefix, stride))
            inputs = outputs
    parameters["fc"] = linear(inputs, CLASSES)

    def resnet(p, statistics, x):
        moved = {}

        def layer(name, x, stride=1):
            y = convolve(x, p[name]["w"], stride)
            wide = y.astype(jnp.float32)
            mean, variance = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
            count = y.size // y.shape[-1]
            old = statistics[name]
            moved[name] = {
                "mean": (1 - MOVED) * old["mean"] + MOVED * mean,
                "variance": (1 - MOVED) * old["variance"] + MOVED * variance * count / (count - 1)}
            scale = jax.lax.rsqrt(variance + EPSILON) * p[name]["scale"]
            return ((wide - mean) * scale + p[name]["shift"]).astype(y.dtype)

        x = jax.nn.relu(layer("conv", x))
        for prefix, stride in blocks:
            y = layer(f"{prefix}.2", jax.nn.relu(layer(f"{prefix}.1", x, stride)))
            x = jax.nn.relu(y + (x if stride == 1 else layer(f"{prefix}.shortcut", x, stride)))
        return x.mean((1, 2)) @ p["fc"]["w"] + p["fc"]["b"], moved

    return parameters, statistics, resnet
