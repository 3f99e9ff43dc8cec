"""What check_gradient costs, in runs of onnxruntime's forward pass in single precision.

    OPENBLAS_NUM_THREADS=1 python bench/check_gradient.py ../shared/models   # minutes; else the U-Net alone
    python bench/check_gradient.py --page             # docs/gradient.md from the committed record

CPU time on one thread, NumPy's products of matrices included, in turns. Writes
bench/results/check_gradient.json and the table of docs/gradient.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from copy import copy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from onnx import TensorProto, helper, numpy_helper
from paths import DOCS, RESULTS
from timing import in_turn, ratio

import sobolevflow as sf
from sobolevflow.gradient.model import gradient_graph
from sobolevflow.objectives import runtime_parameters
from sobolevflow.onnxgrad import IMAGE, VALUE, Evaluation

RECORD, PAGE = RESULTS / "check_gradient.json", DOCS / "gradient.md"
ROUNDS = 3
WIDTHS, SIDE = (32, 64, 128, 256, 512), 256
CANDIDATES = {
    "evaluation": "one evaluation in float64",
    "single": 'check_gradient, "single"',
    "double": '"double"',
}


def unet() -> onnx.ModelProto:
    """A U-Net with two convolutions at each of its widths, and random weights."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def layer(op: str, x: str, shape: tuple[int, ...], **attrs: Any) -> str:
        y = f"{op}{len(nodes)}"
        fan = shape[0] if op == "ConvTranspose" else int(np.prod(shape[1:]))
        kernel = (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{y}.w"))
        nodes.append(helper.make_node(op, [x, f"{y}.w"], [y], **attrs))
        return y

    def other(op: str, *inputs: str, **attrs: Any) -> str:
        y = f"{op}{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [y], **attrs))
        return y

    def block(x: str, channels: int, width: int) -> str:
        for given in (channels, width):
            x = other("Relu", layer("Conv", x, (width, given, 3, 3), pads=[1] * 4))
        return x

    x, channels, skipped = "image", 3, []
    for width in WIDTHS:
        x, channels = block(x, channels, width), width
        if width < WIDTHS[-1]:
            skipped.append(x)
            x = other("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    for width in WIDTHS[-2::-1]:
        x = layer("ConvTranspose", x, (2 * width, width, 2, 2), strides=[2, 2])
        x = block(other("Concat", skipped.pop(), x, axis=1), 2 * width, width)
    y = layer("Conv", x, (2, WIDTHS[0], 1, 1))
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, depth, SIDE, SIDE])
        for name, depth in (("image", 3), (y, 2))
    ]
    graph = helper.make_graph(nodes, "unet", infos[:1], infos[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def networks(models: Path | None) -> Iterator[tuple[str, sf.Network]]:
    """Those to look at, with their names on the page; of trained ones where they are."""
    yield (
        f"U-Net, {WIDTHS[0]} to {WIDTHS[-1]} channels, {SIDE} x {SIDE}",
        sf.load(unet(), preprocess="none", threads=1),
    )
    if models is not None:
        yield "SqueezeNet 1.1", sf.load(models / "squeezenet1_1.onnx", preprocess="torch", threads=1)
        yield "MobileNetV2", sf.load(models / "mobilenet_v2.onnx", preprocess="tf", threads=1)


def calls(net: sf.Network) -> dict[str, Callable[[], Any]]:
    """The forward pass and what is compared with it."""
    layer = net.model.graph.output[0].name
    objective, rng = sf.Channel(layer, 1), np.random.default_rng(0)
    u = rng.random((1, *net.input_shape), np.float32)
    forward = copy(gradient_graph(net, objective, runtime_parameters(objective, net, 1), 1, dtype=np.float64))
    forward.outputs = [VALUE]
    forward.prune()
    evaluate, wide = Evaluation(forward), u.astype(np.float64)

    def check(precision: str) -> None:
        net.sessions.clear()  # graphs and sessions included
        sf.check_gradient(net, objective, u, precision=precision)

    return {
        "forward": lambda: net.features(u, [layer]),
        "evaluation": lambda: evaluate({IMAGE: wide}),
        "single": lambda: check("single"),
        "double": lambda: check("double"),
    }


def cpu_seconds(call: Callable[[], Any], repetitions: int) -> Callable[[], float]:
    """A clock of the CPU time of a call, after an untimed one where it is repeated."""

    def seconds() -> float:
        if repetitions > 1:
            call()
        start = time.process_time()
        for _ in range(repetitions):
            call()
        return (time.process_time() - start) / repetitions

    return seconds


def measured(name: str, net: sf.Network) -> Record:
    clocks = {label: cpu_seconds(call, 5 if label == "forward" else 1) for label, call in calls(net).items()}
    clocks["evaluation"]()  # what is imported and allocated once
    seconds = in_turn(clocks, ROUNDS)
    return {
        "network": name,
        **{label: float(f"{ratio(seconds[label], seconds['forward']):.3g}") for label in CANDIDATES},
    }


def pages() -> dict[Path, Parts]:
    """The table of docs/gradient.md."""
    rows = [
        [r["network"], *(f"{r[label]:.2g}" for label in CANDIDATES)] for r in read_record(RECORD)["networks"]
    ]
    return {PAGE: {"cost": table(["forward passes", *CANDIDATES.values()], *rows)}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="?", help="folder with squeezenet1_1 and mobilenet_v2")
    parser.add_argument("--page", action="store_true", help="only write the page, from the record")
    options = parser.parse_args()
    if not options.page:
        if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
            parser.error("NumPy has to start with OPENBLAS_NUM_THREADS=1")
        rows = [measured(name, net) for name, net in networks(options.models)]
        record = {"date": date.today().isoformat(), "machine": machine(1), "networks": rows}
        write_record(RECORD, record)
    write_pages(Path(__file__).name, pages())


if __name__ == "__main__":
    main()
