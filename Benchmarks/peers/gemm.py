"""The matrix products of `apus bench gemm`, in PyTorch (MKL for f32, oneDNN for bf16).

    gemm.py --peer torch --shape MxNxK [--transpose nn|nt|tn] [--threads N] [--precision P]

A repetition writes C[M,N] = A·B into memory that is there already. See protocol.py for what is
read and written.
"""

import argparse
import time

import protocol


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", default="torch", choices=["torch"])
    parser.add_argument("--shape", required=True, help="MxNxK")
    parser.add_argument("--transpose", default="nn", choices=["nn", "nt", "tn"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "mixed"])
    options = parser.parse_args()
    protocol.use_threads(options.threads)
    m, n, k = map(int, options.shape.split("x"))

    import torch

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    dtype = torch.bfloat16 if options.precision == "mixed" else torch.float32
    if options.precision == "high":
        torch.set_float32_matmul_precision("high")
    a = torch.randn(m, k).to(dtype)
    b = torch.randn(k, n).to(dtype)
    if options.transpose == "tn":
        a = a.t().contiguous().t()
    if options.transpose == "nt":
        b = b.t().contiguous().t()
    c = torch.empty(m, n, dtype=dtype)
    torch.mm(a, b, out=c)
    protocol.say(ready=True)

    def run(repetitions):
        for _ in range(max(1, repetitions // 10)):
            torch.mm(a, b, out=c)
        start = time.perf_counter()
        for _ in range(repetitions):
            torch.mm(a, b, out=c)
        return {"seconds": time.perf_counter() - start}

    protocol.serve(run)


if __name__ == "__main__":
    main()
