"""Pools as maxima and sums over the taps of the windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from ..geometry import Axis
from .window_axes import padded, taps, window_axes

Attributes = Mapping[str, Any]


class MaxPool(OpRun):
    """Maximum over the taps, with flat indices of the first maximum where they are asked for."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray, ...]:
        return (maximum(x, attrs),) if len(self.onnx_node.output) == 1 else max_and_positions(x, attrs)


def maximum(x: np.ndarray, attrs: Attributes) -> np.ndarray:
    """The largest entry of each window."""
    axes = window_axes(x.shape[2:], attrs["kernel_shape"], attrs)
    within = padded(x, axes, _least(x))
    best = np.full((*x.shape[:2], *(a.out for a in axes)), _least(x), x.dtype)
    for _, samples in taps(axes):
        np.maximum(best, within[samples], out=best)
    return best


def max_and_positions(x: np.ndarray, attrs: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """The same, and where in the whole of x it stands first."""
    axes = window_axes(x.shape[2:], attrs["kernel_shape"], attrs)
    within = padded(x, axes, _least(x))
    positions = padded(_flat_positions(x, bool(attrs.get("storage_order"))), axes, -1)
    best = np.full((*x.shape[:2], *(a.out for a in axes)), _least(x), x.dtype)
    where_best = np.full(best.shape, -1, np.int64)
    for _, samples in taps(axes):
        better = within[samples] > best
        np.copyto(best, within[samples], where=better)
        np.copyto(where_best, positions[samples], where=better)
    return best, where_best


def taken_by_several(x: np.ndarray, best: np.ndarray, attrs: Attributes) -> np.ndarray:
    """Whether several entries of a window are the largest."""
    axes = window_axes(x.shape[2:], attrs["kernel_shape"], attrs)
    within = padded(x, axes, _least(x))
    once, twice = np.zeros(best.shape, bool), np.zeros(best.shape, bool)
    for _, samples in taps(axes):
        hit = within[samples] == best
        twice |= once & hit
        once |= hit
    return twice


def _least(x: np.ndarray) -> float:
    return -np.inf if np.issubdtype(x.dtype, np.floating) else int(np.iinfo(x.dtype).min)


def _flat_positions(x: np.ndarray, columns_first: bool) -> np.ndarray:
    """The index of each entry of x (N, C, ...) in the whole, its images counted by rows or by columns."""
    spatial = x.shape[2:]
    size = int(np.prod(spatial))
    order = np.arange(size, dtype=np.int64)
    within = order.reshape(spatial[::-1]).T if columns_first else order.reshape(spatial)
    return np.asarray(np.add.outer(np.arange(0, x.size, size).reshape(x.shape[:2]), within))


class AveragePool(OpRun):
    """Mean over the taps on data, or over all taps inside the declared padding."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        axes = window_axes(x.shape[2:], attrs["kernel_shape"], attrs)
        pads = attrs.get("pads") or [0] * (2 * len(axes))
        counts = np.ones((1, 1))
        for k, a in enumerate(axes):
            valid = a.valid_taps()
            if attrs["count_include_pad"]:  # padding counts, but nothing beyond the declared padding
                whole = Axis(a.size + a.begin + pads[len(axes) + k], a.out, a.kernel, a.stride, a.dilation, 0)
                valid = whole.valid_taps()
            counts = np.multiply.outer(counts, valid)
        total = _sum_over_taps(x, axes)
        total /= counts
        return (total,)


class LpPool(OpRun):
    """p-norm over the taps."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        axes, p = window_axes(x.shape[2:], attrs["kernel_shape"], attrs), attrs["p"] or 2
        return (_sum_over_taps(np.abs(x) ** p, axes) ** (1 / p),)


def _sum_over_taps(x: np.ndarray, axes: list[Axis]) -> np.ndarray:
    within = padded(x, axes, 0)
    total = np.zeros((*x.shape[:2], *(a.out for a in axes)), x.dtype)
    for _, samples in taps(axes):
        total += within[samples]
    return total


class GlobalLpPool(OpRun):
    """p-norm over all spatial axes."""

    def _run(self, x: np.ndarray, p: int = 2) -> tuple[np.ndarray]:
        total = (np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
        return (total ** (1 / p),)


class GlobalMaxPool(OpRun):
    """Maximum over all spatial axes."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)
