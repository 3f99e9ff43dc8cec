"""Any objective, sums included, behind a network: its nodes, its runtime inputs, its structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
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
    InputError
        One of its layers has something other than the images on its first axis.
    """
    for leaf in objective.leaves():
        net.check_differentiable(leaf.tensor(net))
        _check_images_apart(net, leaf.tensor(net))
    out = [
        Parameter(prefix + name, value)
        for prefix, leaf in _prefixed(objective)
        for name, value in leaf.parameters(net, batch).items()
    ]
    if isinstance(objective, Combination):
        weights = np.array([w for w, _ in objective.weighted()], np.float32)
        out.append(Parameter("weights", np.tile(weights, (batch, 1))))
    return out


def _check_images_apart(net: Network, layer: str) -> None:
    """Refuse a layer that does not have the images on its first axis."""
    shape = net.layer(layer).shape
    if shape and shape[0] != 1 and layer != net.score_layer:
        raise InputError(
            f"{net.name}: layer {layer!r} of shape {shape} has {shape[0]} entries on its first axis for one "
            "image, as windows or time steps have; images are wanted there. Ask for a layer before it"
        )


def _prefixed(objective: Objective) -> list[tuple[str, Leaf]]:
    """Leaves with the prefix of their runtime inputs: none where there is just one."""
    leaves = objective.leaves()
    return [("" if len(leaves) == 1 else f"{k}/", leaf) for k, leaf in enumerate(leaves)]
