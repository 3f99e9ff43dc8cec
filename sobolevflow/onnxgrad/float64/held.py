"""The function that a gradient is the derivative of, where that is not the graph's value itself.

The gradient passes rounding straight through, takes what it cannot flow through (indices, masks, whole
numbers) as given, and picks one side of a kink. Near a point u it so is the derivative of the value with

* the rounding of QuantizeLinear and DynamicQuantizeLinear (and of Round, Floor and Ceil where a rule was
  registered that lets the gradient through) held fixed: what the result is off from x / scale at u is
  added to x / scale, and a result that is clipped at u stays what it is;
* the results of operators at which the flow stops, and random numbers, held at what they are at u;
* entries that lie on a kink at u, to the last digit, held on the side that the rule takes.

Everywhere else it is the value. Quantised numbers lie on kinks by the thousands, others hardly ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backward import RuleTable, downstream, stopped_nodes
from ..graph import RANDOM, Graph, Node
from ..scales import along_axis
from .evaluator import Arguments, Arrays, Feeds, Step
from .pools import max_and_positions, taken_by_several

# What makes the outputs near u of a node's arguments there, and of the outputs that it computes itself.
Near = Callable[[Arguments, Arrays], Arrays]
# What notes a node's arguments and outputs at u; None where nothing has to be held.
Holder = Callable[[Node, Arguments, Arrays], Near | None]


class Held:
    """What is held fixed of a graph: noted by `note` in an evaluation at u, kept to by `keep` near it.

    Parameters
    ----------
    graph : Graph
        To the value alone, with static types of all tensors on the path.
    wrt, value : str
        The input to differentiate with respect to, and the output that is differentiated.
    rules : RuleTable
        The gradient rules.

    Attributes
    ----------
    straight : list of Node
        The nodes that the gradient passes straight through.
    """

    def __init__(self, graph: Graph, wrt: str, value: str, rules: RuleTable) -> None:
        reached, nodes = downstream(graph, wrt, rules)
        self.straight = [node for node in nodes if node.op in _STRAIGHT]
        stopped = stopped_nodes(graph, wrt, value, rules)
        self._holders: dict[str, list[Holder]] = {}
        for node in nodes:
            if (holder := _HOLDERS.get(node.op)) is not None:
                self._holders.setdefault(_key(node), []).append(holder)
        random = [node for node in graph.nodes if node.op in RANDOM]
        for node in (*stopped, *random):
            fixed = [k for k, y in enumerate(node.outputs) if y and y not in reached]
            self._holders.setdefault(_key(node), []).append(_constant(fixed))
        self._near: dict[str, list[Near]] = {}

    def note(self, step: Step, known: Feeds) -> Arrays:
        """The outputs of a node at u; what has to be held of them is noted."""
        outputs = step(known)
        holders = self._holders.get(_key(step.node), ())
        noted = [hold(step.node, step.arguments(known), outputs) for hold in holders]
        self._near[_key(step.node)] = [near for near in noted if near is not None]
        return outputs

    def keep(self, step: Step, known: Feeds) -> Arrays:
        """The outputs of a node near u, with what was noted held fixed."""
        outputs = step(known)
        for near in self._near.get(_key(step.node), ()):
            outputs = near(step.arguments(known), outputs)
        return outputs


def _key(node: Node) -> str:
    return next(y for y in node.outputs if y)


def _constant(which: Sequence[int]) -> Holder:
    def hold(node: Node, at: Arguments, outputs: Arrays) -> Near:
        fixed = {k: outputs[k] for k in which if k < len(outputs)}
        return lambda _, made: [fixed.get(k, y) for k, y in enumerate(made)]

    return hold


# -- rounding


def _quantized(node: Node, at: Arguments, outputs: Arrays) -> Near:
    x, scale, *zero = at
    scale = along_axis(scale, node.attrs.get("axis", 1), x.ndim)
    limits = np.iinfo(outputs[0].dtype)
    shift = 0 if not zero or zero[0] is None else along_axis(zero[0], node.attrs.get("axis", 1), x.ndim)
    steps = x / scale + shift
    # rounding to the nearest, half a step beyond the range still rounds into it
    inside = (steps >= limits.min - 0.5) & (steps <= limits.max + 0.5)
    return _with_slope(x, outputs[0], inside / scale)


def _dynamically_quantized(node: Node, at: Arguments, outputs: Arrays) -> Near:
    (x,) = at
    q, *fixed = outputs
    near = _with_slope(x, q, 1 / fixed[0])
    return lambda arguments, made: [*near(arguments, made[:1]), *fixed]


def _rounded(node: Node, at: Arguments, outputs: Arrays) -> Near:
    return _with_slope(at[0], outputs[0], np.ones(()))


def _with_slope(x: np.ndarray, y: np.ndarray, slope: np.ndarray) -> Near:
    """y + slope (x' - x), in real numbers."""
    residual = y - slope * x
    return lambda arguments, _: [residual + slope * arguments[0]]


def _as_real(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    """A cast to whole numbers of what stands for real ones: none of their fractions may be lost."""
    if np.issubdtype(outputs[0].dtype, np.floating):
        return None
    return lambda arguments, _: [arguments[0]]


# -- kinks


def _where(tied: np.ndarray, value: Callable[[np.ndarray], Any]) -> Near | None:
    """Entries that lie on a kink, as `value` makes them of the argument's; None where there are none."""
    if not tied.any():
        return None

    def near(arguments: Arguments, made: Arrays) -> Arrays:
        y = np.array(made[0])
        y[tied] = value(np.asarray(arguments[0])[tied])
        return [y, *made[1:]]

    return near


def _rectified(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    return _where(at[0] == node.attrs.get("alpha", 1.0) * (node.op == "ThresholdedRelu"), np.zeros_like)


def _clipped(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    x, *bounds = at
    (y,) = outputs
    tied = np.zeros(y.shape, bool)
    for bound in bounds:
        tied |= False if bound is None else x == bound
    return _where(tied, lambda _: y[tied])


def _leaking(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    tied = np.asarray(at[0] == 0)
    slope = node.attrs.get("alpha", 0.01) if len(at) == 1 else np.broadcast_to(at[1], tied.shape)[tied]
    return _where(tied, lambda x: slope * x)


def _max_pooled(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    (x,) = at
    tied = taken_by_several(x, outputs[0], node.attrs)
    if not tied.any():
        return None
    positions = max_and_positions(x, node.attrs)[1][tied]

    def near(arguments: Arguments, made: Arrays) -> Arrays:
        y = np.array(made[0])
        y[tied] = np.asarray(arguments[0]).reshape(-1)[positions]
        return [y, *made[1:]]

    return near


def _extreme_along_axes(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    x, y = at[0], outputs[0]
    if node.op == "GlobalMaxPool":
        axes: Any = tuple(range(2, x.ndim))
    elif len(at) > 1 and at[1] is not None and at[1].size:
        axes = tuple(int(k) for k in at[1])
    else:
        axes = () if node.attrs.get("noop_with_empty_axes") else tuple(range(x.ndim))
    largest = np.max if node.op != "ReduceMin" else np.min
    hit = x == largest(x, axis=axes, keepdims=True)
    count = hit.sum(axis=axes, keepdims=True)
    if (count < 2).all():
        return None

    def near(arguments: Arguments, made: Arrays) -> Arrays:
        return [(np.where(hit, arguments[0], 0).sum(axis=axes, keepdims=True) / count).reshape(y.shape)]

    return near


def _extreme_of_several(node: Node, at: Arguments, outputs: Arrays) -> Near | None:
    hit = [x == outputs[0] for x in at]
    count = np.sum(np.broadcast_arrays(*hit), axis=0)
    if np.all(count < 2):
        return None

    def near(arguments: Arguments, made: Arrays) -> Arrays:
        total: Any = sum(np.where(h, x, 0) for h, x in zip(hit, arguments, strict=True))
        return [total / count]

    return near


_STRAIGHT: dict[str, Holder] = {
    "QuantizeLinear": _quantized,
    "DynamicQuantizeLinear": _dynamically_quantized,
    # stops, unless a rule was registered
    "Round": _rounded,
    "Floor": _rounded,
    "Ceil": _rounded,
}
_KINKED: dict[str, Holder] = {
    "Relu": _rectified,
    "ThresholdedRelu": _rectified,
    "Clip": _clipped,
    "LeakyRelu": _leaking,
    "PRelu": _leaking,
    "MaxPool": _max_pooled,
    "GlobalMaxPool": _extreme_along_axes,
    "ReduceMax": _extreme_along_axes,
    "ReduceMin": _extreme_along_axes,
    "Max": _extreme_of_several,
    "Min": _extreme_of_several,
}
_HOLDERS = _STRAIGHT | _KINKED | {"Cast": _as_real}
