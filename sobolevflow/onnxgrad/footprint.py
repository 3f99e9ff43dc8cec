"""How much memory a graph needs while it runs, from its shapes alone, and its session about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from .graph import Graph, reads
from .runtime import CPU_PROVIDER, fed_matrices

# What onnxruntime was seen to take, as medians of gradients of four networks: weights are held as they are
# and packed; what is allocated in the first run is kept beside the plan that the second makes of it.
_OF_WEIGHTS, _OF_PEAK, _AT_LEAST = 2, 4, 2 << 20


def peak_bytes(graph: Graph) -> int:
    """The most bytes of tensors that are alive at once when the nodes run in order.

    A tensor lives from the node that makes it to the last one that reads it, inputs and outputs all the
    time; weights do not count. Onnxruntime reuses memory in the same way, and adds workspace.

    Raises
    ------
    ModelError
        The shape of a tensor is not known.
    """
    last = {x: k for k, node in enumerate(graph.nodes) for x in reads(node)}
    now = peak = sum(_bytes(graph, x) for x in graph.inputs)
    for k, node in enumerate(graph.nodes):
        made = [y for y in node.outputs if y]
        now += sum(_bytes(graph, y) for y in made)
        peak = max(peak, now)
        ended = {x for x in (*reads(node), *made) if last.get(x, k) == k} - {*graph.outputs, *graph.inputs}
        now -= sum(_bytes(graph, x) for x in ended if x and x not in graph.constants)
    return peak


def weight_bytes(graph: Graph) -> int:
    """Bytes of the constants that are no defaults of inputs."""
    return sum(value.nbytes for name, value in graph.constants.items() if name not in graph.inputs)


def session_bytes(graph: Graph, providers: Sequence[Any] = (CPU_PROVIDER,)) -> int:
    """About how many bytes a session of a graph takes once it has run, by one thread at a time.

    Where the shape of a tensor is not known, activations do not count.
    """
    own = weight_bytes(graph) - sum(value.nbytes for value in fed_matrices(graph, providers).values())
    try:
        peak = peak_bytes(graph)
    except ModelError:
        peak = 0
    return _AT_LEAST + _OF_WEIGHTS * own + _OF_PEAK * peak


def _bytes(graph: Graph, name: str) -> int:
    kind = graph.type(name)
    return math.prod(kind.shape) * kind.dtype.itemsize
