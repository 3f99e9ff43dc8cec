"""Convolution with a small kernel entry by entry: what the fast ways are measured against."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from ..arrays import Array
from ..kernels import pixels
from .parameters import CODES, Boundary


def correlate(x: Array, kernel: NDArray[np.float64], boundary: Boundary) -> Array:
    """Every plane of `x` (..., H, W) correlated with `kernel` (size, size), which is even.

    A new array with the dtype of `x`; sums are made in float64, size^2 products for a pixel.
    """
    radius = len(kernel) // 2
    longer = _continued(_continued(x, -2, radius, boundary), -1, radius, boundary)
    y = np.empty(x.shape, x.dtype)
    inside = slice(radius, -radius)
    for plane in np.ndindex(x.shape[:-2]):
        y[plane] = scipy.ndimage.correlate(longer[plane], kernel)[inside, inside]
    return y


def _continued(x: Array, axis: int, radius: int, boundary: Boundary) -> Array:
    """`x` with `radius` more values at both ends of an axis, as its boundary condition has it."""
    n = x.shape[axis]
    places = range(-radius, n + radius)
    code = CODES[boundary]
    longer = np.take(x, [pixels.source(i, n, code) for i in places], axis=axis)
    if code != pixels.ZERO:
        return np.asarray(longer)
    signs = np.array([pixels.sign(i, n) for i in places], x.dtype)
    return np.asarray(longer * np.expand_dims(signs, tuple(range(axis + 1, 0))))
