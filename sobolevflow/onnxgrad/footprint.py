"""How much memory and computing a graph needs, from its shapes alone, and its session about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from .graph import Graph, Node, Shape, TensorType, reads
from .limits import Limits, available_bytes, in_words, refused
from .runtime import CPU_PROVIDER, fed_matrices

_BYTES_OF_TEXT = 64  # of a string of a few letters, in onnxruntime and in NumPy

# What onnxruntime was seen to take, as medians of gradients of four networks: weights are held as they are
# and packed; what is allocated in the first run is kept beside the plan that the second makes of it.
_OF_WEIGHTS, _OF_PEAK, _AT_LEAST = 2, 4, 2 << 20


def peak_bytes(graph: Graph) -> int:
    """The most bytes of tensors that are alive at once when the nodes run in order.

    A tensor lives from the node that makes it to the last one that reads it, inputs and outputs all the
    time; weights do not count. Onnxruntime reuses memory in the same way, and adds workspace.

    What has no known shape, such as a sequence, does not count.
    """
    last = {x: k for k, node in enumerate(graph.nodes) for x in reads(node)}
    now = peak = sum(tensor_bytes(graph, x) for x in graph.inputs)
    for k, node in enumerate(graph.nodes):
        made = [y for y in node.outputs if y]
        now += sum(tensor_bytes(graph, y) for y in made)
        peak = max(peak, now)
        ended = {x for x in (*reads(node), *made) if last.get(x, k) == k} - {*graph.outputs, *graph.inputs}
        now -= sum(tensor_bytes(graph, x) for x in ended if x and x not in graph.constants)
    return peak


def check_memory(graph: Graph, limits: Limits, images: int = 1) -> None:
    """ModelError where a graph needs more memory for each of so many images than there is for one."""
    needed, there = peak_bytes(graph) // images, limits.memory or available_bytes()
    if there is None or needed <= there:
        return
    largest = max((y for node in graph.nodes for y in node.outputs), key=lambda y: tensor_bytes(graph, y))
    shape = "x".join(map(str, graph.shape(largest)))
    raise refused(
        f"the network needs about {in_words(needed)} of memory for an image, with {largest!r} of {shape}, "
        f"and {in_words(there)} are there",
        "memory",
        needed,
    )


def weight_bytes(graph: Graph) -> int:
    """Bytes of the constants that are no defaults of inputs."""
    return sum(value.nbytes for name, value in graph.constants.items() if name not in graph.inputs)


def session_bytes(graph: Graph, providers: Sequence[Any] = (CPU_PROVIDER,)) -> int:
    """About how many bytes a session of a graph takes once it has run, by one thread at a time.

    Where the shape of a tensor is not known, activations do not count.
    """
    own = weight_bytes(graph) - sum(value.nbytes for value in fed_matrices(graph, providers).values())
    return _AT_LEAST + _OF_WEIGHTS * own + _OF_PEAK * peak_bytes(graph)


def operations(graph: Graph) -> int:
    """How many numbers a graph multiplies, adds or moves, as far as shapes tell."""
    return sum(_operations(graph, node) for node in graph.nodes)


def _operations(graph: Graph, node: Node) -> int:
    read, made = ([_size(graph, x) for x in names if x] for names in (node.inputs, node.outputs))
    inputs = [_shape(graph, x) for x in node.inputs]
    times = 1
    if node.op == "Einsum":
        times = max(max(read), 1)  # no letter is summed over that no input has
    elif node.op in ("MatMul", "MatMulInteger", "Gemm") and inputs[0]:
        times = max(inputs[0])
    elif node.op in ("Conv", "ConvInteger", "ConvTranspose") and len(inputs) > 1 and inputs[1]:
        times = math.prod(inputs[1][1:])
    elif node.op == "NonMaxSuppression":
        times = max(read)
    return sum(read) + times * max([*made, *(read if node.op == "NonMaxSuppression" else [])], default=0)


def _shape(graph: Graph, name: str) -> Shape:
    """The shape of a tensor; that of a single number where it is not known, as that of a sequence."""
    kind = _kind(graph, name)
    return () if kind is None else kind.shape


def _size(graph: Graph, name: str) -> int:
    return math.prod(_shape(graph, name))


def _kind(graph: Graph, name: str) -> TensorType | None:
    try:
        return graph.type(name)
    except ModelError:
        return None


def tensor_bytes(graph: Graph, name: str) -> int:
    """The size of a tensor; 0 where its shape is not known."""
    kind = _kind(graph, name)
    if kind is None:
        return 0
    each = _BYTES_OF_TEXT if kind.dtype.kind in "OSU" else kind.dtype.itemsize
    return math.prod(kind.shape) * each
