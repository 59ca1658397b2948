"""The networks of sequences of train.py, in PyTorch and JAX, with the layers of our recipes; nothing is dropped.

lstm, gru: vectors of 128, two layers of 256 units, scores at each place.

gpt: 6 pre-norm blocks of width 384 with 6 heads, GELU (tanh), learnt positions, scores by the table of tokens.
bert: 6 post-norm blocks of width 384 with 12 heads, GELU (erf), learnt positions and types, a head of one product
before the scores by the table of tokens; a label stands at three places of twenty.
"""

# tokens of a row, vocabulary
TOKENS = {"lstm": (64, 96), "gru": (64, 96), "gpt": (256, 96), "bert": (128, 8192)}
VECTOR, UNITS, LAYERS = 128, 256, 2
GATES = {"lstm": 4, "gru": 3}
WIDTH, HIDDEN, BLOCKS = 384, 1536, 6
HEADS = {"gpt": 6, "bert": 12}
EPSILON = {"gpt": 1e-5, "bert": 1e-12}
DEVIATION = 0.02
IGNORED = -100


def torch_network(name):
    """A module of tokens [n, t]: logits [n, t, vocabulary]."""
    import torch
    from torch import nn
    from torch.nn.functional import gelu, linear, scaled_dot_product_attention

    length, vocabulary = TOKENS[name]
    if name in GATES:

        class Recurrent(nn.Module):
            def __init__(self):
                super().__init__()
                self.tokens, self.head = nn.Embedding(vocabulary, VECTOR), nn.Linear(UNITS, vocabulary)
                kind = nn.LSTM if name == "lstm" else nn.GRU
                self.core = kind(VECTOR, UNITS, LAYERS, batch_first=True)

            def forward(self, ids):
                return self.head(self.core(self.tokens(ids))[0])

        return Recurrent()
    heads, epsilon, is_gpt = HEADS[name], EPSILON[name], name == "gpt"
    form = "tanh" if is_gpt else "none"

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=epsilon) for _ in range(2))
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.expand, self.contract = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

        def attend(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(x).view(n, t, 3, heads, WIDTH // heads).permute(2, 0, 3, 1, 4)
            y = scaled_dot_product_attention(q, k, v, is_causal=is_gpt)
            return self.out(y.transpose(1, 2).reshape(n, t, WIDTH))

        def feed(self, x):
            return self.contract(gelu(self.expand(x), approximate=form))

        def forward(self, x):
            if is_gpt:
                x = x + self.attend(self.norm1(x))
                return x + self.feed(self.norm2(x))
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.feed(x))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(length, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm = nn.LayerNorm(WIDTH, eps=epsilon)
            if not is_gpt:
                self.types = nn.Embedding(2, WIDTH)
                self.dense, self.last = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH, eps=epsilon)
                self.bias = nn.Parameter(torch.zeros(vocabulary))
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=DEVIATION)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions.weight[:ids.shape[1]]
            if not is_gpt:
                x = self.norm(x + self.types.weight[0])
            for block in self.blocks:
                x = block(x)
            if is_gpt:
                return linear(self.norm(x), self.tokens.weight)
            return linear(self.last(gelu(self.dense(x))), self.tokens.weight, self.bias)

    return Transformer()


def torch_batch(name, batch):
    """Tokens and labels."""
    import torch

    length, vocabulary = TOKENS[name]
    tokens, labels = torch.randint(vocabulary, (2, batch, length))
    if name == "bert":
        labels = labels.masked_fill(torch.rand(batch, length) >= 0.15, IGNORED)
    return tokens, labels


