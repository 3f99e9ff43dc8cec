"""A small classifier with random weights, whose every layer NumPy can compute by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.gradient_cases import make_model

LABELS = ["red fox, Vulpes", "king crab", "Crane", "crane", "tabby, cat", "grey owl"]
SIZE = (3, 8, 10)


def weights(seed: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (5, 4, 3, 3), "b2": (5,), "w3": (6, 5), "b3": (6,)}
    return {k: rng.standard_normal(s).astype(np.float32) * 0.5 for k, s in shapes.items()}


def small_model(
    batch: int | str = "N", names: dict[str, str] | None = None, size: tuple[Any, ...] = SIZE
) -> onnx.ModelProto:
    """Layers conv1 relu1 pool1 conv2 relu2 gap flat logits prob; `names` renames tensors."""
    new = names or {}

    def node(op: str, inputs: str, output: str, **attrs: Any) -> onnx.NodeProto:
        given = [new.get(x, x) for x in inputs.split()]
        return helper.make_node(op, given, [new.get(output, output)], name=output, **attrs)

    nodes = [
        node("Conv", "x w1 b1", "conv1", pads=[1, 1, 1, 1]),
        node("Relu", "conv1", "relu1"),
        node("MaxPool", "relu1", "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool1 w2 b2", "conv2"),
        node("Relu", "conv2", "relu2"),
        node("GlobalAveragePool", "relu2", "gap"),
        node("Flatten", "gap", "flat"),
        node("Gemm", "flat w3 b3", "logits", transB=1),
        node("Softmax", "logits", "prob"),
    ]
    constants = {new.get(k, k): v for k, v in weights().items()}
    inputs = {new.get("x", "x"): ((batch, *size), TensorProto.FLOAT)}
    return make_model(nodes, inputs, [new.get("prob", "prob")], constants, opset=13)


def images(count: int = 1, seed: int = 0, size: tuple[int, ...] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *size)).astype(np.float32)


def generator(
    size: tuple[int, int] = (8, 10),
    *,
    flat: bool = True,
    last: bool = False,
    opset: int = 15,
    label: bool = False,
) -> onnx.ModelProto:
    """From a code of 5 numbers by a dense layer and a tanh to a picture in [-1, 1]."""
    rng = np.random.default_rng(8)
    height, width = size
    shape = [-1, height, width, 3] if last else [-1, 3, height, width]
    constants = {
        "w": rng.standard_normal((5, 3 * height * width)).astype(np.float32) * 0.5,
        "shape": np.array(shape, np.int64),
        "five": np.array([-1, 5], np.int64),
    }
    nodes = [
        *([] if flat else [helper.make_node("Reshape", ["z", "five"], ["rows"])]),
        *([helper.make_node("Add", ["z", "label"], ["rows"])] if label else []),
        helper.make_node("MatMul", ["z" if flat and not label else "rows", "w"], ["dense"], name="dense"),
        helper.make_node("Tanh", ["dense"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "shape"], ["x"]),
    ]
    inputs: dict[str, Any] = {"z": (("N", 5) if flat else ("N", 5, 1, 1), TensorProto.FLOAT)}
    if label:
        inputs["label"] = ((1, 5), TensorProto.FLOAT)
    return make_model(nodes, inputs, ["x"], constants, opset=opset)
