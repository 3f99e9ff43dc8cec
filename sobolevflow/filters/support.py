"""The paper's rule for the strength of a filter of given size.

Filters of different families are compared at equal support: "all entries > 1e-4 are within a margin
of one pixel from the filter boundary" (section 4 of arXiv:1805.00071). Read literally: on the
outermost ring of the size x size window no entry exceeds 1e-4, and the strength is the largest for
which that holds. Entries are those of the window divided by its sum, the kernel that is applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import scipy

from ..errors import InputError

THRESHOLD = 1e-4
_GROWTH = 1.3


def fitted_strength(ring: Callable[[float], float], least: float, most: float, name: str, size: int) -> float:
    """The strength at which the outermost ring of a window first exceeds the threshold.

    Parameters
    ----------
    ring
        Strength -> the kernel's largest entry on the outermost ring, (size // 2, 0), rising.
    least, most
        Where the search begins, and where it gives up: there the kernel hardly decays in the window.
    name, size
        For the message.

    Raises
    ------
    InputError
        If the window is so large that no sensible strength reaches the threshold there.
    """
    low, high = least, least * _GROWTH
    flat = 1 / size**2  # no ring can be above the entries of a constant kernel
    while flat <= THRESHOLD or ring(high) <= THRESHOLD:
        low, high = high, high * _GROWTH
        if high > most:
            raise InputError(
                f"size {size} is too large for the support rule: no {name} up to {most:g} lifts the "
                f"outermost ring of the kernel above {THRESHOLD:g}. Give {name} as well as the size."
            )
    root = scipy.optimize.brentq(
        lambda t: ring(math.exp(t)) - THRESHOLD, math.log(low), math.log(high), xtol=1e-13
    )
    return math.exp(root)
