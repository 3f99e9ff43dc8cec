"""Convolution with a small kernel as a short sum of separable convolutions.

A Sobolev kernel is not separable, but its singular values fall fast: K = sum_i a_i b_i^T with four
or five terms is K to six digits, and a term costs two one-dimensional passes instead of size^2
multiplications.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from ..arrays import Array
from .parameters import Boundary

Terms: TypeAlias = tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
"""(column taps, row taps) of every term."""

_NDIMAGE_MODE = {"reflect": "reflect", "periodic": "grid-wrap"}


def separable_terms(kernel: NDArray[np.float64], tolerance: float = 1e-6) -> Terms:
    """The shortest sum of separable kernels within `tolerance` of `kernel`, keeping its sum.

    Parameters
    ----------
    kernel
        (size, size) float64, even in both axes.
    tolerance
        Largest relative error in the Frobenius norm, before the sum is corrected. The truncated
        singular value decomposition is the best there is at every rank (Eckart and Young 1936).

    Returns
    -------
    tuple
        Pairs (a, b) with kernel = sum of outer(a, b). All are scaled by the one factor, within
        `tolerance` of 1, that restores the kernel's sum, so that constants stay what they are even
        after thousands of applications.
    """
    left, singular, right = np.linalg.svd(kernel)
    dropped = np.sqrt(np.cumsum(singular[::-1] ** 2))[::-1]  # error after keeping i terms, at index i
    rank = max(1, int(np.count_nonzero(dropped > tolerance * dropped[0])))
    columns, rows = left[:, :rank] * singular[:rank], right[:rank]
    # Even like the kernel to the last bit, which lets a convolution add before it multiplies.
    columns, rows = (columns + columns[::-1]) / 2, (rows + rows[:, ::-1]) / 2
    columns *= kernel.sum() / (columns.sum(axis=0) @ rows.sum(axis=1))
    return tuple((columns[:, i].copy(), rows[i].copy()) for i in range(rank))


def convolve_terms(x: Array, terms: Terms, boundary: Boundary) -> Array:
    """Convolve every plane of `x` (..., H, W) with the sum of separable kernels.

    Images smaller than the kernel are continued as often as it takes. The result is a new array with
    the dtype of `x`; sums along a line are made in float64.
    """
    total = np.zeros(x.shape, x.dtype)
    for column, row in terms:
        total += _convolve_line(_convolve_line(x, row, -1, boundary), column, -2, boundary)
    return total


def _convolve_line(x: Array, taps: NDArray[np.float64], axis: int, boundary: Boundary) -> Array:
    if boundary == "zero":
        radius = taps.size // 2
        longer = scipy.ndimage.correlate1d(_continue_oddly(x, axis, radius), taps, axis=axis)
        inside = [slice(None)] * x.ndim
        inside[axis] = slice(radius, radius + x.shape[axis])
        return np.asarray(longer[tuple(inside)])
    return np.asarray(scipy.ndimage.correlate1d(x, taps, axis=axis, mode=_NDIMAGE_MODE[boundary]))


def _continue_oddly(x: Array, axis: int, radius: int) -> Array:
    """`x` continued by `radius` values on both sides, odd about the zero one step outside."""
    n = x.shape[axis]
    phase = np.arange(-radius, n + radius) + 1
    phase %= 2 * (n + 1)  # 0 and n + 1 are the zeros; beyond n + 1 the sequence runs back, negated
    mirrored = phase > n + 1
    index = np.where(mirrored, 2 * (n + 1) - phase, phase) - 1
    sign = np.where(mirrored, -1, np.where(phase % (n + 1) == 0, 0, 1)).astype(x.dtype)
    shape = [1] * x.ndim
    shape[axis] = sign.size
    return np.asarray(np.take(x, np.clip(index, 0, n - 1), axis=axis) * sign.reshape(shape))
