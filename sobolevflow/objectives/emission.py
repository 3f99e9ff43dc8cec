"""An objective as nodes behind a network, with its runtime inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..onnxgrad import Builder, Graph, Parameter, Value
from .base import Combination, Leaf, Objective

if TYPE_CHECKING:
    from ..network import Network


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
        super().__init__(graph, "objective")
        self._prefix = prefix

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


def structure(objective: Objective, net: Network) -> tuple[Any, ...]:
    """What the gradient graph of an objective depends on; equal structures share a session."""
    weighted = isinstance(objective, Combination)
    return (weighted, *(leaf.key(net) for leaf in objective.leaves()))


def emit_objective(objective: Objective, net: Network, graph: Graph, tensors: dict[str, str]) -> str:
    """Append the objective to a forward graph; return the name of its value, shape (N,)."""
    values = []
    for prefix, leaf in _prefixed(objective):
        emit = Emitter(graph, prefix)
        values.append(leaf.emit(emit, emit.named(tensors[leaf.tensor(net)]), net))
    if not isinstance(objective, Combination):
        return values[0]
    emit = Emitter(graph)
    batch = graph.shape(values[0])[0] if values[0] in graph.types else -1
    columns = [emit.reshape(v, (batch, 1)) for v in values]
    return emit.sum(emit.op("Concat", *columns, axis=1) * emit.named("weights"), [1])


def runtime_parameters(objective: Objective, net: Network, batch: int) -> list[Parameter]:
    """The objective's runtime inputs with their values, per image (batch, ...).

    Raises
    ------
    UnsupportedOpError
        No gradient reaches one of its layers.
    """
    for leaf in objective.leaves():
        net.check_differentiable(leaf.tensor(net))
    out = [
        Parameter(prefix + name, value)
        for prefix, leaf in _prefixed(objective)
        for name, value in leaf.parameters(net, batch).items()
    ]
    if isinstance(objective, Combination):
        weights = np.array([w for w, _ in objective.weighted()], np.float32)
        out.append(Parameter("weights", np.tile(weights, (batch, 1))))
    return out


def _prefixed(objective: Objective) -> list[tuple[str, Leaf]]:
    """Leaves with the prefix of their runtime inputs: none where there is just one."""
    leaves = objective.leaves()
    return [("" if len(leaves) == 1 else f"{k}/", leaf) for k, leaf in enumerate(leaves)]
