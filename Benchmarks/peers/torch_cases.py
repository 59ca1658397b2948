"""The cases of kernels.py in PyTorch.

An operation is a function of a shape that returns (function, operands): `function(*operands)` is
one repetition. Where `into` is given, the eager side writes into memory that is there already.
"""

import torch
from torch.nn import functional

import protocol

aten = torch.ops.aten


def use_threads(count, precision):
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)  # as ours and JAX have it
    if precision == "high":
        torch.set_float32_matmul_precision("high")


def versions():
    return protocol.versions("torch")


def numbers(*shape):
    """Evenly spread over -2 to 2, as ours."""
    return torch.rand(shape) * 4 - 2


def product(case, dtype):
    m, n, k = case["shape"]
    batch = [case["batch"]] if case["batch"] > 1 else []
    a, b = numbers(*batch, m, k).to(dtype), numbers(*batch, k, n).to(dtype)
    if case["transpose"][0] == "t":
        a = a.mT.contiguous().mT
    if case["transpose"][1] == "t":
        b = b.mT.contiguous().mT
    multiply = torch.bmm if batch else torch.mm
    return multiply, (a, b), lambda out, a, b: multiply(a, b, out=out)


def convolution(case, dtype):
    """The convolution, or the gradient that `operation` names; our arrays are [n, h, w, channels]."""
    n, h, w, inputs = case["shape"]
    size, stride, groups = [case["window"]] * 2, [case["stride"]] * 2, case["groups"]
    padding = [case["window"] // 2] * 2
    layout = torch.channels_last if case["channels_last"] else torch.contiguous_format

    def array(*shape):
        return numbers(*shape).to(dtype).contiguous(memory_format=layout)

    x, weight = array(n, inputs, h, w), array(case["outputs"], inputs // groups, *size)
    if case["operation"] == "forward":
        return (lambda x, w: functional.conv2d(x, w, None, stride, padding, 1, groups)), (
            x, weight), None
    places = [(extent - 1) // case["stride"] + 1 for extent in (h, w)]
    wanted = [case["operation"] == "data", case["operation"] == "weights", False]

    def backward(seed, x, w):
        return aten.convolution_backward(
            seed, x, w, None, stride, padding, [1, 1], False, [0, 0], groups, wanted)

    return backward, (array(n, case["outputs"], *places), x, weight), None


def attention(case, dtype):
    """The result, and the gradients of query, key and value of what arrives from above; our arrays are
    [batch, time, heads, width], which PyTorch reads through strides."""
    shape, kind = case["shape"], case["operation"]

    def array():
        return numbers(*shape).to(dtype).transpose(1, 2)

    leaves = [array().requires_grad_() for _ in range(3)]
    mask = numbers(shape[1], shape[1]).to(dtype) if kind == "mask" else None

    def step(q, k, v, seed):
        y = functional.scaled_dot_product_attention(
            q, k, v, mask, 0.1 if "dropout" in kind else 0.0, "causal" in kind)
        return (y, *torch.autograd.grad(y, (q, k, v), seed))

    return step, (*leaves, array()), None


def recurrent(case, dtype):
    """A layer's outputs, and the gradients of its input, [batch, time, units], and of its weights. Sequences of
    their own lengths are packed, as PyTorch's users do it; the packing is of the step."""
    batch, time, units = case["shape"]
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
    layer = kind[case["operation"].removesuffix("-lengths")](units, units, batch_first=True).to(dtype)
    x, seed = (numbers(batch, time, units).to(dtype) for _ in range(2))
    x.requires_grad_()
    lengths = torch.tensor(case["lengths"])
    weights = list(layer.parameters())

    def step(x, seed):
        if case["lengths"]:
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(
                layer(packed)[0], batch_first=True, total_length=time)
        else:
            y, _ = layer(x)
        return (y, *torch.autograd.grad(y, (x, *weights), seed))

    return step, (x, seed), None


def same(count, function, into=None):
    """An operation on `count` operands of the case's shape."""
    return lambda case, dtype: (function, tuple(numbers(*case["shape"]) for _ in range(count)), into)


def multiply_add_relu(out, x, y, z):
    torch.mul(x, y, out=out)
    return out.add_(z).relu_()


def gelu_tanh(x):
    return functional.gelu(x, approximate="tanh")


def bias_gelu(case, dtype):
    operands = numbers(*case["shape"]), numbers(case["shape"][-1])
    return (
        (lambda x, b: functional.gelu(x + b)), operands,
        lambda out, x, b: aten.gelu.out(torch.add(x, b, out=out), out=out))


def dropout(case, dtype):
    """Eagerly what `functional.dropout` does, into a mask and a result that are there already.

    Most of its time are the random numbers: one generator, which one thread runs.
    """
    x = numbers(*case["shape"])
    mask = torch.empty_like(x)

    def into(out, x):
        mask.bernoulli_(0.9).div_(0.9)
        return torch.mul(x, mask, out=out)

    return (lambda x: functional.dropout(x, 0.1, training=True)), (x,), into


def activation(function, forward, backward):
    """The value and the gradient of `function` where the second operand arrives from above.

    Eagerly they are the two calls that autograd would make, into memory that is there already:
    `forward(x, out)` and `backward(seed, x, y, out)`.
    """

    def case_of(case, dtype):
        x, seed = numbers(*case["shape"]).requires_grad_(), numbers(*case["shape"])

        def step(x, seed):
            y = function(x)
            return y, torch.autograd.grad(y, x, seed)[0]

        def into(out, x, seed):
            forward(x, out[0])
            backward(seed, x, out[0], out[1])

        return step, (x, seed), torch.no_grad()(into)

    return case_of


def gradient(function, *, rows, seeded=True, integers=False):
    """Forward and backward of `function(x, *row operands)`; the last operand is the seed or labels."""

    def case_of(case, dtype):
        shape = case["shape"]
        leaves = [numbers(*shape).requires_grad_()]
        leaves += [numbers(shape[-1]).requires_grad_() for _ in range(rows)]
        last = torch.randint(shape[1], (shape[0],)) if integers else numbers(*shape)

        def step(*operands):
            *inputs, last = operands
            if integers:
                return torch.autograd.grad(function(inputs[0], last), inputs)
            return torch.autograd.grad(function(*inputs), inputs, last)

        return step, (*leaves, last), None

    return case_of


def layer_norm(x, gamma, beta):
    return functional.layer_norm(x, x.shape[-1:], gamma, beta)


def rms_norm(x, gamma):
    return functional.rms_norm(x, x.shape[-1:], gamma)


def with_rows(function, rows):
    return lambda case, dtype: (
        function,
        (numbers(*case["shape"]), *(numbers(case["shape"][-1]) for _ in range(rows))),
        None,
    )


def cross_entropy(case, dtype):
    rows, classes = case["shape"]
    return functional.cross_entropy, (numbers(rows, classes), torch.randint(classes, (rows,))), None


def channels_last(case):
    """Images of the case's shape [n, h, w, c], which lie so in memory."""
    n, h, w, c = case["shape"]
    return numbers(n, c, h, w).contiguous(memory_format=torch.channels_last)


def max_2x2(x):
    return functional.max_pool2d(x, 2)


def max_3x3(x):
    return functional.max_pool2d(x, 3, 2, 1)


def average_2x2(x):
    return functional.avg_pool2d(x, 2)


def global_average(x):
    return functional.adaptive_avg_pool2d(x, 1)


def images(function):
    return lambda case, dtype: (function, (channels_last(case),), None)


def images_gradient(function):
    """The value and the gradient; the last operand arrives from above."""

    def case_of(case, dtype):
        x = channels_last(case).requires_grad_()
        seed = torch.rand_like(function(x.detach())) * 4 - 2

        def step(x, seed):
            y = function(x)
            return y, torch.autograd.grad(y, x, seed)[0]

        return step, (x, seed), None

    return case_of


def parameters_of(case):
    """One parameter, or as many as the shape says, each with a gradient."""
    shape = case["shape"]
    made = []
    for _ in range(1 if len(shape) == 1 else shape[0]):
        parameter = numbers(shape[-1]).requires_grad_()
        parameter.grad = numbers(shape[-1])
        made.append(parameter)
    return made


def update(optimizer):
    """A fused update, or one by PyTorch's operations on lists where it has no fused one."""

    def case_of(case, dtype):
        step = optimizer(parameters_of(case)).step

        def run():
            step()

        return run, (), None

    return case_of


def careful_update(case, dtype):
    """Clipping by norm, a fused AdamW and an average of the parameters."""
    parameters = parameters_of(case)
    averages = [parameter.detach().clone() for parameter in parameters]
    step = torch.optim.AdamW(parameters, lr=1e-3, fused=True).step

    def run():
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 0.001)
        return norm

    return run, (), None


def lists(rule, slots):
    """An update that PyTorch has no class for, by its operations on lists."""

    def case_of(case, dtype):
        parameters = [parameter.detach() for parameter in parameters_of(case)]
        gradients = [torch.randn_like(parameter) for parameter in parameters]
        kept = [[torch.zeros_like(parameter) for parameter in parameters] for _ in range(slots)]

        def run():
            rule(parameters, gradients, *kept)

        return run, (), None

    return case_of


def lion(parameters, gradients, means):
    directions = torch._foreach_lerp(means, gradients, 0.1)
    torch._foreach_sign_(directions)
    torch._foreach_add_(parameters, directions, alpha=-1e-4)
    torch._foreach_lerp_(means, gradients, 0.01)


def lamb(parameters, gradients, means, squares):
    torch._foreach_lerp_(means, gradients, 0.1)
    torch._foreach_mul_(squares, 0.999)
    torch._foreach_addcmul_(squares, gradients, gradients, 0.001)
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, 1e-6)
    directions = torch._foreach_div(means, roots)
    torch._foreach_add_(directions, parameters, alpha=0.01)
    lengths = torch._foreach_norm(parameters)
    torch._foreach_div_(lengths, torch._foreach_norm(directions))
    torch._foreach_mul_(lengths, -1e-3)
    torch._foreach_mul_(directions, lengths)
    torch._foreach_add_(parameters, directions)


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
        "scale": same(1, lambda x: x * 1.5, lambda out, x: torch.mul(x, 1.5, out=out)),
        "add": same(2, torch.add, lambda out, x, y: torch.add(x, y, out=out)),
        "multiply_add_relu": same(3, lambda x, y, z: torch.relu(x * y + z), multiply_add_relu),
        "exp": same(1, torch.exp, lambda out, x: torch.exp(x, out=out)),
        "tanh": same(1, torch.tanh, lambda out, x: torch.tanh(x, out=out)),
        "sigmoid": same(1, torch.sigmoid, lambda out, x: torch.sigmoid(x, out=out)),
        "silu": same(1, functional.silu, lambda out, x: aten.silu.out(x, out=out)),
        "softplus": same(1, functional.softplus, lambda out, x: aten.softplus.out(x, out=out)),
        "gelu": same(1, functional.gelu, lambda out, x: torch._C._nn.gelu(x, out=out)),
        "gelu_tanh": same(
            1, gelu_tanh, lambda out, x: aten.gelu.out(x, approximate="tanh", out=out)),
        "bias_gelu": bias_gelu,
        "dropout": dropout,
        "tanh_gradient": activation(
            torch.tanh, lambda x, y: torch.tanh(x, out=y),
            lambda g, x, y, dx: aten.tanh_backward.grad_input(g, y, grad_input=dx)),
        "sigmoid_gradient": activation(
            torch.sigmoid, lambda x, y: torch.sigmoid(x, out=y),
            lambda g, x, y, dx: aten.sigmoid_backward.grad_input(g, y, grad_input=dx)),
        "silu_gradient": activation(
            functional.silu, lambda x, y: aten.silu.out(x, out=y),
            lambda g, x, y, dx: aten.silu_backward.grad_input(g, x, grad_input=dx)),
        "softplus_gradient": activation(
            functional.softplus, lambda x, y: aten.softplus.out(x, out=y),
            lambda g, x, y, dx: aten.softplus_backward.grad_input(g, x, 1, 20, grad_input=dx)),
        "gelu_gradient": activation(
            functional.gelu, lambda x, y: aten.gelu.out(x, out=y),
            lambda g, x, y, dx: aten.gelu_backward.grad_input(g, x, grad_input=dx)),
        "gelu_tanh_gradient": activation(
            gelu_tanh, lambda x, y: aten.gelu.out(x, approximate="tanh", out=y),
            lambda g, x, y, dx: aten.gelu_backward.grad_input(
                g, x, approximate="tanh", grad_input=dx)),
    },
    "reduce": {
        "sum": same(1, lambda x: x.sum()),
        "row_sum": same(1, lambda x: x.sum(1)),
        "column_sum": same(1, lambda x: x.sum(0)),
        "row_max": same(1, lambda x: x.amax(1)),
        "row_square_sum": same(1, lambda x: x.square().sum(1)),
    },
    "norm": {
        "layer_norm": with_rows(layer_norm, 2),
        "layer_norm_gradient": gradient(layer_norm, rows=2),
        "rms_norm": with_rows(rms_norm, 1),
        "rms_norm_gradient": gradient(rms_norm, rows=1),
    },
    "softmax": {
        "softmax": same(
            1, lambda x: torch.softmax(x, 1), lambda out, x: torch.softmax(x, 1, out=out)),
        "softmax_gradient": gradient(lambda x: torch.softmax(x, 1), rows=0),
        "log_softmax": same(1, lambda x: torch.log_softmax(x, 1)),
        "cross_entropy": cross_entropy,
        "cross_entropy_gradient": gradient(functional.cross_entropy, rows=0, integers=True),
    },
    "pool": {
        "max_2x2": images(max_2x2),
        "max_2x2_gradient": images_gradient(max_2x2),
        "max_3x3": images(max_3x3),
        "max_3x3_gradient": images_gradient(max_3x3),
        "average_2x2": images(average_2x2),
        "average_2x2_gradient": images_gradient(average_2x2),
        "global_average": images(global_average),
        "global_average_gradient": images_gradient(global_average),
    },
    "optimizer": {
        "sgd": update(lambda p: torch.optim.SGD(p, lr=1e-3, fused=True)),
        "momentum": update(lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, fused=True)),
        "adam": update(lambda p: torch.optim.Adam(p, lr=1e-3, fused=True)),
        "adamw": update(lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True)),
        "rmsprop": update(lambda p: torch.optim.RMSprop(p, lr=1e-3, foreach=True)),
        "adagrad": update(lambda p: torch.optim.Adagrad(p, lr=1e-3, fused=True)),
        "lion": lists(lion, 1),
        "lamb": lists(lamb, 2),
        "adamw_careful": careful_update,
    },
}


def prepare(case, compiled, mixed):
    torch.manual_seed(0)
    torch._dynamo.reset()
    dtype = torch.bfloat16 if mixed else torch.float32
    function, operands, into = OPERATIONS[case["family"]][case["operation"]](case, dtype)
    if compiled:
        function = torch.compile(function, dynamic=False)
    elif into:
        results = function(*operands)
        single = isinstance(results, torch.Tensor)
        out = torch.empty_like(results) if single else [torch.empty_like(y) for y in results]
        return protocol.timed(lambda: into(out, *operands))
    return protocol.timed(lambda: function(*operands))
