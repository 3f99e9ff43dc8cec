"""Gradient rules of reductions: sums, norms, extrema, softmax and global pools.

Each forward node maps a block of the input, the axes reduced, to one number. The rules put the
gradient and, where they need it, the output back into a shape that broadcasts over that block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..backward import Refusal, Step
from ..builder import Value, absolute, exp, sign
from .movement import repeat
from .table import rule


def _reduced_axes(s: Step) -> list[int]:
    rank = len(s.x[0].shape)
    given = s.value(1).tolist() if s.has(1) else s.attr("axes", [])
    if not given:
        return [] if s.attr("noop_with_empty_axes", 0) else list(range(rank))
    return [int(k) % rank for k in given]


def _kept(s: Step, value: Value) -> Value:
    """A tensor of the output's shape with the reduced axes put back, of size 1."""
    axes = _reduced_axes(s)
    if s.attr("keepdims", 1):
        return value
    return s.reshape(value, [1 if k in axes else d for k, d in enumerate(s.x[0].shape)])


def _reduces(s: Step) -> None:
    """Refuse a node that reduces nothing: releases of onnxruntime differ in what it then computes."""
    if not _reduced_axes(s):
        raise Refusal("it reduces no axis")


@rule("ReduceSum", "ReduceMean", linear=True)
def _(s: Step, i: int) -> str:
    x, g = s.x[0].shape, _kept(s, s.g)
    if s.node.op == "ReduceMean":
        g = g * (1 / math.prod(x[k] for k in _reduced_axes(s)))
    return s.expand(g, x)


@rule("ReduceMax", "ReduceMin")
def _(s: Step, i: int) -> str:
    """Ties share the gradient equally."""
    return _shared_by_ties(s, _kept(s, s.g), _kept(s, s.y), _reduced_axes(s))


@rule("GlobalMaxPool")
def _(s: Step, i: int) -> str:
    """Ties share the gradient equally."""
    return _shared_by_ties(s, s.g, s.y, list(range(2, len(s.x[0].shape))))


def _shared_by_ties(s: Step, g: Value, extremum: Value, axes: list[int]) -> Value:
    """`g` in equal parts to all entries that attain the extremum, as in the rule of Max."""
    hits = s.cast(s.op("Equal", s.x[0], extremum))
    # no axes would mean all of them
    count = s.op("ReduceSum", hits, s.ints(axes), keepdims=1, noop_with_empty_axes=1)
    return hits * (g / count)


@rule("ReduceL1")
def _(s: Step, i: int) -> str:
    """Zero at entries of 0. Refused where no axis is reduced."""
    _reduces(s)
    return _kept(s, s.g) * sign(s.x[0])


@rule("ReduceL2")
def _(s: Step, i: int) -> str:
    """Zero at a vector of zeros. Refused where no axis is reduced."""
    # x / y, and 0 (the sub-gradient of least norm) where x = 0 and so y = 0
    _reduces(s)
    return _kept(s, s.g) * (s.x[0] / s.op("Max", _kept(s, s.y), _tiny(s)))


@rule("ReduceSumSquare")
def _(s: Step, i: int) -> str:
    """Refused where no axis is reduced."""
    _reduces(s)
    return _kept(s, s.g) * 2 * s.x[0]


@rule("ReduceLogSum")
def _(s: Step, i: int) -> str:
    """Refused where no axis is reduced."""
    _reduces(s)
    total = s.sum(s.x[0], _reduced_axes(s), keepdims=True)
    return s.expand(_kept(s, s.g) / total, s.x[0].shape)


@rule("ReduceLogSumExp")
def _(s: Step, i: int) -> str:
    """Refused where no axis is reduced."""
    # the softmax over the axes; exp(x - y) would have the rounding of y, times its size
    _reduces(s)
    axes = s.ints(_reduced_axes(s))
    e = exp(s.x[0] - s.op("ReduceMax", s.x[0], axes, keepdims=1))
    return _kept(s, s.g) * (e / s.op("ReduceSum", e, axes, keepdims=1))


@rule("ReduceProd")
def _(s: Step, i: int) -> str:
    """Right where entries are zero, too."""
    # the product of the others, right at zeros too: that of all nonzero entries, divided by the entry
    # itself if it is one of them, where none of the others is zero
    zero = s.op("Equal", s.x[0], 0)
    one_for_zero = s.where(zero, 1, s.x[0])
    axes = s.ints(_reduced_axes(s))
    product = s.op("ReduceProd", one_for_zero, axes, keepdims=1, noop_with_empty_axes=1)
    count = s.cast(zero)
    total = s.op("ReduceSum", count, axes, keepdims=1, noop_with_empty_axes=1)
    alone = s.op("Equal", total - count, 0)
    return s.where(alone, _kept(s, s.g) * (product / one_for_zero), 0)


@rule("GlobalAveragePool", linear=True)
def _(s: Step, i: int) -> str:
    x = s.x[0].shape
    return repeat(s, s.g * (1 / math.prod(x[2:])), x[2:])


@rule("GlobalLpPool")
def _(s: Step, i: int) -> str:
    """Zero where all is zero."""
    # y^p = sum of |x|^p, hence dx = g sign(x) (|x| / y)^(p-1), and 0 where y = 0
    (x,) = s.x
    slope = s.op("Pow", absolute(x) / s.op("Max", s.y, _tiny(s)), s.attr("p", 2) - 1)
    return s.g * (sign(x) * slope)


def _tiny(s: Step) -> float:
    """The smallest normal number: a norm of zero, replaced by it, divides nothing but zeros."""
    return float(np.finfo(s.dtype).tiny)


# dx = y (g - sum(y g)) for softmax and g - p sum(g) for its logarithm: both are projections, which applied
# again change nothing. The second time mends what the first rounds off where one y is almost 1, and the
# difference has no digits left; what is then left of the others has all of theirs.


@rule("Softmax")
def _(s: Step, i: int) -> str:
    y = _without_nan(s) if _is_selected_from(s) else s.y
    return softmax_gradient(s, y, s.g, [s.attr("axis", -1)])


def softmax_gradient(s: Step, y: Value, g: Value, axes: Sequence[int]) -> Value:
    """The gradient of y = softmax(x) over some axes, given `g` of y."""
    for _ in range(2):
        g = g - s.sum(y * g, axes, keepdims=True)
    return y * g


def _is_selected_from(s: Step) -> bool:
    """Whether a Where behind the node replaces a part of its output.

    That is how attention drops the rows that are masked entirely, where softmax is NaN. No gradient
    comes from there, but zero times NaN would be NaN.
    """
    names = {str(s.y)}
    for node in s.graph.nodes:
        if names.intersection(node.inputs):
            if node.op == "Where":
                return True
            if node.op in ("Cast", "Identity"):
                names.update(node.outputs)
    return False


def _without_nan(s: Step) -> Value:
    return s.where(s.op("IsNaN", s.y), 0, s.y)


@rule("LogSoftmax")
def _(s: Step, i: int) -> str:
    return log_softmax_gradient(s, s.g, exp(s.y), s.attr("axis", -1))


def log_softmax_gradient(s: Step, g: Value, p: Value, axis: int) -> Value:
    """The gradient of log(p) with p = softmax(x), given `g` of the logarithm."""
    for _ in range(2):
        g = g - p * s.sum(g, [axis], keepdims=True)
    return g
