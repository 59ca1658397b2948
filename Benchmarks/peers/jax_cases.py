"""The cases of kernels.py in JAX: each is one jitted function, an update's with donated buffers."""

import jax
import jax.numpy as jnp

import protocol


def versions():
    return protocol.versions("jax")


def numbers(seed, *shape):
    """Evenly spread over -2 to 2, as ours."""
    return jax.random.uniform(jax.random.key(seed), shape, minval=-2, maxval=2)


def product(case, dtype):
    m, n, k = case["shape"]
    batch = [case["batch"]] if case["batch"] > 1 else []
    a_is_turned, b_is_turned = (letter == "t" for letter in case["transpose"])
    a = numbers(0, *batch, k, m) if a_is_turned else numbers(0, *batch, m, k)
    b = numbers(1, *batch, n, k) if b_is_turned else numbers(1, *batch, k, n)

    def function(a, b):
        return jnp.matmul(a.mT if a_is_turned else a, b.mT if b_is_turned else b)

    return function, (a.astype(dtype), b.astype(dtype))


def convolution(case, dtype):
    """The convolution of [n, h, w, c], or the gradient that `operation` names."""
    n, h, w, inputs = case["shape"]
    size, stride, outputs = case["window"], case["stride"], case["outputs"]

    def function(x, weight):
        return jax.lax.conv_general_dilated(
            x, weight, (stride, stride), [(size // 2, size // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=case["groups"])

    x = numbers(0, n, h, w, inputs).astype(dtype)
    weight = numbers(1, size, size, inputs // case["groups"], outputs).astype(dtype)
    if case["operation"] == "forward":
        return function, (x, weight)
    seed = numbers(
        2, n, *((extent - 1) // stride + 1 for extent in (h, w)), outputs).astype(dtype)
    if case["operation"] == "data":
        return (lambda seed, w: jax.vjp(lambda x: function(x, w), x)[1](seed)), (seed, weight)
    return (lambda seed, x: jax.vjp(lambda w: function(x, w), weight)[1](seed)), (seed, x)


def attention(case, dtype):
    """The result, and the gradients of query, key and value, [batch, time, heads, width], of what arrives
    from above. `dot_product_attention` has no dropout: those variants are written out."""
    shape, kind = case["shape"], case["operation"]
    operands = [numbers(seed, *shape).astype(dtype) for seed in range(4)]
    mask = numbers(4, shape[1], shape[1]).astype(dtype) if kind == "mask" else None
    causal = "causal" in kind

    def dropped(q, k, v, key):
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / shape[3] ** 0.5
        if causal:
            scores = jnp.where(jnp.tri(shape[1], dtype=bool), scores, -jnp.inf)
        weights = jax.nn.softmax(scores, -1)
        kept = jax.random.bernoulli(key, 0.9, weights.shape)
        return jnp.einsum("bhts,bshd->bthd", jnp.where(kept, weights / 0.9, 0), v)

    def function(q, k, v, seed):
        def forward(q, k, v):
            if "dropout" in kind:
                return dropped(q, k, v, jax.random.key(0))
            bias = None if mask is None else mask[None, None]
            return jax.nn.dot_product_attention(q, k, v, bias, is_causal=causal)

        y, back = jax.vjp(forward, q, k, v)
        return (y, *back(seed))

    return function, tuple(operands)


def recurrent(case, dtype):
    """A layer's outputs, and the gradients of its input, [batch, time, units], and of its weights: the input's
    product for all steps, then a scan. Where sequences have lengths, a state stays as it is behind the end."""
    batch, time, units = case["shape"]
    kind = case["operation"].removesuffix("-lengths")
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    bound = units**-0.5
    w, u, b, c = (
        (bound / 2 * numbers(seed, *shape)).astype(dtype) for seed, shape in enumerate(
            [(units, gates * units), (units, gates * units), (gates * units,), (gates * units,)]))
    x, seed = (numbers(place, batch, time, units).astype(dtype) for place in (4, 5))
    is_there = jnp.arange(time)[:, None, None] < jnp.array(case["lengths"] or [time] * batch)[:, None]
    has_lengths = bool(case["lengths"])

    def lstm(u, c, state, x):
        h, cell = state
        i, f, g, o = jnp.split(x + h @ u + c, 4, axis=-1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(cell), cell

    def gru(u, c, state, x):
        h = state[0]
        xr, xz, xn = jnp.split(x, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ u + c, 3, axis=-1)
        z = jax.nn.sigmoid(xz + hz)
        return ((1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h,)

    def rnn(u, c, state, x):
        return (jnp.tanh(x + state[0] @ u + c),)

    cell = {"lstm": lstm, "gru": gru, "rnn": rnn}[kind]

    def forward(x, w, u, b, c):
        zeros = jnp.zeros((batch, units), x.dtype)

        def turn(state, slices):
            x, mask = slices
            new = cell(u, c, state, x)
            if has_lengths:
                new = tuple(jnp.where(mask, n, old) for n, old in zip(new, state))
                return new, jnp.where(mask, new[0], 0)
            return new, new[0]

        first = (zeros,) * (2 if kind == "lstm" else 1)
        return jax.lax.scan(turn, first, (x.swapaxes(0, 1) @ w + b, is_there))[1].swapaxes(0, 1)

    def function(x, seed, w, u, b, c):
        y, back = jax.vjp(forward, x, w, u, b, c)
        return (y, *back(seed))

    return function, (x, seed, w, u, b, c)


def same(count, function):
    """An operation on `count` operands of the case's shape."""
    return lambda case, dtype: (
        function, tuple(numbers(seed, *case["shape"]) for seed in range(count)))


def with_rows(function, rows):
    return lambda case, dtype: (
        function,
        (numbers(0, *case["shape"]),
         *(numbers(1 + seed, case["shape"][-1]) for seed in range(rows))))


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


def activation(function):
    """The value and the gradient; the second operand arrives from above."""

    def step(x, seed):
        y, backward = jax.vjp(function, x)
        return y, backward(seed)[0]

    return same(2, step)


def dropout(case, dtype):
    def function(key, x):
        keep = jax.random.bernoulli(key, 0.9, x.shape)
        return jax.random.split(key, 1)[0], jnp.where(keep, x / 0.9, 0)

    return function, (jax.random.key(7), numbers(0, *case["shape"]))


def layer_norm(x, gamma, beta):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * gamma + beta


def rms_norm(x, gamma):
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * gamma


def gradient(function, rows):
    """Forward and backward; the last operand is the seed."""

    def step(*operands):
        *inputs, seed = operands
        return jax.vjp(function, *inputs)[1](seed)

    def case_of(case, dtype):
        _, operands = with_rows(function, rows)(case, dtype)
        return step, (*operands, numbers(9, *case["shape"]))

    return case_of


def cross_entropy(logits, labels):
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()


def labelled(function):
    def case_of(case, dtype):
        rows, classes = case["shape"]
        labels = jax.random.randint(jax.random.key(3), (rows,), 0, classes)
        return function, (numbers(0, rows, classes), labels)

    return case_of


def windows(x, start, combine, size, padding):
    """Windows over [n, h, w, c] that move by 2."""
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return jax.lax.reduce_window(x, start, combine, (1, size, size, 1), (1, 2, 2, 1), around)


def max_2x2(x):
    return windows(x, -jnp.inf, jax.lax.max, 2, 0)


def max_3x3(x):
    return windows(x, -jnp.inf, jax.lax.max, 3, 1)


def average_2x2(x):
    return windows(x, 0.0, jax.lax.add, 2, 0) / 4


def global_average(x):
    return x.mean((1, 2))


def images_gradient(function):
    """The value and the gradient; the last operand arrives from above."""

    def step(x, seed):
        y, back = jax.vjp(function, x)
        return y, back(seed)[0]

    def case_of(case, dtype):
        x = numbers(0, *case["shape"])
        return step, (x, numbers(9, *function(x).shape))

    return case_of


def update(rule, slots):
    """`rule(parameter, gradient, *slots)` gives the new parameter and slots."""

    def case_of(case, dtype):
        zeros = [jnp.zeros(case["shape"]) for _ in range(slots)]
        return rule, [numbers(0, *case["shape"]), numbers(1, *case["shape"]), *zeros]

    return case_of


def adam(p, g, m, v, shrink=1.0):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p * shrink - 1e-3 / 0.1 * m / (jnp.sqrt(v) / jnp.sqrt(0.001) + 1e-8), m, v


def momentum(p, g, v):
    v = 0.9 * v + g
    return p - 1e-3 * v, v


def rmsprop(p, g, v):
    v = 0.99 * v + 0.01 * g * g
    return p - 1e-3 * g / (jnp.sqrt(v) + 1e-8), v


def adagrad(p, g, s):
    s = s + g * g
    return p - 1e-3 * g / (jnp.sqrt(s) + 1e-10), s


def lion(p, g, m):
    direction = jnp.sign(0.9 * m + 0.1 * g)
    return p - 1e-4 * direction, 0.99 * m + 0.01 * g


def lamb(p, g, m, v):
    """Each row of many is a parameter of its own."""
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    direction = m / (jnp.sqrt(v) + 1e-6) + 0.01 * p
    lengths = [jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (p, direction)]
    return p - 1e-3 * lengths[0] / lengths[1] * direction, m, v


def careful_adamw(p, g, m, v, average):
    g = g * jnp.minimum(1 / (jnp.linalg.norm(g.ravel()) + 1e-6), 1)
    p, m, v = adam(p, g, m, v, 1 - 1e-5)
    return p, m, v, average + (p - average) * 0.001


OPERATIONS = {
    "gemm": {"product": product},
    "conv": {"forward": convolution, "data": convolution, "weights": convolution},
    "attention": {
        "full": attention, "causal": attention, "mask": attention, "dropout": attention,
        "causal-dropout": attention,
    },
    "rnn": {
        "lstm": recurrent, "gru": recurrent, "rnn": recurrent, "lstm-lengths": recurrent,
        "gru-lengths": recurrent, "rnn-lengths": recurrent,
    },
    "eltwise": {
        "scale": same(1, lambda x: x * 1.5),
        "add": same(2, jnp.add),
        "multiply_add_relu": same(3, lambda x, y, z: jax.nn.relu(x * y + z)),
        "exp": same(1, jnp.exp),
        "tanh": same(1, jnp.tanh),
        "sigmoid": same(1, jax.nn.sigmoid),
        "silu": same(1, jax.nn.silu),
        "softplus": same(1, jax.nn.softplus),
        "gelu": same(1, gelu),
        "gelu_tanh": same(1, jax.nn.gelu),
        "bias_gelu": with_rows(lambda x, b: gelu(x + b), 1),
        "dropout": dropout,
        "tanh_gradient": activation(jnp.tanh),
        "sigmoid_gradient": activation(jax.nn.sigmoid),
        "silu_gradient": activation(jax.nn.silu),
        "softplus_gradient": activation(jax.nn.softplus),
        "gelu_gradient": activation(gelu),
        "gelu_tanh_gradient": activation(jax.nn.gelu),
    },
    "reduce": {
        "sum": same(1, jnp.sum),
        "row_sum": same(1, lambda x: x.sum(1)),
        "column_sum": same(1, lambda x: x.sum(0)),
        "row_max": same(1, lambda x: x.max(1)),
        "row_square_sum": same(1, lambda x: jnp.square(x).sum(1)),
    },
    "norm": {
        "layer_norm": with_rows(layer_norm, 2),
        "layer_norm_gradient": gradient(layer_norm, 2),
        "rms_norm": with_rows(rms_norm, 1),
        "rms_norm_gradient": gradient(rms_norm, 1),
    },
    "softmax": {
        "softmax": same(1, lambda x: jax.nn.softmax(x, 1)),
        "softmax_gradient": gradient(lambda x: jax.nn.softmax(x, 1), 0),
        "log_softmax": same(1, lambda x: jax.nn.log_softmax(x, 1)),
        "cross_entropy": labelled(cross_entropy),
        "cross_entropy_gradient": labelled(jax.value_and_grad(cross_entropy)),
    },
    "pool": {
        "max_2x2": same(1, max_2x2),
        "max_2x2_gradient": images_gradient(max_2x2),
        "max_3x3": same(1, max_3x3),
        "max_3x3_gradient": images_gradient(max_3x3),
        "average_2x2": same(1, average_2x2),
        "average_2x2_gradient": images_gradient(average_2x2),
        "global_average": same(1, global_average),
        "global_average_gradient": images_gradient(global_average),
    },
    "optimizer": {
        "sgd": update(lambda p, g: (p - 1e-3 * g,), 0),
        "momentum": update(momentum, 1),
        "adam": update(adam, 2),
        "adamw": update(lambda p, g, m, v: adam(p, g, m, v, 1 - 1e-5), 2),
        "rmsprop": update(rmsprop, 1),
        "adagrad": update(adagrad, 1),
        "lion": update(lion, 1),
        "lamb": update(lamb, 2),
        "adamw_careful": update(careful_adamw, 3),
    },
}


def prepare(case, compiled, mixed):
    dtype = jnp.bfloat16 if mixed else jnp.float32
    function, operands = OPERATIONS[case["family"]][case["operation"]](case, dtype)
    if case["family"] == "optimizer":
        step = jax.jit(function, donate_argnums=(0, *range(2, len(operands))))
        state = list(operands)

        def run():
            state[0], *state[2:] = step(*state)
            return state[0]

    elif case["operation"] == "dropout":
        step = jax.jit(function, donate_argnums=0)
        state = list(operands)

        def run():
            state[0], result = step(*state)
            return result

    else:
        step = jax.jit(function)

        def run():
            return step(*operands)

    return protocol.timed(run, jax.block_until_ready)
