"""Convolutions as products of matrices: the kernels times the samples of a block of windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from ..geometry import Axis
from .window_axes import padded, taps, window_axes

# Bytes of the samples that are laid side by side at once; more would leave the cache before they are used.
_BLOCK = 4 << 20


class Conv(OpRun):
    """Convolution: depthwise tap by tap, any other as one matrix product for each block of windows."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        group = attrs["group"] or 1
        axes = window_axes(x.shape[2:], w.shape[2:], attrs)
        y = np.empty((len(x), len(w), *(a.out for a in axes)), x.dtype)
        within = padded(x, axes, 0)
        if group == len(w) == x.shape[1]:
            _depthwise(w, within, axes, y)
        else:
            kernels = w.reshape(group, len(w) // group, -1)
            for image, result in zip(within, y, strict=True):
                parts = image.reshape(group, -1, *image.shape[1:])
                _multiply(kernels, parts, axes, result.reshape(*kernels.shape[:2], -1))
        if b is not None:
            y += b.reshape(-1, *[1] * len(axes))
        return (y,)


def _depthwise(w: np.ndarray, x: np.ndarray, axes: Sequence[Axis], y: np.ndarray) -> None:
    """One kernel for each channel: a weighted sum of the taps, image by image to stay in the cache."""
    product = np.empty_like(y[:1])
    for image in range(len(x)):
        total = y[image : image + 1]
        total[...] = 0
        for tap, samples in taps(axes):
            at: tuple[Any, ...] = (slice(None), 0, *tap)
            weight = w[at].reshape(-1, *[1] * len(axes))
            total += np.multiply(x[image : image + 1][samples], weight, out=product)


def _multiply(kernels: np.ndarray, x: np.ndarray, axes: Sequence[Axis], y: np.ndarray) -> None:
    """Of one image, by groups: kernels (G, O, I * taps), x padded (G, I, ...), y (G, O, windows)."""
    group, inputs = x.shape[:2]
    length = kernels.shape[2]
    if length == inputs and all(a.stride == 1 for a in axes):
        np.matmul(kernels, x.reshape(group, inputs, -1), out=y)
        return
    windows = _windows(x, axes)
    behind = math.prod(a.out for a in axes[1:])  # windows at one place of the first axis
    most = min(axes[0].out, max(1, _BLOCK // (x.itemsize * group * length * behind)))
    # one piece of memory for all blocks: new one comes from the system page by page, which takes longer than
    # to fill it
    scratch = np.empty(group * length * most * behind, x.dtype)
    for start in range(0, axes[0].out, most):
        stop = min(start + most, axes[0].out)
        part = windows[(slice(None),) * (2 + len(axes)) + (slice(start, stop),)]
        samples = scratch[: part.size].reshape(part.shape)
        np.copyto(samples, part)
        np.matmul(kernels, samples.reshape(group, length, -1), out=y[:, :, start * behind : stop * behind])


def _windows(x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """The samples (G, I, *taps, *windows) of padded x (G, I, ...), as a view."""
    by_tap = [a.dilation * step for a, step in zip(axes, x.strides[2:], strict=True)]
    by_window = [a.stride * step for a, step in zip(axes, x.strides[2:], strict=True)]
    shape = (*x.shape[:2], *(a.kernel for a in axes), *(a.out for a in axes))
    return np.lib.stride_tricks.as_strided(x, shape, (*x.strides[:2], *by_tap, *by_window), writeable=False)


class ConvTranspose(OpRun):
    """Transposed convolution: the products of `Conv`, added up where its samples are taken from."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        group, rank = attrs["group"] or 1, w.ndim - 2
        strides, dilations = attrs["strides"] or [1] * rank, attrs["dilations"] or [1] * rank
        pads, extra = attrs["pads"] or [0] * (2 * rank), attrs["output_padding"] or [0] * rank
        size, kernel = x.shape[2:], w.shape[2:]
        full = [
            (size[k] - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 + extra[k] for k in range(rank)
        ]
        axes = [Axis(full[k], size[k], kernel[k], strides[k], dilations[k], 0) for k in range(rank)]
        y = np.zeros((len(x), group * w.shape[1], *full), x.dtype)
        kernels = np.swapaxes(w.reshape(group, len(w) // group, -1), 1, 2)  # (G, O * taps, I)
        for image, result in zip(x, y, strict=True):
            _scatter(kernels, image.reshape(group, -1, *size), axes, result[None])
        crop: tuple[Any, ...] = tuple(slice(pads[k], full[k] - pads[rank + k]) for k in range(rank))
        y = y[(..., *crop)]
        return (y if b is None else y + b.reshape(-1, *[1] * rank),)


def _scatter(kernels: np.ndarray, x: np.ndarray, axes: Sequence[Axis], y: np.ndarray) -> None:
    """Of one image, by groups: kernels (G, O * taps, I), x (G, I, ...), added to y (1, G * O, ...)."""
    group, _, first, *others = x.shape
    kernel = [a.kernel for a in axes]
    most = max(1, _BLOCK // (x.itemsize * group * kernels.shape[1] * math.prod(others)))
    for start in range(0, first, most):
        part = x[:, :, start : start + most]
        product = kernels @ part.reshape(*part.shape[:2], -1)
        product = product.reshape(y.shape[1], *kernel, *part.shape[2:])
        one = axes[0]
        block = [Axis(one.size, part.shape[2], one.kernel, one.stride, one.dilation, 0), *axes[1:]]
        at = y[:, :, start * one.stride :]
        for tap, samples in taps(block):
            at[samples] += product[(slice(None), *tap)]
