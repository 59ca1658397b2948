"""The loss curves behind Docs/Precision.md.

    loss_curves.py          trains in double, f32 and bf16 (PyTorch) and writes the curves to
                            Tests/ApusTrainingTests/Reference/loss-curves.json
    loss_curves.py --plot   prints the table of the page and writes Docs/loss-curves.svg

Run by hand, with PyTorch installed; the results are committed. In between, the suite LossCurveTests
with UPDATE_GOLDEN=1 adds the curves of Apus, which trains the same network on the same numbers: they
come from SplitMix64, by the same formulas on both sides.
"""

import argparse
import json
import math
import pathlib

ROOT = pathlib.Path(__file__).parent.parent.parent
CURVES = ROOT / "Tests" / "ApusTrainingTests" / "Reference" / "loss-curves.json"
PLOT = ROOT / "Docs" / "loss-curves.svg"

# With tanh between the layers: a ReLU's kink turns the last bit of one sum into a jump of the curve.
WIDTHS = [32, 128, 128, 10]
EXAMPLES, BATCH, STEPS = 2048, 64, 500

# name in the file, label, colour
SIDES = [
    ("highest", "Apus .highest", "#1f77b4"),
    ("torch_f32", "PyTorch f32", "#7f7f7f"),
    ("high", "Apus .high", "#2ca02c"),
    ("mixed", "Apus .mixed", "#d62728"),
    ("torch_bf16", "PyTorch bf16 autocast", "#ff9f0e"),
]
# Where there is no AMX, .high lies on .highest.
DASHES = {"torch_f32": "5 4", "torch_bf16": "5 4", "high": "2 6"}


def uniform(seed, count):
    """Multiples of 2^-23 in [-1, 1)."""
    import numpy

    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return (z >> numpy.uint64(40)).astype(numpy.float64) / 2**23 - 1


def curve(dtype, autocast=False):
    import numpy
    import torch

    torch.set_num_threads(1)
    x = uniform(1, EXAMPLES * WIDTHS[0]).reshape(EXAMPLES, WIDTHS[0])
    labels = torch.tensor(numpy.argmax(x[:, :10] * x[:, 10:20] + x[:, 20:30], axis=1))
    x = torch.tensor(x, dtype=dtype)
    parameters = []
    for layer, (fan_in, fan_out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        for seed, shape in [(10 + layer, (fan_out, fan_in)), (20 + layer, (fan_out,))]:
            value = uniform(seed, math.prod(shape)) / math.sqrt(fan_in)
            value = torch.tensor(value.astype(numpy.float32).reshape(shape), dtype=dtype)
            parameters.append(value.requires_grad_())
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    losses = []
    for step in range(STEPS):
        start = step * BATCH % EXAMPLES
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = x[start:start + BATCH]
            for layer in range(len(WIDTHS) - 1):
                y = torch.nn.functional.linear(y, *parameters[2 * layer:2 * layer + 2])
                if layer + 2 < len(WIDTHS):
                    y = torch.tanh(y)
            loss = torch.nn.functional.cross_entropy(y, labels[start:start + BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def train():
    import torch

    curves = json.loads(CURVES.read_text()) if CURVES.exists() else {}
    curves["double"] = curve(torch.float64)
    curves["torch_f32"] = curve(torch.float32)
    curves["torch_bf16"] = curve(torch.float32, autocast=True)
    CURVES.parent.mkdir(exist_ok=True)
    CURVES.write_text(json.dumps(curves, sort_keys=True) + "\n")


def table(curves):
    print("| side | mean distance | greatest distance | loss of the last 32 steps |")
    print("| --- | --- | --- | --- |")
    print(f"| double | | | {sum(curves['double'][-32:]) / 32:.5f} |")
    for name, label, _ in SIDES:
        gaps = [abs(a - b) for a, b in zip(curves[name], curves["double"])]
        last = sum(curves[name][-32:]) / 32
        print(f"| {label} | {sum(gaps) / STEPS:.1e} | {max(gaps):.1e} | {last:.5f} |")


def plot(curves):
    width, height, left, top, gap = 430, 300, 60, 30, 90
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width + left + gap + 20}" '
        f'height="{height + 120}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]

    def panel(x, title, low, high, marks, lines, place):
        svg.append(f'<text x="{x}" y="{top - 10}" font-size="13">{title}</text>')
        for value, label in marks:
            y = top + height * (1 - (place(value) - low) / (high - low))
            svg.append(
                f'<path d="M{x} {y:.1f}h{width}" stroke="#dddddd"/>'
                f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for step in range(0, STEPS + 1, 100):
            svg.append(
                f'<text x="{x + width * step / STEPS:.1f}" y="{top + height + 18}" '
                f'text-anchor="middle">{step}</text>')
        svg.append(f'<text x="{x + width / 2}" y="{top + height + 36}" text-anchor="middle">step</text>')
        for values, colour, dash in lines:
            points = " ".join(
                f"{x + width * step / STEPS:.1f},"
                f"{top + height * (1 - (place(value) - low) / (high - low)):.1f}"
                for step, value in values)
            svg.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" '
                f'stroke-dasharray="{dash}"/>')

    def smooth(values):
        """Means over 20 steps, from step to step 5 apart."""
        return [
            (start + 10, sum(values[start:start + 20]) / 20)
            for start in range(0, STEPS - 19, 5)]

    names = {"double": ("double", "#000000")}
    names |= {name: (label, colour) for name, label, colour in SIDES}
    panel(
        left, "Loss, mean of 20 steps", 0, 2.5, [(v / 2, f"{v / 2}") for v in range(6)],
        [(smooth(curves[name]), names[name][1], DASHES.get(name, "none")) for name in names],
        lambda value: value)
    distances = [
        (smooth([abs(a - b) for a, b in zip(curves[name], curves["double"])]), names[name][1],
         DASHES.get(name, "none"))
        for name in names if name != "double"]
    panel(
        left + width + gap, "Distance to the loss in double, mean of 20 steps", -9, 0,
        [(10.0**e, f"1e{e}") for e in range(-9, 1)], distances,
        lambda value: math.log10(max(value, 1e-9)))
    for index, (label, colour) in enumerate(names.values()):
        x, y = left + index % 3 * 260, top + height + 60 + index // 3 * 20
        svg.append(
            f'<path d="M{x} {y - 4}h24" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{x + 30}" y="{y}">{label}</text>')
    svg.append("</svg>")
    PLOT.write_text("\n".join(svg) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", action="store_true")
    if parser.parse_args().plot:
        curves = json.loads(CURVES.read_text())
        table(curves)
        plot(curves)
    else:
        train()
