"""Doors into the blocked layout in which onnxruntime holds images on the CPU.

On the CPU onnxruntime holds the outputs of convolutions with their channels in blocks of 8 or
16, and converts to plain (N, C, H, W) wherever an operator or an operand is not in that layout.
A product or a sum of a blocked and a plain tensor therefore converts the blocked one out, and
the result in again for the next convolution; in a residual network one plain summand so drags
the whole stream of gradients out. Only a convolution converts a tensor in. This pass puts one,
depthwise, 1 x 1 and of ones, on the plain operand. Its cost is one pass over the tensor; it
saves two. The values are the same to the bit.

What stays blocked was read off the graphs that onnxruntime 1.26 to 1.32 optimise; where a
release decides otherwise the door costs time, never correctness.
"""

from __future__ import annotations

import numpy as np

from .graph import Graph, Node

_BLOCK = 16  # the larger of the two sizes of blocks
_UNARY = {"Relu", "HardSigmoid", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "MaxPool", "AveragePool", "Resize"}
_BINARY = {"Mul", "Add"}


def open_doors(graph: Graph) -> None:
    """Insert the convolutions, in place; `graph` has its final nodes and all static types."""
    readers = graph.readers()
    blocked: set[str] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in _BINARY:
            plain = [x for x in node.inputs if x not in blocked and not _is_per_channel(graph, x)]
            if len(plain) == 1 and _worth_it(graph, node, readers):
                _open(graph, plain[0], nodes, node, blocked)
        if _stays_blocked(graph, node, blocked):
            blocked.add(node.outputs[0])
        nodes.append(node)
    graph.nodes = nodes


def _worth_it(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Whether both operands can be blocked, and whoever reads the result wants it so."""
    shapes = {graph.shape(x) for x in node.inputs} | {graph.shape(node.outputs[0])}
    (shape, *others) = shapes
    fits = not others and len(shape) == 4 and shape[1] % _BLOCK == 0 and len(set(node.inputs)) == 2
    return fits and any(
        r.op in _BINARY or _is_blocked_convolution(graph, r) for r in readers.get(node.outputs[0], [])
    )


def _stays_blocked(graph: Graph, node: Node, blocked: set[str]) -> bool:
    if node.op == "Conv":
        return _is_blocked_convolution(graph, node)
    if node.op in _UNARY or node.op == "BatchNormalization":
        return node.inputs[0] in blocked and len(node.outputs) == 1
    if node.op in _BINARY or node.op == "Concat":
        return all(x in blocked or _is_per_channel(graph, x) for x in node.inputs)
    return False


def _is_per_channel(graph: Graph, name: str) -> bool:
    """Whether a tensor is a constant that onnxruntime merges into the convolution before."""
    value = graph.constant(name)
    return value is not None and (value.size == 1 or value.shape[-2:] == (1, 1))


def _is_blocked_convolution(graph: Graph, node: Node) -> bool:
    if node.op != "Conv":
        return False
    weight, group = graph.constant(node.inputs[1]), node.attrs.get("group", 1)
    if weight is None or weight.ndim != 4:
        return False
    outputs, inputs = weight.shape[:2]
    depthwise = inputs == 1 and outputs == group
    return bool(outputs % _BLOCK == 0 and (group == 1 or depthwise or inputs % _BLOCK == 0))


def _open(graph: Graph, plain: str, nodes: list[Node], node: Node, blocked: set[str]) -> None:
    """Put a door on one operand of `node`; in front of its Resize, where it comes from one."""
    resize = next((n for n in reversed(nodes) if plain in n.outputs), None)
    if resize is not None and resize.op == "Resize":
        resize.inputs = [_door(graph, resize.inputs[0], nodes, nodes.index(resize)), *resize.inputs[1:]]
        blocked.update((resize.inputs[0], plain))
        return
    door = _door(graph, plain, nodes, len(nodes))
    node.inputs = [door if x == plain else x for x in node.inputs]
    blocked.add(door)


def _door(graph: Graph, plain: str, nodes: list[Node], at: int) -> str:
    channels = graph.shape(plain)[1]
    dtype = graph.type(plain).dtype
    ones = graph.add_constant(np.ones((channels, 1, 1, 1), dtype), "door")
    name = graph.fresh("grad/door")
    graph.types[name] = graph.type(plain)
    nodes.insert(at, Node("Conv", [plain, ones], [name], {"group": channels, "kernel_shape": [1, 1]}, name))
    return name
