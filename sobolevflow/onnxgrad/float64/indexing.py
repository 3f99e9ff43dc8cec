"""Picking and scattering entries by index, in whole arrays."""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun

from ..samples import taps_of_samples

_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
_Index = tuple[np.ndarray, ...]


class GatherElements(OpRun):
    """One entry per index along an axis; the other coordinates are those of the index."""

    def _run(self, data: np.ndarray, indices: np.ndarray, axis: int = 0) -> tuple[np.ndarray]:
        return (data[_along(indices, axis)],)


class ScatterElements(OpRun):
    """The entries of `GatherElements`, replaced by the updates or reduced with them."""

    def _run(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        updates: np.ndarray,
        axis: int = 0,
        reduction: str = "none",
    ) -> tuple[np.ndarray]:
        return (_scattered(data, _along(indices, axis), updates, reduction),)


class ScatterND(OpRun):
    """Slices, whose places are the rows of the indices, replaced by the updates or reduced with them."""

    def _run(
        self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray, reduction: str = "none"
    ) -> tuple[np.ndarray]:
        return (_scattered(data, tuple(np.moveaxis(indices, -1, 0)), updates, reduction),)


def _along(indices: np.ndarray, axis: int) -> _Index:
    """Indices along one axis as indices of all."""
    where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    where[axis] = indices
    return tuple(where)


def _scattered(data: np.ndarray, where: _Index, updates: np.ndarray, reduction: str) -> np.ndarray:
    result = data.copy()
    if reduction in _REDUCTIONS:
        _REDUCTIONS[reduction].at(result, where, updates)
    else:
        result[where] = updates
    return result


class GridSample(OpRun):
    """Weighted sums of pixels at the places of a grid."""

    def _run(
        self, x: np.ndarray, grid: np.ndarray, mode: str, padding_mode: str, align_corners: int
    ) -> tuple[np.ndarray]:
        n, c, h, w = x.shape
        mode = "bilinear" if mode == "linear" else mode  # the default that onnx fills in is that of opset 20
        pixels, weights = taps_of_samples(grid, (h, w), mode, padding_mode, bool(align_corners))
        taken = np.take_along_axis(x.reshape(n, c, h * w, 1), pixels[:, None].reshape(n, 1, -1, 1), axis=2)
        y = (taken.reshape(n, c, *pixels.shape[1:]) * weights[:, None]).sum(axis=-1)
        return (y.reshape(n, c, *grid.shape[1:3]),)
