"""Filters without compiled code: what the compiled kernels are tested and timed against."""

from __future__ import annotations

import numpy as np

from ..arrays import NOT_GIVEN, Array, ChannelsFirst, as_planes
from .algebra import Filter


def reference(f: Filter, x: Array, *, channel_axis: int | None = NOT_GIVEN) -> Array:
    """Filter `x` by NumPy and SciPy alone.

    Finite filters go through `scipy.ndimage`, exact ones through the trigonometric transforms of `scipy.fft`.
    The operator is that of ``f(x)``; the results differ by rounding.

    Parameters
    ----------
    f
        Any filter.
    x
        NumPy array of float32 or float64, shape (..., H, W), all values finite.
    channel_axis
        As in ``f(x)``.

    Returns
    -------
    ndarray
        A new array: shape and dtype of `x`.

    Raises
    ------
    InputError
        If `x` is not such an array, or has no such channel axis.
    """
    view = ChannelsFirst.borrow(as_planes(x), channel_axis)
    return np.asarray(view.lend(f._apply_reference(view.images)))
