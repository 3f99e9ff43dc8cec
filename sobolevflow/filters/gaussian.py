"""The Gaussian filter: what demons registration and DeepDream smooth with."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError
from ..named import Option, named
from .convolution import Convolution, adequate_size
from .parameters import (
    BOUNDARIES,
    BOUNDARY,
    LARGEST_SIZE,
    METHOD,
    METHODS,
    SIZE,
    Boundary,
    Method,
    Strength,
    odd_size,
    per_axis,
    resolve,
    strength,
)
from .support import fitted_strength

_WELL_SAMPLED = 2.0  # the sampled Gaussian has the variance sigma^2 to the last digit


@named(
    "operator",
    "gaussian",
    *(SIZE, Option("sigma", "standard deviation in pixels; two: down, across", "strength"), BOUNDARY, METHOD),
    places=("filter", "K_f", "K_e"),
    strength="sigma",
    in_scheme=("size", "sigma"),
)
@dataclass(frozen=True, init=False)
class Gaussian(Convolution):
    """Convolution with a Gaussian sampled at the pixels, normalised to sum one.

    G(y, x) = exp(-y^2 / (2 sigma_y^2) - x^2 / (2 sigma_x^2)) / sum. Applied n times it is the Gaussian
    of standard deviation sqrt(n) sigma: variances add, up to 1e-8 for sigma >= 1 (narrower ones are
    undersampled). So ``f ** t`` of a whole Gaussian is that of sqrt(t) sigma for a real t > 0 too.

    Parameters
    ----------
    size
        Width of the window in pixels, odd. Alone it fixes sigma by the paper's support rule: the
        largest sigma for which every entry above 1e-4 stays one pixel inside the window (size 9:
        1.048, 11: 1.360, 21: 3.135). Nothing given is size 11.
    sigma
        Standard deviation in pixels, or a pair of them: (sigma_y, sigma_x). Alone it means the whole
        Gaussian, with a size the one cut to that size.
    boundary
        "reflect" (half-sample, Neumann; keeps constants), "periodic", or "zero" (odd continuation
        about zeros one pixel outside the image, Dirichlet).
    method
        "fir": the window of size x size, divided by its sum; without a size, the smallest one that
        keeps all but 1e-6 of the mass. "dense": that window applied entry by entry, size^2
        multiplications a pixel; to compare with, as it is the slowest. "exact": the whole Gaussian,
        by trigonometric transforms. "auto": "fir" where a size is given, "exact" where only sigma is.

    Attributes
    ----------
    size, sigma, boundary, method
        Resolved: sigma is a number, or a pair where it differs between the axes; method is "fir",
        "dense" or "exact"; size is None only for an exact filter given by sigma alone.

    Raises
    ------
    InputError
        For a size that is even or below 3, or too large for the support rule (about 90), or a
        sigma that is neither a finite number above zero nor a pair of them.
    UnknownNameError
        For an unknown boundary or method.

    Notes
    -----
    Cost per pixel: "fir" two passes of `size` taps, "exact" four one-dimensional transforms.
    float32 results are good to about 1e-6 of max|x|.

    Examples
    --------
    >>> round(Gaussian(size=11).sigma, 3)
    1.36
    """

    size: int | None
    sigma: Strength
    boundary: Boundary
    method: Method

    def __init__(
        self,
        size: int | None = None,
        sigma: Strength | None = None,
        boundary: Boundary = "reflect",
        method: Method = "auto",
    ) -> None:
        resolved = resolve(
            None if size is None else odd_size(size),
            None if sigma is None else strength(sigma, "sigma"),
            checks.one_of(method, "method", METHODS),
            fitted=fitted_sigma,
            adequate=_adequate_size,
        )
        values = (*resolved, checks.one_of(boundary, "boundary", BOUNDARIES))
        for name, value in zip(("size", "sigma", "method", "boundary"), values, strict=True):
            object.__setattr__(self, name, value)

    def _quarter(self, radius: int) -> NDArray[np.float64]:
        along_y, along_x = (_half_line(sigma, radius) for sigma in per_axis(self.sigma))
        return np.outer(along_y, along_x)

    def _symbol(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        sigma_y, sigma_x = per_axis(self.sigma)
        return np.outer(_line_symbol(sigma_y, y), _line_symbol(sigma_x, x))

    def _adequate_size(self) -> int:
        return _adequate_size(self.sigma)

    def _fractional_power(self, exponent: float) -> Gaussian | None:
        if self.method != "exact":
            return None
        sigma_y, sigma_x = (math.sqrt(exponent) * sigma for sigma in per_axis(self.sigma))
        return replace(self, sigma=(sigma_y, sigma_x))


@functools.lru_cache(maxsize=64)
def fitted_sigma(size: int) -> float:
    """The sigma of the support rule for a window of `size` pixels (see `Gaussian`)."""
    radius = size // 2

    def ring(sigma: float) -> float:
        line = _half_line(sigma, radius)
        return float(line[0] * line[-1] / (2 * line.sum() - line[0]) ** 2)

    return fitted_strength(ring, 0.1, radius, "sigma", size)


def _half_line(sigma: float, radius: int) -> NDArray[np.float64]:
    """Entries 0..radius of the one-dimensional kernel of the infinite grid."""
    if sigma > LARGEST_SIZE / 9:
        raise InputError(
            f"the kernel of sigma={sigma:g} reaches over {9 * sigma:.3g} pixels, too many to write down. Use "
            f"the exact method, which needs no kernel: Gaussian(sigma={sigma:g}) without a size."
        )
    reach = np.arange(max(radius, math.ceil(9 * sigma)) + 1)  # exp(-9^2 / 2) is below the rounding unit
    with np.errstate(over="ignore"):
        line = np.exp(-0.5 * np.minimum(reach / sigma, 40) ** 2)  # exp(-800) is 0
    return np.asarray(line[: radius + 1] / (2 * line.sum() - line[0]))


def _line_symbol(sigma: float, omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of the one-dimensional kernel, from the side on which its series is short."""
    if sigma < 1:
        line = _half_line(sigma, 9)
        return np.asarray(line[0] + 2 * np.cos(np.outer(omega, np.arange(1, 10))) @ line[1:])
    # Poisson summation: the spectrum of a sampled Gaussian is the periodised Gaussian spectrum
    copies = 2 * np.pi * np.arange(-2, 3)
    with np.errstate(over="ignore"):  # exp(-inf) is 0
        total = np.exp(-0.5 * (sigma * (omega[:, None] + copies)) ** 2).sum(axis=1)
        return np.asarray(total / np.exp(-0.5 * (sigma * copies) ** 2).sum())


def line_variance(sigma: float) -> float:
    """The second moment of the one-dimensional kernel: sigma^2, but for undersampled ones."""
    if sigma > _WELL_SAMPLED:
        return sigma * sigma
    line = _half_line(sigma, math.ceil(9 * sigma))
    return float(2 * line @ np.arange(line.size) ** 2)


def _adequate_size(sigma: Strength) -> int:
    radius = math.ceil(9 * min(max(per_axis(sigma)), LARGEST_SIZE))
    return adequate_size(*(_half_line(along, radius) for along in per_axis(sigma)))
