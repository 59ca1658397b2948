"""The memory-bound cases of `apus bench eltwise`, in PyTorch.

    eltwise.py --case NAME --elements N [--threads N]

A repetition writes the result into memory that is there already, where PyTorch can. See protocol.py
for what is read and written.
"""

import argparse
import time

import protocol

COLUMNS = 1024  # of the cases that work on rows


def cases(torch):
    functional = torch.nn.functional

    def multiply_add_relu(out, x, y, z):
        torch.mul(x, y, out=out)
        out.add_(z).relu_()

    return {
        "copy": (1, lambda out, x: torch.mul(x, 1.5, out=out)),
        "add": (2, lambda out, x, y: torch.add(x, y, out=out)),
        "multiply_add_relu": (3, multiply_add_relu),
        "exp": (1, lambda out, x: torch.exp(x, out=out)),
        "tanh": (1, lambda out, x: torch.tanh(x, out=out)),
        "gelu": (1, lambda out, x: torch._C._nn.gelu(x, out=out)),
        "softmax": (1, lambda out, x: torch.softmax(x.view(-1, COLUMNS), 1, out=out.view(-1, COLUMNS))),
        "layer_norm": (1, lambda out, x: functional.layer_norm(x.view(-1, COLUMNS), (COLUMNS,))),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True)
    parser.add_argument("--elements", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    protocol.use_threads(options.threads)

    import torch

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    count, body = cases(torch)[options.case]
    operands = [torch.rand(options.elements) * 4 - 2 for _ in range(count)]
    out = torch.empty(options.elements)
    body(out, *operands)
    protocol.say(ready=True)

    def run(repetitions):
        for _ in range(max(1, repetitions // 10)):
            body(out, *operands)
        start = time.perf_counter()
        for _ in range(repetitions):
            body(out, *operands)
        return {"seconds": time.perf_counter() - start}

    protocol.serve(run)


if __name__ == "__main__":
    main()
