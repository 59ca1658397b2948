"""Writes Tests/ApusNNTests/Reference/schedules.json: the rates of PyTorch's schedulers over 50 steps.

Run once, by hand, with PyTorch installed; the result is committed.
"""

import json
import pathlib

import torch
import torch.optim.lr_scheduler as s

CASES = {
    "constant": (0.1, lambda o: s.ConstantLR(o, factor=1)),
    "step": (0.1, lambda o: s.StepLR(o, 7, gamma=0.5)),
    "multiStep": (0.1, lambda o: s.MultiStepLR(o, [4, 20, 21, 45])),
    "exponential": (0.1, lambda o: s.ExponentialLR(o, 0.9)),
    "linear": (0.1, lambda o: s.LinearLR(o, start_factor=1 / 3, end_factor=1, total_iters=20)),
    "polynomial": (0.1, lambda o: s.PolynomialLR(o, total_iters=30, power=2)),
    "polynomial line": (0.1, lambda o: s.PolynomialLR(o, total_iters=30)),
    "cosine": (0.1, lambda o: s.CosineAnnealingLR(o, T_max=49, eta_min=0.01)),
    "cosine restarts": (
        0.1, lambda o: s.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=2, eta_min=0.01)),
    "cosine equal restarts": (0.1, lambda o: s.CosineAnnealingWarmRestarts(o, T_0=12)),
    "one cycle": (0.1, lambda o: s.OneCycleLR(o, 0.4, total_steps=50)),
    "one cycle linear": (
        0.1, lambda o: s.OneCycleLR(
            o, 0.4, total_steps=50, pct_start=0.45, anneal_strategy="linear", div_factor=10,
            final_div_factor=100)),
    "sequence": (
        0.1, lambda o: s.SequentialLR(
            o, [s.ConstantLR(o, 0.1, total_iters=100), s.StepLR(o, 5, gamma=0.5),
                s.ExponentialLR(o, 0.9)], milestones=[10, 30])),
    "product": (
        0.1, lambda o: s.ChainedScheduler(
            [s.LinearLR(o, start_factor=0.1, total_iters=10), s.ExponentialLR(o, 0.95)])),
    "closure": (0.1, lambda o: s.LambdaLR(o, lambda step: 1 / (1 + step))),
    # Noam's: a peak of 0.1 at step 9.
    "inverse root": (
        0.1, lambda o: s.LambdaLR(
            o, lambda i: 10**0.5 * min((i + 1) ** -0.5, (i + 1) * 10**-1.5))),
}


def run(rate, make, key="lr"):
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=rate, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for step in range(50):
        rates.append(float(f"{optimizer.param_groups[0][key]:.15g}"))
        optimizer.step()
        if step < 49:
            scheduler.step()
    return rates


def plateau(losses, **settings):
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1)
    scheduler = s.ReduceLROnPlateau(optimizer, **settings)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    return rates


result = {name: run(*case) for name, case in CASES.items()}
result["one cycle momentum"] = run(*CASES["one cycle"], key="momentum")
LOSSES = [max(1 - i / 10, 0.4) + (0.001 if i % 3 else -0.00003 * i) for i in range(50)]
result["plateau losses"] = LOSSES
result["plateau"] = plateau(LOSSES, patience=1)
result["plateau absolute"] = plateau(
    LOSSES, factor=0.5, patience=2, threshold=0.01, threshold_mode="abs", cooldown=4, min_lr=0.01)
result["plateau larger"] = plateau([10 - x for x in LOSSES], mode="max", patience=5, factor=0.3, threshold=1e-3)
out = pathlib.Path(__file__).parent.parent / "ApusNNTests" / "Reference" / "schedules.json"
out.write_text(json.dumps(result, separators=(",", ":")).replace("],", "],\n") + "\n")
