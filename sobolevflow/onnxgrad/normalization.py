"""Gradient rules of normalization: batch, instance, layer, local response, by a norm.

Instance, layer and mean-variance normalization share one gradient. With xh the normalised x
and gh the gradient of xh, both over one block of the input,

    dx = (gh - mean gh - xh mean(gh xh)) / std.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .backward import Refusal, Step
from .graph import Node
from .rules import masked, rule


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
    """The scale must be constant; a bias that depends on the image is refused."""
    if i:
        raise Refusal("its scale or bias depends on the image")
    rank = len(s.shape(s.x[0]))
    gh = s.op("Mul", s.g, s.const(s.value(1).reshape(-1, *[1] * (rank - 2))))
    return _standardized(s, gh, range(2, rank), s.attr("epsilon", 1e-5))


@rule("LayerNormalization")
def _(s: Step, i: int) -> str:
    """Scale and bias that depend on the image are refused, and so is the use of Mean and InvStdDev."""
    if i:
        raise Refusal("its scale or bias depends on the image")
    if any(g is not None for g in s.grads[1:]):
        raise Refusal("its mean or deviation is used as an output")
    rank = len(s.shape(s.x[0]))
    gh = s.op("Mul", s.g, s.x[1])
    return _standardized(s, gh, range(s.attr("axis", -1) % rank, rank), s.attr("epsilon", 1e-5))


@rule("MeanVarianceNormalization")
def _(s: Step, i: int) -> str:
    # ONNX adds 1e-9 to the deviation; in the variance that is 1e-18, and seen only where x is constant
    return _standardized(s, s.g, s.attr("axes", [0, 2, 3]), 1e-18)


def _standardized(s: Step, gh: str, axes: Iterable[int], epsilon: float) -> str:
    """Gradient of x of ``xh = (x - mean x) / sqrt(var x + epsilon)``, given that of xh."""
    over = s.ints(list(axes))
    centred = s.op("Sub", s.x[0], s.op("ReduceMean", s.x[0], over, keepdims=1))
    variance = s.op("ReduceMean", s.op("Mul", centred, centred), over, keepdims=1)
    std = s.op("Sqrt", s.op("Add", variance, s.const(epsilon)))
    xh = s.op("Div", centred, std)
    along = s.op("Mul", xh, s.op("ReduceMean", s.op("Mul", gh, xh), over, keepdims=1))
    flat = s.op("Sub", gh, s.op("ReduceMean", gh, over, keepdims=1))
    return s.op("Div", s.op("Sub", flat, along), std)


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
