"""Gradient rules of operators that pick or replace entries by index.

A gather's gradient is scattered by addition, a scatter's is gathered. Indices carry no
gradient themselves. Those of Gather and GatherND must be constant, the others may be computed.
"""

from __future__ import annotations

import math

import numpy as np

from .backward import Refusal, Step
from .graph import Shape
from .rules import gather_adjoint, rule, second_output


def _zeros(s: Step, shape: Shape) -> str:
    """Zeros made at run time, not stored in the file."""
    return s.op("Expand", s.const(0), s.ints(shape))


@rule("Gather", linear=True)
def _(s: Step, i: int) -> str:
    """Indices must be constant."""
    x = s.shape(s.x[0])
    axis, indices = s.attr("axis", 0) % len(x), s.value(1)
    sources = indices.reshape(-1) % x[axis]
    shape = [*x[:axis], len(sources), *x[axis + 1 :]]
    return gather_adjoint(s, s.reshape(s.g, shape), shape, axis, x[axis], sources)


@rule("GatherElements", linear=True)
def _(s: Step, i: int) -> str:
    zeros = _zeros(s, s.shape(s.x[0]))
    return s.op("ScatterElements", zeros, s.x[1], s.g, axis=s.attr("axis", 0), reduction="add")


@rule("GatherND", linear=True)
def _(s: Step, i: int) -> str:
    """Indices must be constant."""
    # over flat positions, because ScatterND adds in recent releases of onnxruntime only
    x = s.shape(s.x[0])
    positions = _gathered(np.arange(math.prod(x)).reshape(x), s.value(1), s.attr("batch_dims", 0))
    zeros, g = _zeros(s, (math.prod(x),)), s.reshape(s.g, [-1])
    flat = s.op("ScatterElements", zeros, s.ints(positions.reshape(-1).tolist()), g, axis=0, reduction="add")
    return s.reshape(flat, x)


def _gathered(data: np.ndarray, indices: np.ndarray, batch_dims: int) -> np.ndarray:
    """GatherND in NumPy: the batch axes are indexed by their own counters."""
    lead = np.indices(indices.shape[:-1], sparse=True)[:batch_dims]
    return np.asarray(data[(*lead, *np.moveaxis(indices, -1, 0))])


@rule("ScatterElements", "ScatterND", linear=True)
def _(s: Step, i: int) -> str:
    """Entries that were replaced get zero. Reductions other than "add" are refused."""
    reduction, whole = s.attr("reduction", "none"), s.node.op == "ScatterND"
    if reduction not in ("none", "add"):
        raise Refusal(f"reduction={reduction}")
    axis = {} if whole else {"axis": s.attr("axis", 0)}
    if i == 2:
        return s.op("GatherND" if whole else "GatherElements", s.g, s.x[1], **axis)
    if reduction == "add":
        return s.g
    return s.op(s.node.op, s.g, s.x[1], _zeros(s, s.shape(s.x[2])), **axis)


@rule("TopK")
def _(s: Step, i: int) -> str:
    """To the entries chosen."""
    indices = second_output(s, s.node, np.int64)
    return s.op(
        "ScatterElements", _zeros(s, s.shape(s.x[0])), indices, s.g, axis=s.attr("axis", -1), reduction="add"
    )


@rule("Compress", linear=True)
def _(s: Step, i: int) -> str:
    """The condition must be constant."""
    x, axis = s.shape(s.x[0]), s.node.attrs.get("axis")
    sources = np.flatnonzero(s.value(1))
    if axis is None:
        return s.reshape(gather_adjoint(s, s.g, [len(sources)], 0, math.prod(x), sources), x)
    return gather_adjoint(s, s.g, list(s.shape(s.y)), axis % len(x), x[axis], sources)


@rule("ReverseSequence", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("ReverseSequence", s.g, s.x[1], **s.node.attrs)  # its own inverse


@rule("MaxUnpool", linear=True)
def _(s: Step, i: int) -> str:
    """Refused with output_shape."""
    if s.has(2):  # onnx counts positions in the smaller shape then, onnxruntime in the larger
        raise Refusal("its output_shape is given")
    picked = s.op("GatherElements", s.reshape(s.g, [-1]), s.reshape(s.x[1], [-1]), axis=0)
    return s.reshape(picked, s.shape(s.x[0]))


@rule("OneHot")
def _(s: Step, i: int) -> str | None:
    """Of the values only; indices and depth are rounded."""
    if i != 2:
        return None
    # the values are what to write off and on
    hot = s.op("OneHot", *s.x[:2], s.const([0, 1], s.graph.type(s.y).dtype), axis=s.attr("axis", -1))
    total = s.op("ReduceSum", s.g, keepdims=0)
    on = s.op("ReduceSum", s.op("Mul", s.g, hot), keepdims=0)
    return s.op("Concat", s.reshape(s.op("Sub", total, on), [1]), s.reshape(on, [1]), axis=0)
