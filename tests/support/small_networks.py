"""A small classifier with random weights, whose every layer NumPy can compute by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import sobolevflow as sf
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


DETECTED = ["dog", "bus", "kite", "pear"]
OF_DETECTOR = (3, 16, 24)  # an image; its boxes lie around the cells of 4 rows and 6 columns
_CELLS = (4, 6)


def detector(kind: str, *, selected: bool = False, last: bool = False) -> onnx.ModelProto:
    """One box a cell, with random weights.

    Parameters
    ----------
    kind : {"yolov5", "yolov8", "ssd", "detr", "dense"}
        What its outputs are: rows of boxes in pixels, objectness and classes; columns without objectness;
        scores behind a softmax with a background class beside
        corners relative to the image; logits with a class for no object beside boxes behind a sigmoid; a map
        of classes behind a softmax.
    selected : bool
        Whether it gives out only what a NonMaxSuppression selects.
    last : bool
        Whether the map has its channels last.
    """
    rng = np.random.default_rng(11)
    beside = {"yolov8": 0, "dense": 0}.get(kind, 1)  # objectness, background, no object
    width = (0 if kind == "dense" else 4) + beside + len(DETECTED)
    constants: dict[str, np.ndarray] = {
        "w1": rng.standard_normal((6, 3, 3, 3)).astype(np.float32) * 0.3,
        "w2": rng.standard_normal((width, 6, 3, 3)).astype(np.float32) * 0.4,
        "as_columns": np.array([0, width, -1], np.int64),
        "zero": np.array([0], np.int64),
        "four": np.array([4], np.int64),
        "end": np.array([width], np.int64),
        "axis": np.array([2], np.int64),
        "priors": _priors("cxcywh" if kind != "ssd" else "xyxy", relative=kind == "ssd"),
        "small": np.array(0.1 if kind == "ssd" else 1.0, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["conv1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Tanh", ["conv1"], ["act1"]),
        node("Conv", ["act1", "w2"], ["map"], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    outputs = ["out"]
    if kind == "dense":
        nodes += [node("Softmax", ["map"], ["out"], axis=1)]
        nodes += [node("Transpose", ["out"], ["last"], perm=[0, 2, 3, 1])] if last else []
        outputs = ["last" if last else "out"]
        return _detector_model(nodes, outputs, constants)
    nodes += [
        node("Reshape", ["map", "as_columns"], ["columns"]),
        node("Transpose", ["columns"], ["rows"], perm=[0, 2, 1]),
        node("Slice", ["rows", "zero", "four", "axis"], ["raw"]),
        node("Slice", ["rows", "four", "end", "axis"], ["logits"]),
        node("Mul", ["raw", "small"], ["moved"]),
        node("Add", ["moved", "priors"], ["boxes"]),
    ]
    if kind in ("yolov5", "yolov8"):
        nodes += [
            node("Sigmoid", ["logits"], ["prob"]),
            node("Concat", ["boxes", "prob"], ["joined"], axis=2),
            node("Transpose", ["joined"], ["out"], perm=[0, 2, 1] if kind == "yolov8" else [0, 1, 2]),
        ]
    elif kind == "ssd":
        nodes += [node("Softmax", ["logits"], ["scores"], axis=2)]
        outputs = ["boxes", "scores"]
    else:
        nodes += [node("Sigmoid", ["raw"], ["places"])]
        outputs = ["logits", "places"]
    if selected:
        nodes += [
            node("Transpose", ["scores"], ["by_class"], perm=[0, 2, 1]),
            node("NonMaxSuppression", ["boxes", "by_class"], ["chosen"]),
        ]
        outputs = ["chosen"]
    return _detector_model(nodes, outputs, constants)


def _priors(form: str, *, relative: bool) -> np.ndarray:
    """A box of twice the size of each cell around it, (1, cells, 4)."""
    height, width = OF_DETECTOR[1:]
    y, x = ((k.ravel() + 0.5) for k in np.mgrid[: _CELLS[0], : _CELLS[1]])
    sides = np.array([width / _CELLS[1], height / _CELLS[0]])
    centre = np.stack([x, y], axis=1) * sides
    size = np.broadcast_to(2 * sides, centre.shape)
    boxes = (centre, size) if form == "cxcywh" else (centre - size / 2, centre + size / 2)
    scale = np.array([width, height] * 2) if relative else 1
    return np.asarray(np.concatenate(boxes, axis=1)[None] / scale, np.float32)


def _detector_model(
    nodes: list[onnx.NodeProto], outputs: list[str], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    own = {name: value for name, value in constants.items() if name in used}
    return make_model(nodes, {"x": (("N", *OF_DETECTOR), TensorProto.FLOAT)}, outputs, own, opset=13)


@cache
def small_detector() -> sf.Network:
    """That of rows of boxes, objectness and classes."""
    return sf.load(detector("yolov5"), labels=DETECTED, preprocess="none")
