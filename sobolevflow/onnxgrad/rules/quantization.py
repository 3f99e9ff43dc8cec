"""Gradient rules of quantisation: the straight-through estimator.

Rounding has derivative zero almost everywhere. QuantizeLinear therefore has the straight-through
estimator of Bengio, Leonard and Courville (2013): that of x / scale where the result lies inside
the range of its type, and zero where it is clipped. Scales count as constants, those that
DynamicQuantizeLinear computes included. Gradients of integer tensors are those of real numbers
in their place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backward import Refusal, Step
from ..builder import Value
from ..scales import along_axis
from .table import RULES, rule

RULES.integers |= {"QuantizeLinear", "DynamicQuantizeLinear"}


@rule("QuantizeLinear")
def _(s: Step, i: int) -> str:
    """Straight through inside the range of its type, zero where it clips. The scale must be constant."""
    if i:
        raise Refusal("its scale depends on the image")
    scale = _along_axis(s, s.value(1).astype(np.float64))
    dtype = s.y.dtype
    if not np.issubdtype(dtype, np.integer):
        raise Refusal(f"it quantises to {dtype}")
    zero = _along_axis(s, s.value(2).astype(np.float64)) if s.has(2) else 0.0
    limits = np.iinfo(dtype)
    # rounding to the nearest, half a step beyond the range still rounds into it
    low, high = (scale * (limit - zero) for limit in (limits.min - 0.5, limits.max + 0.5))
    g = s.g / scale
    g = s.where(s.op("GreaterOrEqual", s.x[0], low), g, 0)
    return s.where(s.op("LessOrEqual", s.x[0], high), g, 0)


@rule("DequantizeLinear")
def _(s: Step, i: int) -> str:
    dtype = s.x[1].dtype
    if i:
        return _scale_gradient(s, dtype)
    if s.graph.constant(s.x[1]) is None:  # that of DynamicQuantizeLinear, for the whole tensor
        if math.prod(s.x[1].shape) > 1:
            raise Refusal("its scales are computed at run time")
        return s.g * s.x[1]
    return s.g * s.const(_along_axis(s, s.value(1)), dtype)


def _scale_gradient(s: Step, dtype: np.dtype[Any]) -> Value:
    zero = _along_axis(s, s.value(2)) if s.has(2) else 0
    product = s.g * (s.cast(s.x[0], dtype) - s.const(zero, dtype))
    shape = s.x[1].shape
    rank = len(s.x[0].shape)
    others = [k for k in range(rank) if not shape or shape == (1,) or k != s.attr("axis", 1) % rank]
    total = s.op("ReduceSum", product, s.ints(others), keepdims=0, noop_with_empty_axes=1)
    return s.reshape(total, shape)


@rule("DynamicQuantizeLinear")
def _(s: Step, i: int) -> str | None:
    """Straight through; the scale that it computes counts as constant."""
    return None if s.grads[0] is None else s.g / s.named(s.node.outputs[1])


def _along_axis(s: Step, value: np.ndarray) -> np.ndarray:
    """A parameter per tensor or per axis, in a shape that broadcasts over the tensor."""
    if value.size > 1 and s.attr("block_size", 0):
        raise Refusal("it quantises by blocks")
    return along_axis(value, s.attr("axis", 1), len(s.x[0].shape))
