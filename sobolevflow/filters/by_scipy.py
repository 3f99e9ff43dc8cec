"""Filters without compiled code: what the compiled kernels are tested and timed against."""

from __future__ import annotations

from ..arrays import NOT_GIVEN, AnyArray, ChannelsFirst, beside, borrow, check_finite, restore, to_host
from .algebra import Filter, check_filter
from .scaling import computed_in_range


def reference(f: Filter, x: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
    """Filter `x` by NumPy and SciPy alone.

    Finite filters go through `scipy.ndimage`, exact ones through the trigonometric transforms of `scipy.fft`.
    The operator is that of ``f(x)``; the results differ by rounding.

    Parameters
    ----------
    f
        Any filter.
    x
        Array as for ``f(x)``, shape (..., H, W), all values finite. It is filtered on the host.
    channel_axis
        As in ``f(x)``.

    Returns
    -------
    array
        A new array: library, device, shape and dtype of `x`.

    Raises
    ------
    InputError
        If `x` is not such an array, or has no such channel axis.
    """
    check_filter(f)
    memory = borrow(x)
    view = ChannelsFirst.borrow(to_host(memory), channel_axis)
    check_finite(view.memory)
    return restore(beside(memory, view.lend(computed_in_range(f._apply_reference, view.images))), x)
