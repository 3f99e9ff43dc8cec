"""Small autoencoders with random weights, whose output NumPy can compute by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.gradient_cases import make_model

SIZE = (3, 6, 5)


def autoencoder(*, last: bool = False, flat: bool = False, squash: bool = False) -> onnx.ModelProto:
    """From x (N, 3, 6, 5), or (N, 6, 5, 3) with `last`, through a code to y, of its shape or `flat`."""
    c, h, w = SIZE
    count = c * h * w
    shape = (h, w, c) if last else (c, h, w)
    nodes = [
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("MatMul", ["row", "down"], ["code"]),
        helper.make_node("Tanh", ["code"], ["bounded"]),
        helper.make_node("MatMul", ["bounded", "up"], ["wide"]),
        helper.make_node("Add", ["wide", "bias"], ["long"]),
        helper.make_node("Sigmoid" if squash else "Identity", ["long"], ["levels"]),
        *([] if flat else [helper.make_node("Reshape", ["levels", "shape"], ["y"])]),
    ]
    constants: dict[str, Any] = {**weights(), "shape": np.array([-1, *shape], np.int64)}
    assert constants["down"].shape[0] == count
    inputs = {"x": (("N", *shape), TensorProto.FLOAT)}
    return make_model(nodes, inputs, ["levels" if flat else "y"], constants, opset=15)


def weights() -> dict[str, np.ndarray]:
    """Of the two dense layers."""
    rng, count = np.random.default_rng(3), int(np.prod(SIZE))
    shapes = {"down": (count, 7), "up": (7, count), "bias": (count,)}
    return {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def reconstructed(x: np.ndarray, *, squash: bool = False) -> np.ndarray:
    """What it makes of x, (N, ...), in double precision and of the same shape."""
    w = {name: value.astype(np.float64) for name, value in weights().items()}
    y = np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w["down"]) @ w["up"] + w["bias"]
    return np.asarray(1 / (1 + np.exp(-y)) if squash else y).reshape(x.shape)
