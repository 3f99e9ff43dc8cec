"""Pools with ``ceil_mode``: one size in onnx's shape inference, another in onnxruntime.

Rounding up may add a last window that begins behind the data. onnxruntime, like the
frameworks that export such pools, drops that window; onnx's inference counts it. Such a
node is rewritten with explicit padding, about which the two agree.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from ...errors import ModelError
from ..graph import Shape, attributes_of, node_label, tensor_type
from .guarded import infer_guarded


def infer_runtime_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shape inference, as a copy, with the pool sizes of onnxruntime.

    `model` is changed where onnx and onnxruntime disagree: ``ceil_mode`` becomes padding.

    Raises
    ------
    ModelError
        No padding gives the same windows.
    """
    while True:
        inferred = infer_guarded(model)
        if not _settle_one(model, inferred):
            return inferred


def _settle_one(model: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """Rewrite the first pool that needs it: it changes the shapes of all that follows."""
    known = (*inferred.graph.input, *inferred.graph.value_info)
    types = {info.name: kind for info in known if (kind := tensor_type(info)) is not None}
    for node in model.graph.node:
        if node.op_type in ("MaxPool", "AveragePool") and node.input[0] in types:
            pads = _padding_instead(node, types[node.input[0]].shape[2:])
            if pads is not None:
                _set(node, ceil_mode=0, pads=pads)
                return True
    return False


def _padding_instead(node: onnx.NodeProto, size: Shape) -> list[int] | None:
    """Pads that give the same windows without ``ceil_mode``, where a window begins behind the data."""
    attrs = attributes_of(node)
    if not attrs.get("ceil_mode") or attrs.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    rank, kernel = len(size), attrs["kernel_shape"]
    stride, dilation = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    pads = list(attrs.get("pads", [0] * 2 * rank))
    if [len(each) for each in (kernel, stride, dilation, pads)] != [rank, rank, rank, 2 * rank]:
        return None  # onnxruntime says so
    overhangs = [False] * rank
    dropped = False
    for k in range(rank):
        reach = (kernel[k] - 1) * dilation[k] + 1
        room = size[k] + pads[k] + pads[rank + k] - reach
        steps = -(-room // stride[k])
        if steps * stride[k] >= size[k] + pads[k]:
            dropped = True
        elif room % stride[k]:
            overhangs[k] = True
            pads[rank + k] += steps * stride[k] - room
    if not dropped:
        return None
    # an average over padding would divide by more than the declared padding; onnxruntime limits all pads
    inexact = any(overhangs) and attrs.get("count_include_pad")
    if inexact or any(pads[rank + k] >= kernel[k] for k in range(rank)):
        raise ModelError(
            f"{node.op_type} node {node_label(node)}: ceil_mode with these strides and pads "
            "is not supported; export the pool with explicit padding instead"
        )
    return pads


def _set(node: onnx.NodeProto, **attrs: Any) -> None:
    kept = [a for a in node.attribute if a.name not in attrs]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attrs.items())])
