"""What onnx's version converter does not know about old files.

Crop, ImageScaler, Affine, ScaledTanh and ParametricSoftplus, which exporters of 2017 and 2018 wrote,
are run by onnxruntime though no opset defines them any more. Each is rewritten into standard operators
of the model's own opset, so that the version converter and the gradient rules never see them.

Upsample and Resize had no attribute for where their samples lie before opset 11. The converter
gives them the default of opset 11, half_pixel, but what onnxruntime computes for them is the
asymmetric rule of their time: ``x_in = x_out / scale``, rounded down (up where it shrinks).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import ModelError
from ..files.weights import array_of
from ..graph import attributes_of, node_label, opset_of


def lower_legacy_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite legacy nodes in place; a model without any is returned unchanged."""
    if not any(is_legacy(node) for node in model.graph.node):
        return model
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += _LOWERINGS[node.op_type](model, node) if is_legacy(node) else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def is_legacy(node: onnx.NodeProto) -> bool:
    """Whether `lower_legacy_ops` rewrites this node."""
    return node.domain in ("", "ai.onnx") and node.op_type in LEGACY


def _constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return name


def _scale_and_shift(
    model: onnx.ModelProto, node: onnx.NodeProto, scale: np.ndarray, shift: np.ndarray
) -> list[onnx.NodeProto]:
    out = node.output[0]
    scaled = f"{out}/scaled"
    return [
        helper.make_node("Mul", [node.input[0], _constant(model, f"{out}/scale", scale)], [scaled], scaled),
        helper.make_node("Add", [scaled, _constant(model, f"{out}/shift", shift)], [out], node.name),
    ]


def _image_scaler(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Y = scale * x + bias[channel]."""
    attrs = attributes_of(node)
    bias = np.asarray(attrs.get("bias", [0.0])).reshape(-1, 1, 1)
    return _scale_and_shift(model, node, np.asarray(attrs.get("scale", 1.0)), bias)


def _affine(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Y = alpha * x + beta."""
    attrs = attributes_of(node)
    return _scale_and_shift(
        model, node, np.asarray(attrs.get("alpha", 1.0)), np.asarray(attrs.get("beta", 0.0))
    )


def _scaled(op: str) -> Callable[[onnx.ModelProto, onnx.NodeProto], list[onnx.NodeProto]]:
    """Lowering to Y = alpha * op(beta * x)."""

    def lower(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        attrs, out = attributes_of(node), node.output[0]
        inner, outer = (
            _constant(model, f"{out}/{name}", np.asarray(attrs.get(name, 1.0))) for name in ("beta", "alpha")
        )
        scaled, bent = f"{out}/scaled", f"{out}/bent"
        return [
            helper.make_node("Mul", [node.input[0], inner], [scaled], scaled),
            helper.make_node(op, [scaled], [bent], bent),
            helper.make_node("Mul", [bent, outer], [out], node.name),
        ]

    return lower


def _crop(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Y = x without `border` = (left, top, right, bottom), or `scale` = (height, width) from the top left."""
    attrs = attributes_of(node)
    left, top, right, bottom = attrs["border"]
    if "scale" in attrs:
        height, width = attrs["scale"]
        ends = [top + height, left + width]
    else:
        largest = np.iinfo(np.int64).max
        ends = [-bottom if bottom else largest, -right if right else largest]
    if opset_of(model) >= 10:  # Slice takes its bounds as attributes up to opset 9 only
        raise ModelError(f"node {node_label(node)}: Crop is not an operator of this opset")
    return [
        helper.make_node(
            "Slice", node.input, node.output, node.name, axes=[2, 3], starts=[top, left], ends=ends
        )
    ]


def restore_resampling(model: onnx.ModelProto, converted: onnx.ModelProto) -> None:
    """Give the Resize nodes in `converted`, in place, the sample positions they had in `model`."""
    if opset_of(model) >= 11:
        return
    scales = {t.name: t for t in converted.graph.initializer}
    scales |= {n.output[0]: n.attribute[0].t for n in converted.graph.node if n.op_type == "Constant"}
    for node in converted.graph.node:
        if node.op_type == "Resize":
            known = scales.get(node.input[2])
            shrinks = known is not None and bool((array_of(known) < 1).any())
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", "ceil" if shrinks else "floor"))


_LOWERINGS = {
    "ImageScaler": _image_scaler,
    "Affine": _affine,
    "Crop": _crop,
    "ScaledTanh": _scaled("Tanh"),
    "ParametricSoftplus": _scaled("Softplus"),
}
LEGACY = frozenset(_LOWERINGS)
