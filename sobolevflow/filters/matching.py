"""Filters of equal strength from the two families.

The paper compares Gaussian and Sobolev filters of equal support, but those are not equally strong:
at size 11 the Sobolev filter lets pass 47 % of white noise, the Gaussian 21 %. Three measures of
strength make three different comparisons.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy

from .. import checks
from ..errors import InputError
from .algebra import Filter, check_filter
from .gaussian import Gaussian, line_variance
from .parameters import NO_SMOOTHING, Strength, per_axis
from .product import SobolevProduct
from .sobolev import Sobolev

_MEASURES = ("support", "variance", "noise")


def match(
    f: Filter, to: Literal["support", "variance", "noise"], order: float | None = None
) -> Gaussian | Sobolev:
    """The filter of the other family, Gaussian or Sobolev, that is as strong as `f`.

    Parameters
    ----------
    f
        A `Gaussian` or a `Sobolev` of any order.
    to
        "support": the same size by the paper's support rule; `f` must have a size.
        "variance": the same `variance` of the kernel along each axis; of untruncated ones,
        sigma^2 = 2 order gamma.
        "noise": the same `noise_gain`; where `f` differs between the axes, the ratio of its variances
        is kept.
    order
        Of the Sobolev filter that is wanted; 1 for a Gaussian `f` unless given. Where `f` is a Sobolev
        filter, its equal is a Gaussian, or with an `order` the Sobolev filter of that order.

    Returns
    -------
    Gaussian or Sobolev
        With the boundary of `f`. Matched to the support it has the size and method of `f`; otherwise
        it is exact, since the equal of a Sobolev filter seldom fits into the same window.

    Raises
    ------
    InputError
        If `f` is of neither family, has no size to match or two strengths that a size cannot match,
        or has no equal in the other family.
    UnknownNameError
        If `to` is not one of the three.
    """
    checks.one_of(to, "to", _MEASURES)
    if not isinstance(f, Gaussian | Sobolev):
        raise InputError(f"{f} has no counterpart; match takes a Gaussian or a Sobolev filter.")
    if order is None and isinstance(f, Gaussian):
        order = 1.0
    if to == "support":
        return _of_support(f, order)
    if to == "variance":
        return _of_variance(variance(f), order, f)
    return _of_noise(noise_gain(f), order, f)


def noise_gain(f: Filter) -> float:
    """Standard deviation of filtered white noise of standard deviation 1, far from the border.

    It is the Euclidean norm of the kernel, 1 for the identity and less for every smoothing filter.
    """
    check_filter(f)
    return _noise_gain(f)


@functools.lru_cache(maxsize=64)
def _noise_gain(f: Filter) -> float:
    return float(np.linalg.norm(f.kernel()))


def variance(f: Filter) -> tuple[float, float]:
    """How far a filter spreads a point: the variances (y, x) of its kernel in pixels squared.

    They are the second moments of the kernel divided by its sum, which must not be 0. Those of an exact
    `Sobolev` and of a `SobolevProduct` are 2 order gamma, that of an exact `Gaussian` sigma^2 (less below
    0.6, where it is undersampled), and under composition they add up. A window keeps less.
    """
    check_filter(f)
    if isinstance(f, SobolevProduct) or (isinstance(f, Sobolev) and f.method == "exact"):
        along_y, along_x = (2 * f.order * gamma for gamma in per_axis(f.gamma))
        return along_y, along_x
    if isinstance(f, Gaussian) and f.method == "exact":
        along_y, along_x = map(line_variance, per_axis(f.sigma))
        return along_y, along_x
    kernel = f.kernel()
    mass = kernel.sum()
    if abs(mass) < 1e-12:
        raise InputError(f"the kernel of {f} sums to 0, so that it has no variance.")
    squares = (np.arange(len(kernel)) - len(kernel) // 2) ** 2
    return float(kernel.sum(axis=1) @ squares / mass), float(kernel.sum(axis=0) @ squares / mass)


def _of_support(f: Gaussian | Sobolev, order: float | None) -> Gaussian | Sobolev:
    if f.size is None:
        raise InputError(
            f"{f} is exact and has no size; match it to 'variance' or 'noise', or give it a size."
        )
    if isinstance(f.gamma if isinstance(f, Sobolev) else f.sigma, tuple):
        raise InputError(
            f"{f} differs between the axes, and the support rule has one strength for both; match it to "
            f"'variance' or 'noise'."
        )
    if order is None:
        return Gaussian(f.size, boundary=f.boundary, method=f.method)
    return Sobolev(f.size, order=order, boundary=f.boundary, method=f.method)


def _of_variance(
    wanted: tuple[float, float], order: float | None, f: Gaussian | Sobolev
) -> Gaussian | Sobolev:
    if order is None:
        return Gaussian(sigma=_each(_sigma_of_variance, wanted), boundary=f.boundary)
    order = checks.positive(order, "order", remedy=NO_SMOOTHING)
    return Sobolev(gamma=_each(lambda v: v / (2 * order), wanted), order=order, boundary=f.boundary)


def _sigma_of_variance(wanted: float) -> float:
    if wanted > 100:
        return math.sqrt(wanted)  # to the last digit, and there may be no root to look for
    return _solve(lambda sigma: -line_variance(sigma), -wanted)


def _of_noise(wanted: float, order: float | None, f: Gaussian | Sobolev) -> Gaussian | Sobolev:
    def scaled(scale: float) -> Gaussian | Sobolev:
        variances = (scale * share[0], scale * share[1])
        if order is None:
            return Gaussian(sigma=_each(math.sqrt, variances), boundary=f.boundary)
        return Sobolev(gamma=variances, order=order, boundary=f.boundary)

    if isinstance(f, Gaussian):
        along_y, along_x = (sigma**2 for sigma in per_axis(f.sigma))
    else:
        along_y, along_x = per_axis(f.gamma)
    mean = math.sqrt(along_y) * math.sqrt(along_x)
    if not 1e-150 < mean < 1e150:
        raise InputError(f"{f} is matched where its strength is within 1e-150 and 1e150")
    share = (along_y / mean, along_x / mean)
    return scaled(_solve(lambda scale: noise_gain(scaled(scale)), wanted))


def _each(strength: Callable[[float], float], variances: tuple[float, float]) -> Strength:
    return strength(variances[0]), strength(variances[1])


def _solve(falling: Callable[[float], float], wanted: float) -> float:
    """The argument above zero at which the `falling` function is `wanted`."""
    low, high = 1e-3, 1.0
    while falling(low) < wanted:
        low /= 10
    while falling(high) > wanted:
        low, high = high, 2 * high
    return math.exp(
        scipy.optimize.brentq(
            lambda t: falling(math.exp(t)) - wanted, math.log(low), math.log(high), xtol=1e-12
        )
    )
