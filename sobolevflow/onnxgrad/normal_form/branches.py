"""Control flow whose course is known before the run: an If with a constant condition is its branch."""

from __future__ import annotations

import numpy as np
import onnx

from ..files.weights import array_of
from ..graph import Graph, Node, read_node, rename_proto
from ..limits import DEFAULT, Limits
from .fold import fold, inline_constant_nodes


def take_branches(graph: Graph, keep: list[str], *, double: bool = False, limits: Limits = DEFAULT) -> None:
    """Replace every If with a constant condition by the branch taken, in place; `graph` is folded.

    With `double` it is in double precision, and so will the branches be.

    Conditions are often shape arithmetic, which exporters leave in the file though it has one
    outcome at static shapes. Branches may hold further ones.
    """
    while True:
        known = [n for n in graph.nodes if n.op == "If" and graph.constant(n.inputs[0]) is not None]
        if not known:
            return
        for node in known:
            _take(graph, node)
        if double:
            _widen(graph)
        graph.infer_types()
        fold(graph, keep, double=double, limits=limits)


def _widen(graph: Graph) -> None:
    """Bring what came out of the branches to double precision, in place."""
    inline_constant_nodes(graph)
    wide = graph.astype(np.float64)
    graph.nodes, graph.constants = wide.nodes, wide.constants
    graph.inputs, graph.types = wide.inputs, wide.types


def _take(graph: Graph, node: Node) -> None:
    taken = bool(graph.constants[node.inputs[0]].item())
    body = onnx.GraphProto()
    body.CopyFrom(node.attrs["then_branch" if taken else "else_branch"])
    inner = [y for n in body.node for y in n.output if y] + [t.name for t in body.initializer]
    names = {name: graph.fresh(f"{node.outputs[0]}/{name}") for name in inner}
    rename_proto(body, names)
    graph.constants |= {t.name: array_of(t) for t in body.initializer}
    nodes = [read_node(n) for n in body.node]
    for n in nodes:  # unique, as names of nodes must be
        n.name = n.outputs[0]
    ends = [
        Node("Identity", [info.name], [y], name=y)
        for info, y in zip(body.output, node.outputs, strict=True)
        if y
    ]
    at = graph.position(node)
    graph.nodes[at : at + 1] = [*nodes, *ends]
