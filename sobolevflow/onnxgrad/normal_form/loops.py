"""How often the loops of a model run, where it says so, before any of them runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.external_data_helper import uses_external_data

from ...errors import ModelError
from ..files.weights import array_of
from ..graph import Graph, Node, attributes_of, node_label, subgraphs
from ..limits import Limits, refused

_Known = Mapping[str, np.ndarray]


def check_loops(graph: onnx.GraphProto | Graph, limits: Limits) -> None:
    """ModelError where a loop whose number of rounds is known runs too many nodes.

    One that ends by a condition that is computed is left to the limits of time.
    """
    known = _single(graph.constants.items()) if isinstance(graph, Graph) else _constants(graph, {})
    for node in graph.nodes if isinstance(graph, Graph) else graph.node:
        runs = _runs(node, known)
        loop = f"the {_op(node)} {node_label(node)}"
        if math.isinf(runs):
            raise ModelError(f"{loop} never ends")
        if runs > limits.iterations:
            what = f"{loop} runs {runs:.0f} nodes, and {limits.iterations} are allowed"
            raise refused(what, "iterations", runs)


def _op(node: Node | onnx.NodeProto) -> str:
    return node.op if isinstance(node, Node) else str(node.op_type)


def _runs(node: Node | onnx.NodeProto, known: _Known) -> float:
    """How many nodes are run for one."""
    bodies = subgraphs(node)
    if _op(node) == "Loop" and bodies and len(bodies[0].input) > 1 and bodies[0].output:
        inputs = node.inputs if isinstance(node, Node) else list(node.input)
        (body,) = bodies[:1]
        within = {**known, body.input[1].name: np.asarray(True)} if _stays_true(body, known) else known
        return _rounds(inputs, body, known) * max(_inside(body, within), 1)
    return 1 + sum(_inside(body, known) for body in bodies)


def _inside(body: onnx.GraphProto, around: _Known) -> float:
    known = _constants(body, around)
    return sum(_runs(node, known) for node in body.node)


def _rounds(inputs: Sequence[str], body: onnx.GraphProto, known: _Known) -> float:
    """As often as is known; once where a condition is computed."""
    count, goes_on = (*inputs, "", "")[:2]
    if goes_on and goes_on not in known:
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
    found = {**around, **_single((t.name, array_of(t)) for t in tensors)}
    for node in graph.node:
        if len(node.output) == 1 and (value := _value(node, found)) is not None:
            found |= _single([(node.output[0], value)])
    return found


def _value(node: onnx.NodeProto, known: _Known) -> np.ndarray | None:
    """What a node makes, if that is a single number that is known and simply computed."""
    if node.op_type == "Constant":
        given = attributes_of(node)
        tensor = given.get("value")
        if isinstance(tensor, onnx.TensorProto):
            return array_of(tensor) if math.prod(tensor.dims) == 1 else None
        return np.asarray(given["value_int"]) if "value_int" in given else None
    compute = _SIMPLE.get(node.op_type)
    inputs = node.input[: 1 if node.op_type in _PASSING else 2]
    if compute is None or not all(x in known for x in inputs):
        return None
    return np.asarray(compute(*(known[x].astype(np.float64) for x in inputs)))


_PASSING = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")
_SIMPLE: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_PASSING, lambda x: x),
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Max": np.maximum,
    "Min": np.minimum,
}


def _single(values: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Those that are single numbers, without axes."""
    return {
        name: value.reshape(()) for name, value in values if value.size == 1 and value.dtype.kind in "iufb"
    }
