"""Filters without compiled code: what the compiled kernels are tested and timed against."""

from __future__ import annotations

import numpy as np

from ..arrays import Array, as_planes
from .algebra import Filter


def reference(f: Filter, x: Array) -> Array:
    """Filter `x` by NumPy and SciPy alone.

    Finite filters go through `scipy.ndimage`, exact ones through the trigonometric transforms of `scipy.fft`.
    The operator is that of ``f(x)``; the results differ by rounding.

    Parameters
    ----------
    f
        Any filter.
    x
        NumPy array of float32 or float64, shape (..., H, W), all values finite.

    Returns
    -------
    ndarray
        A new array: shape and dtype of `x`.

    Raises
    ------
    InputError
        If `x` is not such an array.
    """
    return np.asarray(f._apply_reference(as_planes(x)))
