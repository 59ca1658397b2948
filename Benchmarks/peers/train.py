"""The training workloads of `apus bench train`, in PyTorch (eager, channels last, compiled) and JAX.

    train.py --peer torch|torch-nhwc|torch-compile|jax --workload NAME [--batch B] [--threads N]
             [--precision P]

A step is forward, loss, backward and update on one fixed batch of random data, whose loss must
fall. Each side is set up as its own users would to be fast: fused optimisers where PyTorch has
them, one jitted step with donated buffers in JAX. See protocol.py for what is read and written.
"""

import argparse
import math

import networks
import protocol
import sequences

# layer widths, or a network of networks.py or sequences.py; batch, optimiser
WORKLOADS = {
    "mlp_tiny": ([4, 64, 64, 2], 1, "adam"),
    "mlp_small": ([784, 128, 10], 64, "sgd"),
    "mlp_large": ([784, 1024, 1024, 10], 256, "adam"),
    "mlp_wide": ([2048, 2048, 2048, 2048], 512, "adam"),
    "lenet": ("lenet", 128, "adam"),
    "resnet20": ("resnet20", 128, "sgd"),
    "lstm": ("lstm", 32, "adam"),
    "gru": ("gru", 32, "adam"),
    "gpt": ("gpt", 8, "adamw"),
    "bert": ("bert", 16, "adamw"),
}
# Small, so that thousands of steps on one batch do not run into gradients of zero.
LEARNING_RATE = {"sgd": 1e-3, "adam": 1e-5, "adamw": 1e-5}
MOMENTUM, DECAY = 0.9, 1e-2


def torch_model(sizes, batch):
    """The module, a batch for it, and labels."""
    import torch
    from torch import nn

    def labels(classes):
        return torch.randint(classes, (batch,))

    if isinstance(sizes, str) and sizes in sequences.TOKENS:
        return sequences.torch_network(sizes), *sequences.torch_batch(sizes, batch)
    if isinstance(sizes, str):
        height, width, channels = networks.IMAGES[sizes]
        images = torch.randn(batch, channels, height, width)
        return networks.torch_network(sizes), images, labels(networks.CLASSES)
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(batch, sizes[0]), labels(sizes[-1])


def torch_step(sizes, batch, optimizer, threads, mixed, peer):
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # as ours and JAX have it
    model, images, labels = torch_model(sizes, batch)
    if peer == "torch-nhwc":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    rate = LEARNING_RATE[optimizer]
    if optimizer == "sgd":
        update = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM, fused=True)
    elif optimizer == "adam":
        update = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    else:
        update = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=DECAY, fused=True)

    def loss_of(images, labels):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            return cross_entropy(model(images).flatten(0, -2), labels.flatten())

    if peer == "torch-compile":
        loss_of = torch.compile(loss_of)

    def step():
        update.zero_grad(set_to_none=True)
        loss = loss_of(images, labels)
        loss.backward()
        update.step()
        return loss.detach()

    return step, float


def jax_model(sizes, batch):
    """Parameters, running statistics, the function of both and a batch, and that batch with its labels."""
    import jax

    if isinstance(sizes, str) and sizes in sequences.TOKENS:
        parameters, network = sequences.jax_network(sizes)
        return (
            parameters, {}, lambda p, statistics, ids: (network(p, ids), statistics),
            *sequences.jax_batch(sizes, batch))
    keys = jax.random.split(jax.random.key(1))

    def images(shape, classes):
        return (
            jax.random.normal(keys[0], (batch, *shape)),
            jax.random.randint(keys[1], (batch,), 0, classes))

    if isinstance(sizes, str):
        return (
            *networks.jax_network(sizes), *images(networks.IMAGES[sizes], networks.CLASSES))
    key = jax.random.key(0)
    parameters = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        key, *keys = jax.random.split(key, 3)
        bound = 1 / math.sqrt(fan_in)
        parameters.append((
            jax.random.uniform(keys[0], (fan_in, fan_out), minval=-bound, maxval=bound),
            jax.random.uniform(keys[1], (fan_out,), minval=-bound, maxval=bound)))

    def perceptron(parameters, statistics, x):
        for index, (weight, bias) in enumerate(parameters):
            x = x @ weight + bias
            if index + 1 < len(parameters):
                x = jax.nn.relu(x)
        return x, statistics

    return parameters, {}, perceptron, *images(sizes[:1], sizes[-1])


def jax_step(sizes, batch, optimizer, threads, mixed):
    import jax
    import jax.numpy as jnp

    parameters, statistics, model, images, labels = jax_model(sizes, batch)
    rate = LEARNING_RATE[optimizer]

    def loss_of(parameters, statistics, images, labels):
        if mixed:
            parameters, images = jax.tree.map(
                lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x,
                (parameters, images))
        logits, statistics = model(parameters, statistics, images)
        logs = jax.nn.log_softmax(logits.astype(jnp.float32))
        chosen = jnp.take_along_axis(logs, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
        counts = labels >= 0  # a sequence's other places have no label
        return -jnp.where(counts, chosen, 0).sum() / counts.sum(), statistics

    def train(parameters, slots, statistics, count, images, labels):
        (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            parameters, statistics, images, labels)
        if optimizer == "sgd":
            slots = jax.tree.map(lambda v, g: MOMENTUM * v + g, slots, gradients)
            parameters = jax.tree.map(lambda p, v: p - rate * v, parameters, slots)
            return parameters, slots, statistics, count, loss
        count = count + 1
        first, second = slots
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        scale = jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        if optimizer == "adamw":
            parameters = jax.tree.map(lambda p: p * (1 - rate * DECAY), parameters)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * scale * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return parameters, (first, second), statistics, count, loss

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    slots = zeros if optimizer == "sgd" else (zeros, jax.tree.map(jnp.zeros_like, parameters))
    state = [parameters, slots, statistics, jnp.float32(0)]
    train = jax.jit(train, donate_argnums=(0, 1, 2))

    def step():
        *state[:], loss = train(*state, images, labels)
        return loss

    return step, lambda loss: float(loss.block_until_ready())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, choices=["torch", "torch-nhwc", "torch-compile", "jax"])
    parser.add_argument("--workload", required=True, choices=WORKLOADS)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "mixed"])
    options = parser.parse_args()
    protocol.use_threads(options.threads)
    sizes, batch, optimizer = WORKLOADS[options.workload]
    batch = options.batch or batch
    mixed = options.precision == "mixed"

    module = "jax" if options.peer == "jax" else "torch"
    protocol.require(module)
    if options.peer == "jax":
        step, value = jax_step(sizes, batch, optimizer, options.threads, mixed)
    else:
        step, value = torch_step(sizes, batch, optimizer, options.threads, mixed, options.peer)
    first_loss = value(step())
    protocol.say(first_step=True)
    for _ in range(2):
        value(step())
    protocol.say(ready=True, versions=protocol.versions(module))

    protocol.serve(
        protocol.timed(step, value, lambda loss: {"first_loss": first_loss, "loss": loss}))


if __name__ == "__main__":
    main()
