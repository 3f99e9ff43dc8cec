"""Any objective, sums included, behind a network: its nodes, its runtime inputs, its structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..onnxgrad import Graph, Parameter
from .base import Combination, Leaf, Objective
from .emitter import Emitter

if TYPE_CHECKING:
    from ..network import Network


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
