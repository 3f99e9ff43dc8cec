"""What to maximise or to match, as values that can be added and scaled.

An objective reports one number per image and knows its sense: `Class`, `Channel`, `Neuron`,
`Direction` and `Layer` are maximised, `Inversion` is minimised. It becomes a few ONNX nodes
behind the network. What distinguishes one class, unit or target from another is a runtime
input of those nodes, so that one onnxruntime session serves all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..onnxgrad import Graph, Parameter

if TYPE_CHECKING:
    from ..network import Network


class _Emitter:
    """Appends the nodes of one objective term, with its runtime inputs, to a graph."""

    def __init__(self, graph: Graph, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix

    def __call__(self, op: str, *inputs: str, **attrs: Any) -> str:
        return self.graph.add(op, inputs, output=self.graph.fresh(f"objective/{op}"), **attrs)

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        return self.graph.add_constant(np.asarray(value, dtype))

    def parameter(self, name: str) -> str:
        return self.prefix + name

    def one_hot(self, name: str, depth: int) -> str:
        """(N, depth) with a one at runtime input `name` (N,)."""
        return self("OneHot", self.parameter(name), self.const(depth, np.int64), self.const([0, 1]), axis=-1)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self("Reshape", x, self.const(shape, np.int64))

    def sum(self, x: str, axes: Sequence[int]) -> str:
        return self("ReduceSum", x, self.const(axes, np.int64), keepdims=0)

    def sum_all(self, x: str, shape: Sequence[int]) -> str:
        """Sum over everything but the batch."""
        return self.sum(x, range(1, len(shape)))


class Objective:
    """Base of all objectives: algebra and the interface to the gradient model."""

    maximize: bool | None = True
    whole_batch = False  # whether the value of an image depends on the others

    def __mul__(self, weight: float) -> Combination:
        return Combination(((_finite(weight), self),), self.maximize)

    __rmul__ = __mul__

    def __neg__(self) -> Combination:
        return self * -1.0

    def __add__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        sense = self.maximize if self.maximize == other.maximize else None
        return Combination((*_terms(self), *_terms(other)), sense)

    def __sub__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + -other

    def leaves(self) -> list[Leaf]:
        """The elementary objectives this one is made of."""
        return [leaf for _, leaf in _terms(self)]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description for a run's manifest."""
        raise TypeError(f"{type(self).__name__} must define to_dict")


class Leaf(Objective):
    """An objective on one tensor of the network."""

    def tensor(self, net: Network) -> str:
        """The user's name of the tensor it looks at."""
        raise TypeError(f"{type(self).__name__} must define tensor")

    def key(self, net: Network) -> tuple[Any, ...]:
        """What the shape of its graph depends on; equal keys share a session."""
        return (type(self).__name__, self.tensor(net))

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        """Append its nodes; return the name of its value, shape (N,)."""
        raise TypeError(f"{type(self).__name__} must define emit")

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        """Values of its runtime inputs for a batch."""
        raise TypeError(f"{type(self).__name__} must define parameters")

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        """How to ask for the same unit in another layer, in Python and on the command line."""
        return f"sf.Layer({layer!r})", f"--layer {layer}"

    @property
    def natural_batch(self) -> int:
        """How many images it describes: the length of its index list or target batch."""
        return 1


@dataclass(frozen=True, eq=False)
class Combination(Objective):
    """A weighted sum of objectives, as ``2 * a - b`` makes it.

    ``maximize`` is None where its terms disagree; `maximize` and `minimize` settle it.
    """

    terms: tuple[tuple[float, Objective], ...]
    maximize: bool | None = True

    def to_dict(self) -> dict[str, Any]:
        terms = [{"weight": w, "objective": leaf.to_dict()} for w, leaf in _terms(self)]
        return {"type": "Combination", "terms": terms, "maximize": self.maximize}

    def __str__(self) -> str:
        return " + ".join(f"{w:g} * ({leaf})" for w, leaf in _terms(self)).replace("+ -", "- ")


def maximize(objective: Objective) -> Combination:
    """The same value, to be maximised: settles the sense of a mixed sum."""
    return replace(1.0 * objective, maximize=True)


def minimize(objective: Objective) -> Combination:
    """The same value, to be minimised: settles the sense of a mixed sum."""
    return replace(1.0 * objective, maximize=False)


def structure(objective: Objective, net: Network) -> tuple[Any, ...]:
    """What the gradient graph of an objective depends on; equal structures share a session."""
    weighted = isinstance(objective, Combination)
    return (weighted, *(leaf.key(net) for leaf in objective.leaves()))


def emit_objective(objective: Objective, net: Network, graph: Graph, tensors: dict[str, str]) -> str:
    """Append the objective to a forward graph; return the name of its value, shape (N,)."""
    values = [
        leaf.emit(_Emitter(graph, prefix), tensors[leaf.tensor(net)], net)
        for prefix, leaf in _prefixed(objective)
    ]
    if not isinstance(objective, Combination):
        return values[0]
    emit = _Emitter(graph, "")
    batch = graph.shape(values[0])[0] if values[0] in graph.types else -1
    columns = [emit.reshape(v, (batch, 1)) for v in values]
    return emit.sum(emit("Mul", emit("Concat", *columns, axis=1), "weights"), [1])


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
        weights = np.array([w for w, _ in _terms(objective)], np.float32)
        out.append(Parameter("weights", np.tile(weights, (batch, 1))))
    return out


def natural_batch(objective: Objective) -> int:
    """How many images an objective describes: the longest of its lists of targets."""
    return max(leaf.natural_batch for leaf in objective.leaves())


def _prefixed(objective: Objective) -> list[tuple[str, Leaf]]:
    """Leaves with the prefix of their runtime inputs: none where there is just one."""
    leaves = objective.leaves()
    return [("" if len(leaves) == 1 else f"{k}/", leaf) for k, leaf in enumerate(leaves)]


def _terms(objective: Objective) -> list[tuple[float, Leaf]]:
    if isinstance(objective, Combination):
        return [(w * v, leaf) for w, inner in objective.terms for v, leaf in _terms(inner)]
    assert isinstance(objective, Leaf)
    return [(1.0, objective)]


def _finite(weight: Any) -> float:
    try:
        value = float(weight)
    except (TypeError, ValueError):
        raise InputError(f"an objective is scaled by a number, not by {weight!r}") from None
    if not np.isfinite(value):
        raise InputError(f"an objective's weight must be finite, not {value}")
    return value


def _repeat(values: np.ndarray, batch: int, what: str) -> np.ndarray:
    """One entry for all images, or one for each."""
    if len(values) not in (1, batch):
        fits = "1" if batch == 1 else f"1 or {batch}"
        raise InputError(f"{len(values)} entries of {what} were given for a batch of {batch}; give {fits}")
    return np.repeat(values, batch, axis=0) if len(values) == 1 else np.ascontiguousarray(values)


def _array(value: Any, what: str) -> np.ndarray:
    array = np.asarray(value, np.float32)
    if not array.ndim or not np.isfinite(array).all():
        raise InputError(f"a {what} must be an array of finite numbers")
    return array
