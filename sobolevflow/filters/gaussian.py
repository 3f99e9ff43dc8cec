"""The Gaussian filter: what demons registration and DeepDream smooth with."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .convolution import LOST_MASS, Convolution
from .parameters import BOUNDARIES, METHODS, Boundary, Method, choice, odd_size, positive, resolve
from .support import fitted_strength


@dataclass(frozen=True, init=False)
class Gaussian(Convolution):
    """Convolution with a Gaussian sampled at the pixels, normalised to sum one.

    G_sigma(x, y) = exp(-(x^2 + y^2) / (2 sigma^2)) / sum. Applied n times it is the Gaussian of
    standard deviation sqrt(n) sigma: variances add, up to 1e-8 for sigma >= 1 (narrower ones are
    undersampled).

    Parameters
    ----------
    size
        Width of the window in pixels, odd. Alone it fixes sigma by the paper's support rule: the
        largest sigma for which every entry above 1e-4 stays one pixel inside the window (size 9:
        1.048, 11: 1.360, 21: 3.135). Nothing given is size 11.
    sigma
        Standard deviation in pixels. Alone it means the whole Gaussian, with a size the one cut to
        that size.
    boundary
        "reflect" (half-sample, Neumann; keeps constants), "periodic", or "zero" (odd continuation
        about zeros one pixel outside the image, Dirichlet).
    method
        "fir": the window of size x size, divided by its sum; without a size, the smallest one that
        keeps all but 1e-6 of the mass. "exact": the whole Gaussian, by trigonometric transforms.
        "auto": "fir" where a size is given, "exact" where only sigma is.

    Attributes
    ----------
    size, sigma, boundary, method
        Resolved: sigma is a number, method is "fir" or "exact", size is None only for an exact
        filter given by sigma alone.

    Raises
    ------
    InputError
        For a size that is even or below 3, or too large for the support rule (about 90), or a
        sigma that is not a finite number above zero.
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
    sigma: float
    boundary: Boundary
    method: Method

    def __init__(
        self,
        size: int | None = None,
        sigma: float | None = None,
        boundary: Boundary = "reflect",
        method: Method = "auto",
    ) -> None:
        resolved = resolve(
            None if size is None else odd_size(size),
            None if sigma is None else positive(sigma, "sigma"),
            choice(method, "method", METHODS),
            fitted=fitted_sigma,
            adequate=_adequate_size,
        )
        values = (*resolved, choice(boundary, "boundary", BOUNDARIES))
        for name, value in zip(("size", "sigma", "method", "boundary"), values, strict=True):
            object.__setattr__(self, name, value)

    def _quarter(self, radius: int) -> NDArray[np.float64]:
        line = _half_line(self.sigma, radius)
        return np.outer(line, line)

    def _symbol(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.outer(_line_symbol(self.sigma, y), _line_symbol(self.sigma, x))

    def _adequate_size(self) -> int:
        return _adequate_size(self.sigma)

    def to_dict(self) -> dict[str, Any]:
        """Name and resolved parameters."""
        return {"filter": "Gaussian", **asdict(self)}


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
    reach = np.arange(max(radius, math.ceil(9 * sigma)) + 1)  # exp(-9^2 / 2) is below the rounding unit
    line = np.exp(-0.5 * np.minimum(reach / sigma, 40) ** 2)  # exp(-800) is 0
    return np.asarray(line[: radius + 1] / (2 * line.sum() - line[0]))


def _line_symbol(sigma: float, omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of the one-dimensional kernel, from the side on which its series is short."""
    if sigma < 1:
        line = _half_line(sigma, 9)
        return np.asarray(line[0] + 2 * np.cos(np.outer(omega, np.arange(1, 10))) @ line[1:])
    # Poisson summation: the spectrum of a sampled Gaussian is the periodised Gaussian spectrum
    copies = 2 * np.pi * np.arange(-2, 3)
    total = np.exp(-0.5 * (sigma * (omega[:, None] + copies)) ** 2).sum(axis=1)
    return np.asarray(total / np.exp(-0.5 * (sigma * copies) ** 2).sum())


def _adequate_size(sigma: float) -> int:
    line = _half_line(sigma, math.ceil(9 * sigma))
    kept = (2 * np.cumsum(line) - line[0]) ** 2
    return 2 * max(1, int(np.argmax(kept >= 1 - LOST_MASS))) + 1
