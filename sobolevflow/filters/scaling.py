"""Values near the ends of a dtype's range, where sums overflow and products vanish.

A filter is linear, and a power of two is multiplied by without rounding: what lies there is brought to the
middle of the range, filtered, and brought back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..arrays import Array

_SLACK = 64  # units in the last place by which rounding may lift a result above the largest number


def filter_in_range(apply: Callable[[Array, Array], bool], x: Array, out: Array) -> bool:
    """``apply(x, out)``, which says whether its result is finite; again, scaled, where `x` is out of range.

    As a filter spreads what it takes, one value of the result tells that most images are not. On a CUDA
    device no value is looked at.
    """
    finite = apply(x, out)
    if not isinstance(out, np.ndarray):
        return finite
    if finite and abs(math.frexp(out.item(0))[1]) <= _comfortable(out) and out.item(0) != 0:
        return True
    exponent = exponent_out_of_range(x)
    if exponent == 0:
        return finite
    apply(np.ldexp(x, -exponent), out)
    _scale_back(out, exponent)
    return bool(np.isfinite(out).all())


def computed_in_range(function: Callable[[Array], Array], x: Array) -> Array:
    """``function(x)``, a new array on the host, of a linear function."""
    exponent = exponent_out_of_range(x)
    if exponent == 0:
        return function(x)
    result = function(np.ldexp(x, -exponent))
    _scale_back(result, exponent)
    return result


def exponent_out_of_range(x: Array) -> int:
    """The power of two by which max|x| is larger or smaller than sums of its dtype bear; 0 if it is not."""
    largest = max(float(x.max()), -float(x.min()))
    exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
    return exponent if abs(exponent) > _comfortable(x) else 0


def _comfortable(x: Array) -> int:
    return 5 * int(np.finfo(x.dtype).maxexp) // 8


def _scale_back(out: Array, exponent: int) -> None:
    """Multiply by a power of two; what is above the largest number by rounding alone becomes that number."""
    limits = np.finfo(out.dtype)
    if exponent > 0:
        top = np.ldexp(limits.max, -exponent)
        np.copyto(out, np.copysign(top, out), where=np.abs(np.abs(out) - top) <= _SLACK * limits.eps * top)
    with np.errstate(over="ignore"):
        np.ldexp(out, exponent, out=out)
