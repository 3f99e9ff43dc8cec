"""The Sobolev filter (Id - gamma Laplacian)^-order: gradients in H^1 instead of L^2."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError
from ..named import Option, named
from . import spectral
from .convolution import LOST_MASS, Convolution
from .host import Procedure, Tridiagonal, averages_few, is_smooth
from .parameters import (
    BOUNDARIES,
    BOUNDARY,
    GAMMA,
    METHOD,
    METHODS,
    NO_SMOOTHING,
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

_ROUNDING = 1e-15  # mass that may be folded back into a kernel computed on a periodic grid
_LARGEST_HALF_PERIOD = 4096
_FAR = 1e12  # pixels: no kernel that reaches so far is written down
_MOST_SOLVES = 4  # an elimination is repeated at most this often; transforms of both axes cost as much


@named(
    "operator",
    "sobolev",
    *(SIZE, GAMMA, Option("order", "of the operator (default: 1)"), BOUNDARY, METHOD),
    places=("filter", "K_f", "K_e"),
    strength="gamma",
    in_scheme=("size", "gamma"),
)
@dataclass(frozen=True, init=False)
class Sobolev(Convolution):
    """The Sobolev filter S = (Id - gamma Laplacian)^-order, with the 5-point Laplacian.

    With order 1, S g is the gradient in H^1 with the inner product <u, v> + gamma <grad u, grad v>
    of a functional whose gradient in L^2 is g (eq. (16) of arXiv:1805.00071), and S u is the minimiser of
    1/2 ||v - u||^2 + gamma/2 ||grad v||^2 over v: a proximal map. With a gamma for each axis,
    gamma Laplacian is gamma_y d^2/dy^2 + gamma_x d^2/dx^2.

    Parameters
    ----------
    size
        Width of the window in pixels, odd. Alone it fixes gamma by the paper's support rule: the
        largest gamma for which every entry above 1e-4 stays one pixel inside the window (order 1,
        size 9: 0.176, 11: 0.375, 21: 3.157). Nothing given is size 11.
    gamma
        Strength in pixels squared, or a pair of them: (gamma_y, gamma_x). Alone it means the exact
        operator, with a size the kernel truncated to that size; above about 0.4 an 11 x 11 window
        truncates visibly (1 % at 1).
    order
        Any number above zero. Orders add up under composition, so ``f ** t`` of an exact filter is
        that of t times the order for a real t > 0 too.
    boundary
        "reflect" (half-sample, Neumann; keeps constants), "periodic", or "zero" (the result is zero
        one pixel outside the image, Dirichlet).
    method
        "fir": the truncated kernel of size x size, divided by its sum (the paper's filter); without
        a size, the smallest one that keeps all but 1e-6 of the mass. "dense": that window as it is,
        without a tolerance, some size^2 / 2 operations a pixel. "exact": the solution of the linear
        system. "auto": "fir" where
        a size is given, "exact" where only gamma is.

    Attributes
    ----------
    size, gamma, order, boundary, method
        Resolved: gamma is a number, or a pair where it differs between the axes; method is "fir",
        "dense" or "exact"; size is None only for an exact filter given by gamma alone. So
        ``Sobolev(size=11) == Sobolev(11, gamma=Sobolev(11).gamma)``, and `dataclasses.replace` keeps
        gamma unless told another.

    Raises
    ------
    InputError
        For a size that is even or below 3, or too large for the support rule (about 75 at order
        1); for an order that is not a finite number above zero, or a gamma that is neither that nor
        a pair of them; from `kernel`, "fir" and "dense" for a gamma so large (about 5e4) that its
        kernel covers thousands of pixels.
    UnknownNameError
        For an unknown boundary or method.

    Notes
    -----
    The kernel is not separable. "fir" convolves with it folded along its rows, or with a sum of
    separable kernels within 1e-6 of it where that is less work, and multiplies the spectrum for windows
    above 49 pixels. "exact" of an integer order up to 4 transforms the columns and eliminates along the
    rows unless gamma is above some 4000 and they are longer than 128 pixels, otherwise it transforms both
    ways. `plan` tells which it is, and how exact.

    Examples
    --------
    >>> round(Sobolev(size=11).gamma, 3)
    0.375
    """

    size: int | None
    gamma: Strength
    order: float
    boundary: Boundary
    method: Method

    def __init__(
        self,
        size: int | None = None,
        gamma: Strength | None = None,
        order: float = 1.0,
        boundary: Boundary = "reflect",
        method: Method = "auto",
    ) -> None:
        order = checks.positive(order, "order", remedy=NO_SMOOTHING)
        resolved = resolve(
            None if size is None else odd_size(size),
            None if gamma is None else strength(gamma, "gamma"),
            checks.one_of(method, "method", METHODS),
            fitted=functools.partial(fitted_gamma, order=order),
            adequate=functools.partial(_adequate_size, order=order),
        )
        names = ("size", "gamma", "method", "order", "boundary")
        values = (*resolved, order, checks.one_of(boundary, "boundary", BOUNDARIES))
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    def _quarter(self, radius: int) -> NDArray[np.float64]:
        return quarter_kernel(self.gamma, self.order, radius)

    def _symbol(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return _symbol(self.gamma, self.order, y, x)

    def _exact(self, h: int, w: int, dtype: np.dtype[Any]) -> Procedure:
        gamma_y, gamma_x = per_axis(self.gamma)
        if (
            self.order.is_integer()
            and self.order <= _MOST_SOLVES
            and self.boundary != "zero"
            and is_smooth(h)
            and averages_few(gamma_x, w)
        ):
            return Tridiagonal(h, w, gamma_y, gamma_x, int(self.order), self.boundary, dtype)
        return super()._exact(h, w, dtype)

    def _adequate_size(self) -> int:
        return _adequate_size(self.gamma, self.order)

    def _fractional_power(self, exponent: float) -> Sobolev | None:
        return replace(self, order=exponent * self.order) if self.method == "exact" else None


@functools.lru_cache(maxsize=64)
def fitted_gamma(size: int, order: float) -> float:
    """The gamma of the support rule for a window of `size` pixels (see `Sobolev`)."""
    radius = size // 2

    def ring(gamma: float) -> float:
        quarter = quarter_kernel(gamma, order, radius)
        return float(quarter[radius, 0] / window_masses(quarter)[radius])

    # sqrt(2 order gamma) is the standard deviation of the kernel
    return fitted_strength(ring, 1e-6, radius**2 / (2 * order), "gamma", size)


def quarter_kernel(gamma: Strength, order: float, radius: int) -> NDArray[np.float64]:
    """Entries [0..radius, 0..radius] of the Sobolev kernel on the infinite grid, float64.

    The symbol is sampled on a periodic grid so large that what wraps around is below 1e-15, and
    transformed back.

    Raises
    ------
    InputError
        If that grid is wider than 8192 pixels.
    """
    tails = [tail_radius(along, order, _ROUNDING) for along in per_axis(gamma)]
    half_periods = [scipy.fft.next_fast_len(max(radius, (radius + tail) // 2) + 1) for tail in tails]
    if max(half_periods) > _LARGEST_HALF_PERIOD:
        raise InputError(
            f"the kernel of gamma={_shown(gamma)}, order={order:g} reaches over {2 * max(half_periods)} "
            f"pixels. Use the exact method, which needs no kernel: Sobolev(gamma={_shown(gamma)}, "
            f"order={order:g}) without a size."
        )
    symbol = _symbol(gamma, order, *(np.pi / n * np.arange(n + 1) for n in half_periods))
    kernel = scipy.fft.dctn(symbol, type=1, overwrite_x=True) / (4 * math.prod(half_periods))
    return np.asarray(kernel[: radius + 1, : radius + 1])


def tail_radius(gamma: float, order: float, mass: float) -> int:
    """A radius beyond which a Sobolev kernel, the same along both axes, holds less than `mass`.

    By Chernoff's bound: the kernel is a probability density on the grid for every order > 0, and the moment
    generating function of its marginals is (1 - gamma (2 cosh t - 2))^-order for t up to its pole.
    """
    pole = 2 * math.asinh(0.5 / math.sqrt(gamma))
    t = pole * np.linspace(0.02, 0.999, 256)
    with np.errstate(over="ignore"):
        log_moment = -order * np.log1p(-((2 * math.sqrt(gamma) * np.sinh(t / 2)) ** 2))
        radius = float(np.min((math.log(4 / mass) + log_moment) / t))
    return math.ceil(min(radius, _FAR))


def _symbol(
    gamma: Strength, order: float, y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = zip(per_axis(gamma), (y, x), strict=True)
    with np.errstate(over="ignore"):
        eigenvalues = np.add.outer(*(strength * spectral.laplacian(omega) for strength, omega in along))
    return spectral.sobolev(eigenvalues, order)


@functools.lru_cache(maxsize=64)
def _adequate_size(gamma: Strength, order: float) -> int:
    radius = tail_radius(max(per_axis(gamma)), order, LOST_MASS)
    kept = window_masses(quarter_kernel(gamma, order, radius))
    return 2 * max(1, int(np.argmax(kept >= 1 - LOST_MASS))) + 1


def _shown(gamma: Strength) -> str:
    return "({:g}, {:g})".format(*gamma) if isinstance(gamma, tuple) else f"{gamma:g}"


def window_masses(quarter: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the kernel over the windows of radius 0, 1, ..., from its non-negative quarter."""
    copies = np.full(len(quarter), 2.0)
    copies[0] = 1
    return np.diagonal((quarter * np.outer(copies, copies)).cumsum(axis=0).cumsum(axis=1))
