"""Gradient rules of operators that pick or replace entries by index.

A gather's gradient is scattered by addition, a scatter's is gathered. Indices carry no
gradient themselves. Those of Gather and GatherND must be constant, the others may be computed.
"""

from __future__ import annotations

import math

import numpy as np

from ..backward import Refusal, Step
from ..builder import Value
from .along_axis import gather_adjoint
from .table import rule


@rule("Gather", linear=True)
def _(s: Step, i: int) -> str:
    """Indices must be constant."""
    x = s.x[0].shape
    axis, indices = s.attr("axis", 0) % len(x), s.value(1)
    sources = indices.reshape(-1) % x[axis]
    shape = [*x[:axis], len(sources), *x[axis + 1 :]]
    return gather_adjoint(s, s.reshape(s.g, shape), shape, axis, x[axis], sources)


@rule("GatherElements", linear=True)
def _(s: Step, i: int) -> str:
    blank = s.expand(0, s.x[0].shape)
    return s.op("ScatterElements", blank, s.x[1], s.g, axis=s.attr("axis", 0), reduction="add")


@rule("GatherND", linear=True)
def _(s: Step, i: int) -> str:
    """Indices must be constant."""
    # over flat positions, because ScatterND adds in recent releases of onnxruntime only
    x = s.x[0].shape
    positions = _gathered(np.arange(math.prod(x)).reshape(x), s.value(1), s.attr("batch_dims", 0))
    blank, g = s.expand(0, [math.prod(x)]), s.reshape(s.g, [-1])
    flat = s.op("ScatterElements", blank, s.ints(positions.reshape(-1).tolist()), g, axis=0, reduction="add")
    return s.reshape(flat, x)


def _gathered(data: np.ndarray, indices: np.ndarray, batch_dims: int) -> np.ndarray:
    """GatherND in NumPy: the batch axes are indexed by their own counters."""
    lead = np.indices(indices.shape[:-1], sparse=True)[:batch_dims]
    return np.asarray(data[(*lead, *np.moveaxis(indices, -1, 0))])


@rule("ScatterElements", "ScatterND")
def _(s: Step, i: int) -> str:
    """Entries that were replaced get zero; a tie of extrema shares the gradient equally."""
    reduction = s.attr("reduction", "none")
    if reduction == "mul":
        return _through_products(s, i)
    if reduction in ("max", "min"):
        return _through_extrema(s, i)
    if i == 2:
        return _gather(s, s.g)
    return s.g if reduction == "add" else _scatter(s, s.g, s.expand(0, s.x[2].shape), "none")


def _scatter(s: Step, data: Value, updates: Value, reduction: str) -> Value:
    """The node's scatter, of other data and updates."""
    axis = {} if s.node.op == "ScatterND" else {"axis": s.attr("axis", 0)}
    return s.op(s.node.op, data, s.x[1], updates, reduction=reduction, **axis)


def _gather(s: Step, data: Value) -> Value:
    """The entries of `data` at the places of the updates."""
    if s.node.op == "ScatterND":
        return s.op("GatherND", data, s.x[1])
    return s.op("GatherElements", data, s.x[1], axis=s.attr("axis", 0))


def _through_products(s: Step, i: int) -> str:
    # y = x times all updates of the place, and each gets the product of the others, as in ReduceProd:
    # that of the nonzero ones divided by itself if it is one of them, where none of the others is zero
    x, _, updates = s.x
    ones = s.expand(1, x.shape)
    if i == 0:
        return s.g * _scatter(s, ones, updates, "mul")
    zero = s.op("Equal", updates, 0)
    nonzero, count = s.where(zero, 1, updates), s.cast(zero)
    product = x * _scatter(s, ones, nonzero, "mul")
    total = _gather(s, _scatter(s, s.expand(0, x.shape), count, "add"))
    alone = s.op("Equal", total, count)
    return s.where(alone, _gather(s, s.g * product) / nonzero, 0)


def _through_extrema(s: Step, i: int) -> str:
    kept = s.cast(s.op("Equal", s.x[0], s.y))
    hits = s.cast(s.op("Equal", s.x[2], _gather(s, s.y)))
    share = s.g / _scatter(s, kept, hits, "add")
    return kept * share if i == 0 else hits * _gather(s, share)


@rule("TopK")
def _(s: Step, i: int) -> str:
    """To the entries chosen."""
    blank, axis = s.expand(0, s.x[0].shape), s.attr("axis", -1)
    return s.op("ScatterElements", blank, s.node.outputs[1], s.g, axis=axis, reduction="add")


@rule("Compress", linear=True)
def _(s: Step, i: int) -> str:
    """The condition must be constant."""
    x, axis = s.x[0].shape, s.node.attrs.get("axis")
    sources = np.flatnonzero(s.value(1))
    if axis is None:
        return s.reshape(gather_adjoint(s, s.g, [len(sources)], 0, math.prod(x), sources), x)
    return gather_adjoint(s, s.g, list(s.y.shape), axis % len(x), x[axis], sources)


@rule("ReverseSequence", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("ReverseSequence", s.g, s.x[1], **s.node.attrs)  # its own inverse


@rule("MaxUnpool", linear=True)
def _(s: Step, i: int) -> str:
    """Refused with output_shape."""
    if s.has(2):  # onnx counts positions in the smaller shape then, onnxruntime in the larger
        raise Refusal("its output_shape is given")
    picked = s.op("GatherElements", s.reshape(s.g, [-1]), s.reshape(s.x[1], [-1]), axis=0)
    return s.reshape(picked, s.x[0].shape)


@rule("OneHot")
def _(s: Step, i: int) -> str:
    """Of the values only: indices that are computed from the image as floats are refused."""
    if i != 2:
        raise Refusal("it rounds what depends on the image")
    # the values are what to write off and on
    hot = s.op("OneHot", *s.x[:2], s.const([0, 1], s.graph.type(s.y).dtype), axis=s.attr("axis", -1))
    total = s.sum(s.g)
    on = s.sum(s.g * hot)
    return s.op("Concat", s.reshape(total - on, [1]), s.reshape(on, [1]), axis=0)
