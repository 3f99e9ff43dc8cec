"""What appends the nodes of one elementary objective to a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..onnxgrad import IMAGE, Builder, Graph, Node, Value

_STEM = "objective"  # what the names of its tensors begin with


def chooses(node: Node) -> bool:
    """Whether an objective chooses by a node which of its values counts, as that of the best box.

    No gradient passes it, and none is missing: between two jumps the choice is constant.
    """
    return node.op == "ArgMax" and node.outputs[0].startswith(f"{_STEM}/")


class Emitter(Builder):
    """Appends the nodes of one elementary objective to a graph.

    What it returns adds, subtracts, multiplies and divides: ``emit.sum_all(x * x, x.shape) / 2``.

    Parameters
    ----------
    graph : Graph
    prefix : str
        What the names of its runtime inputs begin with, where there are several objectives.
    """

    def __init__(self, graph: Graph, prefix: str = "") -> None:
        super().__init__(graph, _STEM)
        self._prefix = prefix

    @property
    def image(self) -> Value:
        """The image u itself, (N, C, H, W) in [0, 1], before any pre-processing."""
        return self.named(IMAGE)

    def parameter(self, name: str) -> Value:
        """A runtime input, (N, ...)."""
        return self.named(self._prefix + name)

    def one_hot(self, name: str, depth: int) -> Value:
        """(N, depth) with a one at runtime input `name` (N,)."""
        return self.op(
            "OneHot", self.parameter(name), self.const(depth, np.int64), self.const([0, 1]), axis=-1
        )

    def sum_all(self, x: str, shape: Sequence[int]) -> Value:
        """The sum over everything but the batch, (N,), of a tensor of that shape."""
        return self.sum(x, range(1, len(shape)))
