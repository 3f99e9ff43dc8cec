"""How often the loops of a model run, where it says so, before any of them runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from ..graph import Graph, Node, attributes_of, node_label, subgraphs
from ..limits import Limits, refused

_Known = Mapping[str, np.ndarray]


def check_loops(graph: onnx.GraphProto | Graph, limits: Limits) -> None:
    """ModelError where a loop whose number of rounds is known runs too many nodes.

    One that ends by a condition that is computed is left to the limits of time.
    """
    known = _single(graph.constants.items()) if isinstance(graph, Graph) else _constants(graph, {})
    nodes = graph.nodes if isinstance(graph, Graph) else graph.node
    for node in nodes:
        runs = _runs(node, known)
        if runs > limits.iterations:
            count = "nodes without an end" if math.isinf(runs) else f"{runs:.0f} nodes"
            raise refused(
                f"the {_op(node)} {node_label(node)} runs {count}, and {limits.iterations} are allowed",
                "iterations",
                min(runs, 2.0**63),
            )


def _op(node: Node | onnx.NodeProto) -> str:
    return node.op if isinstance(node, Node) else str(node.op_type)


def _runs(node: Node | onnx.NodeProto, known: _Known) -> float:
    """How many nodes are run for one."""
    inside = sum(
        _runs(each, within)
        for body in subgraphs(node)
        for within in [_constants(body, known)]
        for each in body.node
    )
    if _op(node) == "Loop" and (bodies := subgraphs(node)):
        inputs = node.inputs if isinstance(node, Node) else list(node.input)
        return _rounds(inputs, bodies[0], known) * max(inside, 1)
    return 1 + inside


def _rounds(inputs: Sequence[str], body: onnx.GraphProto, known: _Known) -> float:
    """As often as is known; once where a condition is computed."""
    count, goes_on = (*inputs, "", "")[:2]
    if (goes_on and goes_on not in known) or len(body.input) < 2 or not body.output:
        return 1
    if goes_on and not known[goes_on]:
        return 0
    if not _stays_true(body, known):
        return 1
    if not count:
        return math.inf
    return max(float(known[count]), 0) if count in known else 1


def _stays_true(body: onnx.GraphProto, known: _Known) -> bool:
    """Whether the condition of a body is what it is given, or true."""
    makers = {y: node for node in body.node for y in node.output}
    name = body.output[0].name
    while (maker := makers.get(name)) is not None and maker.op_type == "Identity":
        name = maker.input[0]
    if name == body.input[1].name:
        return True
    within = _constants(body, known)
    return bool(within.get(name, False))


def _constants(graph: onnx.GraphProto, around: _Known) -> dict[str, np.ndarray]:
    """The single numbers that are known in a graph, by name; those around it included."""
    tensors = [t for t in graph.initializer if not uses_external_data(t) and math.prod(t.dims) == 1]
    found = {**around, **_single((t.name, numpy_helper.to_array(t)) for t in tensors)}
    for node in graph.node:
        if node.op_type == "Constant":
            attributes = attributes_of(node)
            value = attributes.get("value", attributes.get("value_int"))
            if isinstance(value, onnx.TensorProto) and math.prod(value.dims) == 1:
                value = numpy_helper.to_array(value)
            found |= _single(
                [(node.output[0], np.asarray(value))] if isinstance(value, (int, np.ndarray)) else []
            )
        elif (
            node.op_type in ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape") and node.input[0] in found
        ):
            found[node.output[0]] = found[node.input[0]]
    return found


def _single(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name: value.reshape(()) for name, value in values if value.size == 1 and value.dtype.kind in "iufb"
    }