def jax_network(name):
    """(parameters, function): logits of parameters and tokens [n, t]."""
    import jax
    import jax.numpy as jnp

    keys = iter(jax.random.split(jax.random.key(0), 64))
    length, vocabulary = TOKENS[name]
    if name in GATES:
        return jax_recurrent(name, keys)
    heads, epsilon, is_gpt = HEADS[name], EPSILON[name], name == "gpt"

    def table(*shape):
        return DEVIATION * jax.random.normal(next(keys), shape)

    def linear(inputs, outputs):
        return {"w": table(inputs, outputs), "b": jnp.zeros(outputs)}

    def scale():
        return {"scale": jnp.ones(WIDTH), "shift": jnp.zeros(WIDTH)}

    def apply(p, x):
        return x @ p["w"] + p["b"]

    def norm(p, x):
        wide = x.astype(jnp.float32)
        mean, variance = wide.mean(-1, keepdims=True), wide.var(-1, keepdims=True)
        y = (wide - mean) * jax.lax.rsqrt(variance + epsilon)
        return (y * p["scale"] + p["shift"]).astype(x.dtype)

    def block():
        return {
            "norm1": scale(), "norm2": scale(), "qkv": linear(WIDTH, 3 * WIDTH),
            "out": linear(WIDTH, WIDTH), "expand": linear(WIDTH, HIDDEN),
            "contract": linear(HIDDEN, WIDTH)}

    parameters = {
        "tokens": table(vocabulary, WIDTH), "positions": table(length, WIDTH), "norm": scale(),
        "blocks": [block() for _ in range(BLOCKS)]}
    if not is_gpt:
        parameters |= {
            "types": table(2, WIDTH), "dense": linear(WIDTH, WIDTH), "last": scale(),
            "bias": jnp.zeros(vocabulary)}

    def attend(p, x):
        n, t, _ = x.shape
        parts = jnp.split(apply(p["qkv"], x).reshape(n, t, 3 * heads, WIDTH // heads), 3, axis=2)
        y = jax.nn.dot_product_attention(*parts, is_causal=is_gpt)
        return apply(p["out"], y.reshape(n, t, WIDTH))

    def feed(p, x):
        return apply(p["contract"], jax.nn.gelu(apply(p["expand"], x), approximate=is_gpt))

    def network(p, ids):
        x = p["tokens"][ids] + p["positions"][:ids.shape[1]]
        if is_gpt:
            for layer in p["blocks"]:
                x = x + attend(layer, norm(layer["norm1"], x))
                x = x + feed(layer, norm(layer["norm2"], x))
            return norm(p["norm"], x) @ p["tokens"].T
        x = norm(p["norm"], x + p["types"][0])
        for layer in p["blocks"]:
            x = norm(layer["norm1"], x + attend(layer, x))
            x = norm(layer["norm2"], x + feed(layer, x))
        x = norm(p["last"], jax.nn.gelu(apply(p["dense"], x), approximate=False))
        return x @ p["tokens"].T + p["bias"]

    return parameters, network


def jax_recurrent(name, keys):
    """(parameters, function), as jax_network: the input's product for all steps, then a scan."""
    import jax
    import jax.numpy as jnp

    vocabulary, gates = TOKENS[name][1], GATES[name]

    def uniform(*shape):
        bound = UNITS**-0.5
        return jax.random.uniform(next(keys), shape, minval=-bound, maxval=bound)

    def layer(inputs):
        return {
            "w": uniform(inputs, gates * UNITS), "u": uniform(UNITS, gates * UNITS),
            "b": uniform(gates * UNITS), "c": uniform(gates * UNITS)}

    parameters = {
        "tokens": jax.random.normal(next(keys), (vocabulary, VECTOR)),
        "layers": [layer(VECTOR if index == 0 else UNITS) for index in range(LAYERS)],
        "head": uniform(UNITS, vocabulary), "bias": uniform(vocabulary)}

    def lstm(p, state, x):
        h, c = state
        i, f, g, o = jnp.split(x + h @ p["u"] + p["c"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(p, h, x):
        xr, xz, xn = jnp.split(x, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ p["u"] + p["c"], 3, axis=-1)
        z = jax.nn.sigmoid(xz + hz)
        h = (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h
        return h, h

    def network(p, ids):
        x = p["tokens"][ids].swapaxes(0, 1)
        zeros = jnp.zeros((x.shape[1], UNITS), x.dtype)
        for layer in p["layers"]:
            cell, first = (lstm, (zeros, zeros)) if name == "lstm" else (gru, zeros)
            x = jax.lax.scan(lambda s, x: cell(layer, s, x), first, x @ layer["w"] + layer["b"])[1]
        return x.swapaxes(0, 1) @ p["head"] + p["bias"]

    return parameters, network


def jax_batch(name, batch):
    """Tokens and labels."""
    import jax
    import jax.numpy as jnp

    length, vocabulary = TOKENS[name]
    keys = jax.random.split(jax.random.key(1), 3)
    tokens, labels = (
        jax.random.randint(key, (batch, length), 0, vocabulary) for key in keys[:2])
    if name == "bert":
        labels = jnp.where(jax.random.uniform(keys[2], labels.shape) < 0.15, labels, IGNORED)
    return tokens, labels
