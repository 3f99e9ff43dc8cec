"""What stays in single precision where a network computes in half."""

from __future__ import annotations

import numpy as np
import onnx

from .graph import Graph, Node, TensorType

_HALF, _SINGLE = np.dtype(np.float16), np.dtype(np.float32)
_SUMS = ("ScatterElements", "ScatterND")


def scatter_in_single(graph: Graph) -> None:
    """Let nodes that add up what is scattered do so in float32, in place.

    GPUs add floats to memory by an instruction, and half numbers in a loop; onnxruntime's CPU has no kernel
    for them at all. Sums of many small gradients are more accurate as well.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        adds = node.op in _SUMS and node.attrs.get("reduction") in ("add", b"add")
        if not adds or graph.type(node.inputs[0]).dtype != _HALF:
            nodes.append(node)
            continue
        data, indices, updates = node.inputs
        (y,) = node.outputs
        wide = graph.fresh(f"{y}/single")
        inputs = [_widened(graph, data, nodes), indices, _widened(graph, updates, nodes)]
        nodes.append(Node(node.op, inputs, [wide], node.attrs, node.name))
        nodes.append(Node("Cast", [wide], [y], {"to": onnx.TensorProto.FLOAT16}))
        graph.types[wide] = TensorType(graph.shape(y), _SINGLE)
    graph.nodes = nodes


def _widened(graph: Graph, name: str, nodes: list[Node]) -> str:
    """The tensor in float32, as a constant or by a node more."""
    known = graph.constant(name)
    if known is not None:
        return graph.add_constant(known.astype(_SINGLE))
    wide = graph.fresh(f"{name}/single")
    nodes.append(Node("Cast", [name], [wide], {"to": onnx.TensorProto.FLOAT}))
    graph.types[wide] = TensorType(graph.shape(name), _SINGLE)
    return wide
