"""One small network whose layers keep their channels first, last or in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sobolevflow.network import Network
from tests.support.gradient_cases import make_model

CHANNELS, HEIGHT, WIDTH = 6, 4, 5
IMAGE = (3, 2 * HEIGHT, 2 * WIDTH)

# Where each layout has the axes of (N, C, H, W).
ORDERS = {"first": (0, 1, 2, 3), "last": (0, 2, 3, 1), "between": (0, 2, 1, 3), "turned": (0, 1, 3, 2)}


def network(layout: str = "first") -> onnx.ModelProto:
    """Layers "map", "tokens" (rows one after another, but for "between" and "turned"), "line", "pooled".

    "line" is the mean over rows; "scores" and "sigmoid" are two outputs.
    """
    rng = np.random.default_rng(5)
    order = ORDERS[layout]
    channels, rows = order.index(1), order.index(2)
    constants: dict[str, Any] = {
        "w": rng.standard_normal((CHANNELS, 3, 2, 2)).astype(np.float32),
        "bias": rng.standard_normal([CHANNELS if k == channels else 1 for k in range(4)]).astype(np.float32),
        "v": rng.standard_normal((CHANNELS, 4)).astype(np.float32),
        "tokens_shape": np.array([0, CHANNELS, -1] if channels == 1 else [0, -1, CHANNELS]),
    }
    places = [k for k in (1, 2, 3) if k != channels]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], strides=[2, 2]),
        helper.make_node("Transpose", ["conv"], ["laid"], perm=order),
        helper.make_node("Add", ["laid", "bias"], ["added"]),
        helper.make_node("Tanh", ["added"], ["map"]),
        helper.make_node("ReduceMean", ["map"], ["line"], axes=[rows], keepdims=0),
        helper.make_node("ReduceMean", ["map"], ["pooled"], axes=places, keepdims=0),
        helper.make_node("MatMul", ["pooled", "v"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["sigmoid"]),
    ]
    outputs = ["sigmoid", "line"]
    if layout in ("first", "last"):
        nodes.append(helper.make_node("Reshape", ["map", "tokens_shape"], ["tokens"]))
        outputs.append("tokens")
    return make_model(nodes, {"x": (("N", *IMAGE), TensorProto.FLOAT)}, outputs, constants, opset=13)


def laid(array: np.ndarray, layout: str) -> np.ndarray:
    """An array (N, C, H, W) in a layout."""
    return np.ascontiguousarray(np.transpose(array, ORDERS[layout]))


def feature_maps(net: Network) -> dict[str, int]:
    """The layers (N, C, H, W) or (N, H, W, C) that a gradient reaches, and the axis of their channels."""
    names = [info.name for info in net.layers if info.differentiable and info.name in net.layouts]
    return {name: net.layouts[name].channel_axes[0] for name in names if net.layouts[name].is_map}
