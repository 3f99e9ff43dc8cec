"""Shape inference of models that slice: a size below zero must not reach a Slice.

What is smaller than the windows of a network has, as onnx reckons, a size below zero behind them. The
inference of Slice ends the process at such a size, in onnx, its version converter and onnxruntime alike, so
that it has to be found before these see it. In the model that is inferred here a Slice reads its input
through a Where whose condition is made of the input's own shape: of a size below zero none can be made, and
the shape of all that follows stays open. Slices of shapes themselves are left alone, since their values are
propagated.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from ...errors import ModelError
from ..graph import node_label
from ..shape_inference import GUARD, infer_shapes, without_guards

_TRUE = helper.make_tensor("true", TensorProto.BOOL, [1], [True])

# What computes with shapes; none of them leaves a size below zero.
_OF_SHAPES = frozenset(
    (
        *("Shape", "Size", "Constant", "Gather", "Concat", "Cast", "Unsqueeze", "Squeeze", "Slice"),
        *("Identity", "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Floor", "Ceil", "Neg", "Where"),
    )
)


def infer_guarded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shape inference, as a copy; where a size below zero would meet a Slice, shapes behind it stay open."""
    nodes = _guarded(model.graph)
    if nodes is None:
        return infer_shapes(model)
    guarded = onnx.ModelProto()
    guarded.CopyFrom(model)
    del guarded.graph.node[:]
    guarded.graph.node.extend(nodes)
    return without_guards(infer_shapes(guarded))


def check_slices(model: onnx.ModelProto) -> None:
    """Refuse a model in which a size below zero would meet a Slice.

    Raises
    ------
    ModelError
        Names the node that leaves such a size.
    """
    if _guarded(model.graph) is not None:
        problem = below_zero(infer_guarded(model))
        if problem is not None:
            raise problem


def below_zero(inferred: onnx.ModelProto) -> ModelError | None:
    """What is wrong with a model that slices, and in which a size is below zero; None of others."""
    if not any(node.op_type == "Slice" for node in inferred.graph.node):
        return None
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        least = min((axis.dim_value for axis in info.type.tensor_type.shape.dim), default=0)
        if least < 0:
            node = next(node for node in inferred.graph.node if info.name in node.output)
            return ModelError(
                f"{node.op_type} node {node_label(node)} would leave a size of {least}: what it is given is "
                "too small for it"
            )
    return None


def _guarded(graph: onnx.GraphProto) -> list[onnx.NodeProto] | None:
    """The nodes, with a guard before each Slice of what is no shape; None where there is no such Slice."""
    of_shapes = {tensor.name for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        op, read = node.op_type, [x for x in node.input if x]
        if op in ("Shape", "Size") or (op in _OF_SHAPES and of_shapes.issuperset(read)):
            of_shapes.update(node.output)
        elif op == "Slice" and len(read) > 1:  # before opset 10 it has one input, and does no harm
            nodes += _guard(node)
            continue
        nodes.append(node)
    return nodes if len(nodes) > len(graph.node) else None


def _guard(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    x, made = node.input[0], [f"{GUARD}{node.output[0]}/{what}" for what in ("shape", "all", "data")]
    reading = onnx.NodeProto()
    reading.CopyFrom(node)
    reading.input[0] = made[2]
    return [
        helper.make_node("Shape", [x], made[:1]),
        helper.make_node("ConstantOfShape", made[:1], made[1:2], value=_TRUE),
        helper.make_node("Where", [made[1], x, x], made[2:]),
        reading,
    ]
