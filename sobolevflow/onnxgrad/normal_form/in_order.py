"""Nodes in the order in which they can be computed: ONNX asks for it, and onnxruntime finds it by itself."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx

from ...errors import ModelError
from ..graph import node_label, reads


def put_in_order(graph: onnx.GraphProto) -> None:
    """Move nodes behind those that make what they read, in place, unless they all are.

    Raises
    ------
    ModelError
        A node depends on its own result.
    """
    makers = {y: k for k, node in enumerate(graph.node) for y in node.output if y}
    needed = {k: {makers[x] for x in reads(node) if x in makers} for k, node in enumerate(graph.node)}
    if all(before < k for k, every in needed.items() for before in every):
        return
    try:
        order = list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        node = graph.node[error.args[1][0]]
        raise ModelError(f"{node.op_type} node {node_label(node)} depends on its own result") from None
    moved = onnx.GraphProto(node=[graph.node[k] for k in order])
    del graph.node[:]
    graph.node.extend(moved.node)
