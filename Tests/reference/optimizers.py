"""Writes Tests/ApusNNTests/Reference/optimizers.json: what PyTorch's and optax's optimisers do in 50 steps.

Run once, by hand, with PyTorch and optax installed; the result is committed. Each case begins at the same
vector or matrix and goes down a fixed, uneven bowl; ten of its steps are kept.
"""

import json
import math
import pathlib

import jax
import numpy as np
import optax
import torch
import torch.optim._muon as muon

jax.config.update("jax_enable_x64", True)

KEPT = [1, 2, 3, 4, 5, 10, 20, 30, 40, 50]
VECTOR = {
    "start": [0.5, -1.25, 2.0], "shape": [3], "curvature": [1.0, 3.0, 0.25],
    "target": [0.1, 0.2, -0.3],
}


def matrix(rows, columns):
    count = rows * columns
    return {
        "start": [(3 * i % 8 - 3.5) / 2 for i in range(count)], "shape": [rows, columns],
        "curvature": [0.25 + (7 * i % 5) / 2 for i in range(count)],
        "target": [(5 * i % 7 - 3) / 4 for i in range(count)],
    }


def bowl(of):
    curvature, target = np.array(of["curvature"]), np.array(of["target"])
    shape = of["shape"]
    return lambda p: curvature.reshape(shape) * (p - target.reshape(shape))


def run(make, of, schedule=None):
    gradient = bowl(of)
    p = torch.tensor(of["start"], dtype=torch.float64).reshape(of["shape"]).requires_grad_()
    optimizer = make([p])
    scheduler = schedule(optimizer) if schedule else None
    trace = []
    for step in range(1, 51):
        p.grad = torch.from_numpy(gradient(p.detach().numpy()))
        optimizer.step()
        if scheduler and step < 50:
            scheduler.step()
        if step in KEPT:
            trace.append([float(f"{x:.15g}") for x in p.detach().flatten()])
    return {"of": of, "steps": trace}


def run_optax(optimizer, of):
    gradient = bowl(of)
    p = jax.numpy.array(of["start"], dtype=jax.numpy.float64).reshape(of["shape"])
    state = optimizer.init(p)
    trace = []
    for step in range(1, 51):
        updates, state = optimizer.update(jax.numpy.array(gradient(np.array(p))), state, p)
        p = optax.apply_updates(p, updates)
        if step in KEPT:
            trace.append([float(f"{x:.15g}") for x in np.array(p).flatten()])
    return {"of": of, "steps": trace}


def exact(grad, coefficients, steps, eps):
    """torch.optim._muon's iteration, which rounds to bf16, in double."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


muon._zeropower_via_newtonschulz = exact
optim = torch.optim
CASES = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_dampening": lambda p: optim.SGD(
        p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "sgd_nesterov_decay": lambda p: optim.SGD(
        p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.02),
    "adam_decay": lambda p: optim.Adam(p, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1),
    "adam_amsgrad": lambda p: optim.Adam(
        p, lr=0.2, betas=(0.8, 0.9), weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.05),
    "adamw_amsgrad": lambda p: optim.AdamW(p, lr=0.2, betas=(0.8, 0.7), amsgrad=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "adagrad_all": lambda p: optim.Adagrad(
        p, lr=0.3, lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-6),
    "adadelta": lambda p: optim.Adadelta(p),
    "adadelta_decay": lambda p: optim.Adadelta(
        p, lr=0.5, rho=0.8, eps=1e-3, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.02),
    "rmsprop_all": lambda p: optim.RMSprop(
        p, lr=0.01, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.8, centered=True),
    "adamax": lambda p: optim.Adamax(p, lr=0.05),
    "adamax_decay": lambda p: optim.Adamax(p, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1),
    "nadam": lambda p: optim.NAdam(p, lr=0.02),
    "nadam_decay": lambda p: optim.NAdam(
        p, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1, momentum_decay=0.1),
    "nadam_decoupled": lambda p: optim.NAdam(
        p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.02),
    "radam_decay": lambda p: optim.RAdam(p, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1),
    "radam_decoupled": lambda p: optim.RAdam(
        p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    "adafactor_vector": lambda p: optim.Adafactor(p, lr=0.1),
}
MATRICES = {
    "adafactor": lambda p: optim.Adafactor(p, lr=0.1),
    "adafactor_all": lambda p: optim.Adafactor(
        p, lr=0.3, beta2_decay=-0.5, eps=(1e-3, 0.1), d=1.5, weight_decay=0.05),
    "muon": lambda p: optim.Muon(p, lr=0.05),
    "muon_plain": lambda p: optim.Muon(
        p, lr=0.02, weight_decay=0, momentum=0.8, nesterov=False, ns_steps=3,
        adjust_lr_fn="match_rms_adamw"),
}
ONE_CYCLE = {
    "sgd_one_cycle": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda o: optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=50)),
    "adam_one_cycle": (
        lambda p: optim.Adam(p, lr=0.1),
        lambda o: optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=50)),
    "rmsprop_one_cycle": (
        lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9),
        lambda o: optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=50)),
}
result = {name: run(make, VECTOR) for name, make in CASES.items()}
for name, make in MATRICES.items():
    result[name] = run(make, matrix(4, 3))
result["muon_wide"] = run(MATRICES["muon"], matrix(2, 5))
for name, (make, schedule) in ONE_CYCLE.items():
    result[name] = run(make, VECTOR, schedule)
result["lion"] = run_optax(optax.lion(0.01), VECTOR)
result["lion_all"] = run_optax(optax.lion(0.03, b1=0.8, b2=0.9, weight_decay=0.1), VECTOR)
result["lamb"] = run_optax(optax.lamb(0.05), matrix(4, 3))
result["lamb_decay"] = run_optax(
    optax.lamb(0.05, b1=0.8, b2=0.9, eps=1e-3, weight_decay=0.1), matrix(4, 3))

out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "optimizers.json"
text = json.dumps(result, separators=(",", ":"))
out.write_text(text.replace("}},", "}},\n").replace('"steps"', '\n"steps"') + "\n")
assert math.isfinite(sum(sum(map(sum, case["steps"])) for case in result.values()))
