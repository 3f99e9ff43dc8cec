"""AveragePool with dilations, an attribute of opset 19, in operators of opset 18.

The sum over the taps is a depthwise convolution with ones; what each window divides by is a
constant behind it. onnxruntime is asked for the divisors, as in the rule of AveragePool.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import ModelError
from ..geometry import Axis, axes_of, explicit_pads, inverse_divisors
from ..graph import Graph, Node, TensorType, attributes_of, node_label, opset_of, tensor_type
from ..runtime import run, session
from .ceil_mode import infer_runtime_shapes


def lower_dilated_averages(model: onnx.ModelProto) -> None:
    """Rewrite every AveragePool whose dilations are not all 1, in place.

    Raises
    ------
    ModelError
        The shape of its input is not known before the model runs, or onnxruntime has another one for its
        output than ONNX: it forgets the dilations where it finds pads for ``auto_pad``.
    """
    if not any(_is_dilated(node) for node in model.graph.node):
        return
    del model.graph.value_info[:]  # what was inferred before has onnx's sizes, not the runtime's
    for output in model.graph.output:
        output.CopyFrom(onnx.ValueInfoProto(name=output.name))
    inferred = infer_runtime_shapes(model)
    known = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    types = {info.name: kind for info in known if (kind := tensor_type(info)) is not None}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += _lowered(model, node, types) if _is_dilated(node) else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _is_dilated(node: onnx.NodeProto) -> bool:
    named = [a for a in node.attribute if a.name == "dilations"] if node.op_type == "AveragePool" else []
    return any(d != 1 for a in named for d in a.ints)


def _lowered(
    model: onnx.ModelProto, node: onnx.NodeProto, types: dict[str, TensorType]
) -> list[onnx.NodeProto]:
    x, out = node.input[0], node.output[0]
    if x not in types or out not in types:
        raise ModelError(
            f"AveragePool node {node_label(node)}: with dilations, the shape of its input must be known"
        )
    channels = types[x].shape[1]
    axes = _axes(node, types)
    window: dict[str, Any] = {
        "kernel_shape": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes],
        "pads": [*(a.begin for a in axes), *(max(a.end, 0) for a in axes)],
    }
    taps, shares, total = f"{out}/taps", f"{out}/shares", f"{out}/total"
    ones = np.ones((channels, 1, *window["kernel_shape"]), np.float32)
    divided = inverse_divisors(_mean_of_ones(node, axes, opset_of(model)), axes).astype(np.float32)
    model.graph.initializer.extend(
        [numpy_helper.from_array(ones, taps), numpy_helper.from_array(divided, shares)]
    )
    return [
        helper.make_node("Conv", [x, taps], [total], total, group=channels, **window),
        helper.make_node("Mul", [total, shares], [out], node.name),
    ]


def _axes(node: onnx.NodeProto, types: dict[str, TensorType]) -> list[Axis]:
    graph = Graph()
    graph.types = types
    pool = Node("AveragePool", list(node.input), list(node.output), attributes_of(node))
    explicit_pads(graph, pool)
    return axes_of(pool, graph.shape(node.input[0])[2:], graph.shape(node.output[0])[2:])


def _mean_of_ones(node: onnx.NodeProto, axes: list[Axis], opset: int) -> np.ndarray:
    """What onnxruntime makes of ones by this pool, which opset 18 cannot express."""
    single = onnx.TensorProto.FLOAT
    shape = [1, 1, *(a.size for a in axes)]
    pool = helper.make_node("AveragePool", ["x"], ["y"], **attributes_of(node))
    graph = helper.make_graph(
        [pool], "probe", [helper.make_tensor_value_info("x", single, shape)], [onnx.ValueInfoProto(name="y")]
    )
    probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    probe.ir_version = 8
    (mean,) = run(session(probe), None, {"x": np.ones(shape, np.float32)})
    if mean.shape[2:] != tuple(a.out for a in axes):
        raise ModelError(
            f"AveragePool node {node_label(node)}: ONNX and onnxruntime disagree about its size; "
            "export the pool with explicit padding instead of auto_pad"
        )
    return mean
