"""Where the samples of GridSample lie: each is a weighted sum of 1, 2 x 2 or 4 x 4 pixels."""

from __future__ import annotations

import numpy as np

_CUBIC = -0.75  # Keys' parameter, as the specification sets it


def taps_of_samples(
    grid: np.ndarray, size: tuple[int, int], mode: str, padding: str, corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Flat pixel positions and weights, both (N, samples, taps), of a grid (N, H, W, 2) of (x, y)."""
    (rows, by_row), (columns, by_column) = (
        _axis_taps(grid[..., 1 - k].reshape(len(grid), -1), size[k], mode, padding, corners) for k in (0, 1)
    )
    pixels = rows[..., :, None] * size[1] + columns[..., None, :]
    weights = by_row[..., :, None] * by_column[..., None, :]
    return pixels.reshape(*pixels.shape[:2], -1), weights.reshape(*weights.shape[:2], -1)


def _axis_taps(
    place: np.ndarray, size: int, mode: str, padding: str, corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and weights along one axis, each with a new last axis, for places in [-1, 1]."""
    # in single precision, as onnxruntime does: else `nearest` may take the other neighbour
    at = ((place + 1) / 2 * (size - 1) if corners else ((place + 1) * size - 1) / 2).astype(np.float32)
    if mode == "nearest":
        at = np.rint(at)
    cubic = mode == "bicubic"
    if not cubic:  # onnxruntime and PyTorch bring back a cubic's pixels only, not its centre
        at = _inside(at, size, padding, corners)
    base = np.floor(at)
    t = (at - base).astype(np.float64)
    if mode == "nearest":
        offsets, weights = [0], [np.ones_like(t)]
    elif not cubic:
        offsets, weights = [0, 1], [1 - t, t]
    else:
        offsets, weights = [-1, 0, 1, 2], [_far(1 + t), _near(t), _near(1 - t), _far(2 - t)]
    pixels = base[..., None].astype(np.int64) + np.array(offsets)
    share = np.stack(weights, axis=-1)
    if padding == "zeros":
        share = np.where((pixels >= 0) & (pixels < size), share, 0)
    # a place reflected to the half pixel in front of the data is pixel 0, as a cast to integer has it
    known = np.trunc(_inside(pixels.astype(np.float64), size, padding, corners)).astype(np.int64)
    return np.clip(known, 0, size - 1), share


def _inside(at: np.ndarray, size: int, padding: str, corners: bool) -> np.ndarray:
    """Places beyond the edges of the image brought back, as the padding has it."""
    if padding == "zeros":
        return at
    if padding == "border":
        return np.asarray(np.clip(at, 0, size - 1))
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if high == low:
        return np.full_like(at, low)
    # back and forth between the edges
    beyond = np.mod(at - low, 2 * (high - low))
    return np.asarray(low + np.minimum(beyond, 2 * (high - low) - beyond), at.dtype)


def _near(t: np.ndarray) -> np.ndarray:
    """Cubic convolution kernel on [0, 1]."""
    return np.asarray(((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1)


def _far(t: np.ndarray) -> np.ndarray:
    """Cubic convolution kernel on [1, 2]."""
    return np.asarray(((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC)
