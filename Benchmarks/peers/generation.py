"""PyTorch's eager loop that writes tokens with a cache, for `apus bench generate --peers`.

    generation.py [--rows N] [--tokens N] [--threads N]

The network is train.py's gpt. The caches of keys and values are made once for all tokens, each step writes its own
place and attends to those before, which is the fastest way without a compiler: nothing is concatenated. See protocol.py
for what is read and written.
"""

import argparse

import protocol


def generator(rows, count):
    import torch
    from torch.nn.functional import linear, scaled_dot_product_attention
    from sequences import BLOCKS, HEADS, WIDTH, torch_network

    network = torch_network("gpt").eval()
    heads = HEADS["gpt"]
    shape = (rows, heads, count + 1, WIDTH // heads)
    caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(BLOCKS)]
    start = torch.zeros(rows, 1, dtype=torch.long)

    def step(ids, place):
        x = network.tokens(ids) + network.positions.weight[place]
        for block, (keys, values) in zip(network.blocks, caches):
            y = block.qkv(block.norm1(x)).view(rows, 1, 3, heads, WIDTH // heads)
            q, k, v = y.permute(2, 0, 3, 1, 4)
            keys[:, :, place:place + 1], values[:, :, place:place + 1] = k, v
            y = scaled_dot_product_attention(q, keys[:, :, :place + 1], values[:, :, :place + 1])
            x = x + block.out(y.transpose(1, 2).reshape(rows, 1, WIDTH))
            x = x + block.feed(block.norm2(x))
        return linear(network.norm(x), network.tokens.weight).argmax(-1)

    @torch.inference_mode()
    def write():
        ids = start
        for place in range(count):
            ids = step(ids, place)
        return ids

    return write


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=255)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    protocol.use_threads(options.threads)
    protocol.require("torch")
    import torch

    torch.set_num_threads(options.threads)
    write = generator(options.rows, options.tokens)
    write()
    protocol.say(ready=True, versions=protocol.versions("torch"))
    protocol.serve(run=protocol.timed(write))


if __name__ == "__main__":
    main()
