"""The training workloads of `apus bench train`, in PyTorch (eager, compiled) and JAX.

    train.py --peer torch|torch-compile|jax --workload NAME [--batch B] [--threads N] [--precision P]

A step is forward, loss, backward and update on one fixed batch of random data, whose loss must
fall. Each side is set up as its own users would to be fast: fused optimisers where PyTorch has
them, one jitted step with donated buffers in JAX. See protocol.py for what is read and written.
"""

import argparse
import math

import protocol

# layer widths, batch, optimiser
WORKLOADS = {
    "mlp_tiny": ([4, 64, 64, 2], 1, "adam"),
    "mlp_small": ([784, 128, 10], 64, "sgd"),
    "mlp_large": ([784, 1024, 1024, 10], 256, "adam"),
    "mlp_wide": ([2048, 2048, 2048, 2048], 512, "adam"),
}
# Small, so that thousands of steps on one batch do not run into gradients of zero.
LEARNING_RATE = {"sgd": 1e-3, "adam": 1e-5}
MOMENTUM = 0.9


def torch_step(widths, batch, optimizer, threads, mixed, compiled):
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # as ours and JAX have it
    layers = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    rate = LEARNING_RATE[optimizer]
    if optimizer == "sgd":
        update = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM, fused=True)
    else:
        update = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    images = torch.randn(batch, widths[0])
    labels = torch.randint(widths[-1], (batch,))

    def loss_of(images, labels):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            return cross_entropy(model(images), labels)

    if compiled:
        loss_of = torch.compile(loss_of)

    def step():
        update.zero_grad(set_to_none=True)
        loss = loss_of(images, labels)
        loss.backward()
        update.step()
        return loss.detach()

    return step, float


def jax_step(widths, batch, optimizer, threads, mixed):
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    parameters = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        key, *keys = jax.random.split(key, 3)
        bound = 1 / math.sqrt(fan_in)
        parameters.append((
            jax.random.uniform(keys[0], (fan_in, fan_out), minval=-bound, maxval=bound),
            jax.random.uniform(keys[1], (fan_out,), minval=-bound, maxval=bound)))
    key, *keys = jax.random.split(key, 3)
    images = jax.random.normal(keys[0], (batch, widths[0]))
    labels = jax.random.randint(keys[1], (batch,), 0, widths[-1])
    rate = LEARNING_RATE[optimizer]

    def loss_of(parameters, images, labels):
        if mixed:
            parameters, images = jax.tree.map(
                lambda x: x.astype(jnp.bfloat16), (parameters, images))
        x = images
        for index, (weight, bias) in enumerate(parameters):
            x = x @ weight + bias
            if index + 1 < len(parameters):
                x = jax.nn.relu(x)
        logs = jax.nn.log_softmax(x.astype(jnp.float32))
        return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()

    def train(parameters, slots, count, images, labels):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, images, labels)
        if optimizer == "sgd":
            slots = jax.tree.map(lambda v, g: MOMENTUM * v + g, slots, gradients)
            parameters = jax.tree.map(lambda p, v: p - rate * v, parameters, slots)
            return parameters, slots, count, loss
        count = count + 1
        first, second = slots
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        scale = jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * scale * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return parameters, (first, second), count, loss

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    slots = zeros if optimizer == "sgd" else (zeros, jax.tree.map(jnp.zeros_like, parameters))
    state = [parameters, slots, jnp.float32(0)]
    train = jax.jit(train, donate_argnums=(0, 1))

    def step():
        *state[:], loss = train(*state, images, labels)
        return loss

    return step, lambda loss: float(loss.block_until_ready())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, choices=["torch", "torch-compile", "jax"])
    parser.add_argument("--workload", required=True, choices=WORKLOADS)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "mixed"])
    options = parser.parse_args()
    protocol.use_threads(options.threads)
    widths, batch, optimizer = WORKLOADS[options.workload]
    batch = options.batch or batch
    mixed = options.precision == "mixed"

    module = "jax" if options.peer == "jax" else "torch"
    protocol.require(module)
    if options.peer == "jax":
        step, value = jax_step(widths, batch, optimizer, options.threads, mixed)
    else:
        step, value = torch_step(
            widths, batch, optimizer, options.threads, mixed, options.peer == "torch-compile")
    first_loss = value(step())
    protocol.say(first_step=True)
    for _ in range(2):
        value(step())
    protocol.say(ready=True, versions=protocol.versions(module))

    protocol.serve(
        protocol.timed(step, value, lambda loss: {"first_loss": first_loss, "loss": loss}))


if __name__ == "__main__":
    main()
