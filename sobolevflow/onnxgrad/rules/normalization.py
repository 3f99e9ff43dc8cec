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
from ..builder import Value, sign, sqrt
from ..graph import Node
from ..training import EXPORT_IN_EVAL_MODE, MIXES_IMAGES
from .along_axis import is_short
from .table import rule


@rule("BatchNormalization", linear=True)
def _(s: Step, i: int) -> str:
    """Refused in training mode. Scale and statistics must be constant."""
    if s.attr("training_mode", 0):
        raise Refusal(f"{MIXES_IMAGES}; {EXPORT_IN_EVAL_MODE}")
    if i:
        raise Refusal("its scale or statistics depend on the image")
    scale, variance = s.value(1).astype(np.float64), s.value(4).astype(np.float64)
    slope = scale / np.sqrt(variance + s.attr("epsilon", 1e-5))
    factor = s.const(slope.reshape(-1, *[1] * (len(s.x[0].shape) - 2)))
    if (product := _masked_product(s)) is not None:
        # in front of the mask of a rectifier, where onnxruntime lets the convolution do the scaling
        g, mask = map(s.named, product.inputs)
        return g * factor * mask
    return s.g * factor


def _masked_product(s: Step) -> Node | None:
    """The product that made the gradient, if one did."""
    maker = s.graph.maker(s.g)
    return maker if maker is not None and maker.op == "Mul" else None


@rule("InstanceNormalization")
def _(s: Step, i: int) -> str:
    rank = len(s.x[0].shape)
    axes, epsilon = list(range(2, rank)), s.attr("epsilon", 1e-5)
    per_channel = [-1, *[1] * (rank - 2)]
    if i:  # y = scale xh + bias
        g = s.g if i == 2 else s.g * standardize(s, axes, epsilon).xh
        return s.sum(g, [0, *axes])
    gh = s.g * s.reshape(s.x[1], per_channel)
    return standardized_gradient(s, standardize(s, axes, epsilon), gh)


@rule("LayerNormalization")
def _(s: Step, i: int) -> str | None:
    rank = len(s.x[0].shape)
    axes = list(range(s.attr("axis", -1) % rank, rank))
    form = standardize(s, axes, s.attr("epsilon", 1e-5))
    if i:
        if s.grads[0] is None:
            return None
        g = s.g if i == 2 else s.g * form.xh
        return unbroadcast(s, g, s.x[0].shape, s.x[i].shape)
    parts = []
    if s.grads[0] is not None:
        parts.append(standardized_gradient(s, form, s.g * s.x[1]))
    parts += _statistics_gradient(s, form)
    return parts[0] if len(parts) == 1 else s.op("Sum", *parts)


def _statistics_gradient(s: Step, form: Standardized) -> list[Value]:
    """Of the outputs m (mean) and r = 1 / std of LayerNormalization: dm/dx = 1 / n, dr/dx = -xh r^2 / n."""
    share = s.const(1 / math.prod(s.x[0].shape[k] for k in form.axes))
    parts = []
    for k, g in enumerate(s.grads[1:]):
        if g is None:
            continue
        each = g * share
        if k == 0:
            parts.append(s.expand(each, s.x[0].shape))
        else:
            parts.append(-(each * (form.xh / (form.std * form.std))))
    return parts


@rule("MeanVarianceNormalization")
def _(s: Step, i: int) -> str:
    # ONNX adds 1e-9 to the deviation; in the variance that is 1e-18, and seen only where x is constant
    return standardized_gradient(s, standardize(s, s.attr("axes", [0, 2, 3]), 1e-18), s.g)


@dataclass(frozen=True)
class Standardized:
    """xh = (x - mean x) / std with std = sqrt(var x + epsilon), over some axes."""

    axes: list[int]
    xh: Value
    std: Value


def standardize(s: Step, axes: list[int], epsilon: float) -> Standardized:
    """Compute the parts of a normalization anew: the forward node does not give them away."""
    centred = s.x[0] - s.mean(s.x[0], axes, keepdims=True)
    std = sqrt(s.mean(centred * centred, axes, keepdims=True) + epsilon)
    return Standardized(axes, centred / std, std)


def standardized_gradient(s: Step, form: Standardized, gh: Value) -> Value:
    """Gradient of x, given that of xh."""
    along = form.xh * s.mean(gh * form.xh, form.axes, keepdims=True)
    flat = gh - s.mean(gh, form.axes, keepdims=True)
    return (flat - along) / form.std


@rule("LpNormalization")
def _(s: Step, i: int) -> str:
    """Zero at a vector of zeros; with p=1, sign 0 = 0."""
    # y = x / |x|_p, hence dx = (g - d sum(g y)) / |x|_p with d the gradient of the norm: y or sign x
    axes, squares = [s.attr("axis", -1)], s.attr("p", 2) == 2
    norm = s.op("ReduceL2" if squares else "ReduceL1", s.x[0], s.ints(axes), keepdims=1)
    along = s.sum(s.g * s.y, axes, keepdims=True)
    across = s.g - (s.y if squares else sign(s.x[0])) * along
    # onnxruntime returns 0 for a vector of zeros
    return s.where(s.op("Greater", norm, 0), across / norm, 0)


@rule("LRN")
def _(s: Step, i: int) -> str:
    # y = x S^-beta, S = bias + alpha/n B x^2 with B the band matrix over channels, hence
    # dx = g S^-beta - (2 alpha beta / n) x B^T(g y / S)
    n, alpha, beta = s.attr("size"), s.attr("alpha", 1e-4), s.attr("beta", 0.75)
    (x,) = s.x
    before, after = (n - 1) // 2, n // 2
    base = _sum_of_channels(s, x * x, before, after, alpha / n) + s.attr("bias", 1.0)
    direct = s.g * s.op("Pow", base, -beta)
    spread = _sum_of_channels(s, s.g * s.y / base, after, before, 2 * alpha * beta / n)
    return direct - x * spread


def _sum_of_channels(s: Step, x: Value, before: int, after: int, factor: float) -> Value:
    """`factor` times the sum of each channel, of some before it and of some after it, B x.

    Few channels are multiplied by a matrix; that of many would grow with their square, and they are pooled.
    """
    (batch, channels, *places), size = s.x[0].shape, before + 1 + after
    if is_short(channels, channels):
        band = _band_matrix(channels, before, after) * factor
        return s.op("Conv", x, band.reshape(channels, channels, *[1] * len(places)))
    plane = s.reshape(x, (batch, 1, channels, math.prod(places)))
    padded = s.op("Pad", plane, s.ints([0, 0, before, 0, 0, 0, after, 0]))
    sums = s.op("AveragePool", padded, kernel_shape=[size, 1]) * (factor * size)
    return s.reshape(sums, (batch, channels, *places))


def _band_matrix(channels: int, before: int, after: int) -> np.ndarray:
    """B[c, d] = 1 where channel d enters the sum for channel c."""
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((offset >= -before) & (offset <= after)).astype(np.float64)
