"""The kernels of `apus bench`, in PyTorch (eager, channels last, compiled) and JAX: products (MKL for
f32, oneDNN for bf16), convolutions (oneDNN), attention, recurrent layers, elementwise chains, reductions, norms,
softmax and losses, updates.

    kernels.py --peer torch|torch-nhwc|torch-compile|jax [--threads N]
               [--precision highest|high|mixed]

A case is {"family": "norm", "operation": "layer_norm", "shape": [1024, 1024]}; torch_cases.py and
jax_cases.py list the operations. See protocol.py for what is read and written.
"""

import argparse

import protocol


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, choices=["torch", "torch-nhwc", "torch-compile", "jax"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "mixed"])
    options = parser.parse_args()
    protocol.use_threads(options.threads)

    if options.peer == "jax":
        protocol.require("jax")
        import jax_cases as cases
    else:
        protocol.require("torch")
        import torch_cases as cases

        cases.use_threads(options.threads, options.precision)
    protocol.say(ready=True, versions=cases.versions())

    def prepare(case):
        case["channels_last"] = options.peer == "torch-nhwc"
        return cases.prepare(
            case, compiled=options.peer == "torch-compile", mixed=options.precision == "mixed")

    protocol.serve(prepare=prepare)


if __name__ == "__main__":
    main()
