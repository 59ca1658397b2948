"""Writes Tests/ApusTrainingTests/Reference/lbfgs.json: what PyTorch's L-BFGS does, in double precision.

Run once, by hand, with PyTorch installed; the result is committed. So few calls that f32 goes the same way: beyond
them PyTorch's own two precisions part. Of each call of `step` the loss that it begins with,
the number of evaluations so far and the parameters after it are kept.
"""

import json
import pathlib

import torch

torch.set_default_dtype(torch.float64)


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def logistic(p):
    """Ten points in three dimensions, with a penalty that makes the minimum one."""
    i = torch.arange(30.0)
    x = ((7 * i) % 11 / 5 - 1).reshape(10, 3)
    y = (torch.arange(10) * 3 % 4 < 2).to(x.dtype)
    z = x @ p[:3] + p[3]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    return loss + 0.01 * (p * p).sum()


CASES = {
    "rosenbrock": dict(loss=rosenbrock, start=[-1.5, 2.0], calls=2,
                       options=dict(lr=1, max_iter=8, line_search_fn="strong_wolfe")),
    "rosenbrock, short history": dict(
        loss=rosenbrock, start=[1.2, -1.0], calls=2,
        options=dict(lr=0.8, max_iter=10, history_size=2, line_search_fn="strong_wolfe")),
    "logistic": dict(loss=logistic, start=[0.5, -1.0, 2.0, 0.25], calls=1,
                     options=dict(lr=1, max_iter=5)),
    "logistic, careful": dict(loss=logistic, start=[0.5, -1.0, 2.0, 0.25], calls=6,
                              options=dict(lr=0.3, max_iter=5, max_eval=4, history_size=3)),
    "logistic, strong Wolfe": dict(
        loss=logistic, start=[3.0, -1.0, 2.0, 0.25], calls=1,
        options=dict(lr=1, max_iter=5, line_search_fn="strong_wolfe")),
}

cases = []
for name, case in CASES.items():
    p = torch.tensor(case["start"], requires_grad=True)
    options = dict(case["options"])
    optimizer = torch.optim.LBFGS([p], **options)
    calls = []
    for _ in range(case["calls"]):
        def closure():
            optimizer.zero_grad()
            loss = case["loss"](p)
            loss.backward()
            return loss
        loss = optimizer.step(closure)
        state = optimizer.state[p]
        calls.append({"loss": loss.item(), "evaluations": state["func_evals"],
                      "iterations": state["n_iter"], "parameters": p.tolist()})
    cases.append({"name": name, "start": case["start"], "options": options, "calls": calls})

path = pathlib.Path(__file__).parent.parent / "ApusTrainingTests/Reference/lbfgs.json"
path.write_text(json.dumps(cases, indent=1) + "\n")
for case in cases:
    for call in case["calls"]:
        print(case["name"], call)
