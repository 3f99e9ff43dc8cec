"""Gradient rules of normalization: batch, instance, layer, local response, by a norm.

Instance, layer and mean-variance normalization share one gradient. With xh the normalised x
and gh the gradient of xh, both over one block of the input,

    dx = (gh - mean gh - xh mean(gh xh)) / std.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..backward import Refusal, Step, unbroadcast
from ..graph import Node
from .elementwise import masked
from .table import rule


@rule("BatchNormalization", linear=True)
def _(s: Step, i: int) -> str:
    """Refused in training mode. Scale and statistics must be constant."""
    if i or s.attr("training_mode", 0):
        raise Refusal("its statistics depend on the image (training mode)")
    scale, variance = s.value(1).astype(np.float64), s.value(4).astype(np.float64)
    slope = scale / np.sqrt(variance + s.attr("epsilon", 1e-5))
    factor = s.const(slope.reshape(-1, *[1] * (len(s.shape(s.x[0])) - 2)))
    if (product := _masked_product(s)) is not None:
        # in front of the mask of a rectifier, where onnxruntime lets the convolution do the scaling
        g, mask = product.inputs
        return s.op("Mul", s.op("Mul", g, factor), mask)
    return s.op("Mul", s.g, factor)


def _masked_product(s: Step) -> Node | None:
    """The product that made the gradient, if one did."""
    maker = s.graph.maker(s.g)
    return maker if maker is not None and maker.op == "Mul" else None


@rule("InstanceNormalization")
def _(s: Step, i: int) -> str:
    rank = len(s.shape(s.x[0]))
    axes, epsilon = list(range(2, rank)), s.attr("epsilon", 1e-5)
    per_channel = [-1, *[1] * (rank - 2)]
    if i:  # y = scale xh + bias
        g = s.g if i == 2 else s.op("Mul", s.g, standardize(s, axes, epsilon).xh)
        return s.op("ReduceSum", g, s.ints([0, *axes]), keepdims=0)
    gh = s.op("Mul", s.g, s.reshape(s.x[1], per_channel))
    return standardized_gradient(s, standardize(s, axes, epsilon), gh)


@rule("LayerNormalization")
def _(s: Step, i: int) -> str | None:
    rank = len(s.shape(s.x[0]))
    axes = list(range(s.attr("axis", -1) % rank, rank))
    form = standardize(s, axes, s.attr("epsilon", 1e-5))
    if i:
        if s.grads[0] is None:
            return None
        g = s.g if i == 2 else s.op("Mul", s.g, form.xh)
        return unbroadcast(s, g, s.shape(s.x[0]), s.shape(s.x[i]))
    parts = []
    if s.grads[0] is not None:
        parts.append(standardized_gradient(s, form, s.op("Mul", s.g, s.x[1])))
    parts += _statistics_gradient(s, form)
    return parts[0] if len(parts) == 1 else s.op("Sum", *parts)


def _statistics_gradient(s: Step, form: Standardized) -> list[str]:
    """Of the outputs m (mean) and r = 1 / std of LayerNormalization: dm/dx = 1 / n, dr/dx = -xh r^2 / n."""
    share = s.const(1 / math.prod(s.shape(s.x[0])[k] for k in form.axes))
    parts = []
    for k, g in enumerate(s.grads[1:]):
        if g is None:
            continue
        each = s.op("Mul", g, share)
        if k == 0:
            parts.append(s.op("Expand", each, s.ints(s.shape(s.x[0]))))
        else:
            slope = s.op("Div", form.xh, s.op("Mul", form.std, form.std))
            parts.append(s.op("Neg", s.op("Mul", each, slope)))
    return parts


@rule("MeanVarianceNormalization")
def _(s: Step, i: int) -> str:
    # ONNX adds 1e-9 to the deviation; in the variance that is 1e-18, and seen only where x is constant
    return standardized_gradient(s, standardize(s, s.attr("axes", [0, 2, 3]), 1e-18), s.g)


@dataclass(frozen=True)
class Standardized:
    """xh = (x - mean x) / std with std = sqrt(var x + epsilon), over some axes."""

    axes: list[int]
    xh: str
    std: str


def standardize(s: Step, axes: list[int], epsilon: float) -> Standardized:
    """Compute the parts of a normalization anew: the forward node does not give them away."""
    over = s.ints(axes)
    centred = s.op("Sub", s.x[0], s.op("ReduceMean", s.x[0], over, keepdims=1))
    variance = s.op("ReduceMean", s.op("Mul", centred, centred), over, keepdims=1)
    std = s.op("Sqrt", s.op("Add", variance, s.const(epsilon)))
    return Standardized(axes, s.op("Div", centred, std), std)


def standardized_gradient(s: Step, form: Standardized, gh: str) -> str:
    """Gradient of x, given that of xh."""
    over = s.ints(form.axes)
    along = s.op("Mul", form.xh, s.op("ReduceMean", s.op("Mul", gh, form.xh), over, keepdims=1))
    flat = s.op("Sub", gh, s.op("ReduceMean", gh, over, keepdims=1))
    return s.op("Div", s.op("Sub", flat, along), form.std)


@rule("LpNormalization")
def _(s: Step, i: int) -> str:
    """Zero at a vector of zeros; with p=1, sign 0 = 0."""
    # y = x / |x|_p, hence dx = (g - d sum(g y)) / |x|_p with d the gradient of the norm: y or sign x
    axis, squares = s.ints([s.attr("axis", -1)]), s.attr("p", 2) == 2
    norm = s.op("ReduceL2" if squares else "ReduceL1", s.x[0], axis, keepdims=1)
    along = s.op("ReduceSum", s.op("Mul", s.g, s.y), axis, keepdims=1)
    across = s.op("Sub", s.g, s.op("Mul", s.y if squares else s.op("Sign", s.x[0]), along))
    # onnxruntime returns 0 for a vector of zeros
    return masked(s, s.op("Greater", norm, s.const(0)), s.op("Div", across, norm))


@rule("LRN")
def _(s: Step, i: int) -> str:
    # y = x S^-beta, S = bias + alpha/n B x^2 with B the band matrix over channels, hence
    # dx = g S^-beta - (2 alpha beta / n) x B^T(g y / S)
    n, alpha, beta = s.attr("size"), s.attr("alpha", 1e-4), s.attr("beta", 0.75)
    x = s.shape(s.x[0])
    band = _band_matrix(x[1], n).reshape(x[1], x[1], *[1] * (len(x) - 2))
    squares = s.op("Conv", s.op("Mul", s.x[0], s.x[0]), s.const(band * (alpha / n)))
    base = s.op("Add", squares, s.const(s.attr("bias", 1.0)))
    direct = s.op("Mul", s.g, s.op("Pow", base, s.const(-beta)))
    ratio = s.op("Div", s.op("Mul", s.g, s.y), base)
    spread = s.op("Conv", ratio, s.const(np.swapaxes(band, 0, 1) * (2 * alpha * beta / n)))
    return s.op("Sub", direct, s.op("Mul", s.x[0], spread))


def _band_matrix(channels: int, size: int) -> np.ndarray:
    """B[c, d] = 1 where channel d enters the sum for channel c."""
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(np.float64)
