"""The Sobolev filter (Id - gamma Laplacian)^-order: gradients in H^1 instead of L^2."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..errors import InputError
from .convolution import LOST_MASS, Convolution
from .parameters import BOUNDARIES, METHODS, Boundary, Method, choice, odd_size, positive, resolve
from .support import fitted_strength

_ROUNDING = 1e-15  # mass that may be folded back into a kernel computed on a periodic grid
_LARGEST_HALF_PERIOD = 4096


@dataclass(frozen=True, init=False)
class Sobolev(Convolution):
    """The Sobolev filter S = (Id - gamma Laplacian)^-order, with the 5-point Laplacian.

    With order 1, S g is the gradient in H^1 with the inner product <u, v> + gamma <grad u, grad v>
    of a functional whose gradient in L^2 is g (eq. (16) of arXiv:1805.00071), and S u is the minimiser of
    1/2 ||v - u||^2 + gamma/2 ||grad v||^2 over v: a proximal map.

    Parameters
    ----------
    size
        Width of the window in pixels, odd. Alone it fixes gamma by the paper's support rule: the
        largest gamma for which every entry above 1e-4 stays one pixel inside the window (order 1,
        size 9: 0.176, 11: 0.375, 21: 3.157). Nothing given is size 11.
    gamma
        Strength in pixels squared. Alone it means the exact operator, with a size the kernel
        truncated to that size; above about 0.4 an 11 x 11 window truncates visibly (1 % at 1).
    order
        Any number above zero. Orders add up under composition.
    boundary
        "reflect" (half-sample, Neumann; keeps constants), "periodic", or "zero" (the result is zero
        one pixel outside the image, Dirichlet).
    method
        "fir": the truncated kernel of size x size, divided by its sum (the paper's filter); without
        a size, the smallest one that keeps all but 1e-6 of the mass. "exact": the solution of the
        linear system, by trigonometric transforms. "auto": "fir" where a size is given, "exact"
        where only gamma is.

    Attributes
    ----------
    size, gamma, order, boundary, method
        Resolved: gamma is a number, method is "fir" or "exact", size is None only for an exact
        filter given by gamma alone. So ``Sobolev(size=11) == Sobolev(11, gamma=Sobolev(11).gamma)``,
        and `dataclasses.replace` keeps gamma unless told another.

    Raises
    ------
    InputError
        For a size that is even or below 3, or too large for the support rule (about 75 at order
        1); for a gamma or order that is not a finite number above zero; from `kernel` and "fir"
        for a gamma so large (about 5e4) that its kernel covers thousands of pixels.
    UnknownNameError
        For an unknown boundary or method.

    Notes
    -----
    The kernel is not separable. "fir" is a sum of separable kernels within 1e-6 of it, two passes of
    `size` taps each, where one or two terms are enough; a window that needs more is applied by its
    transfer function. That and "exact" take four one-dimensional transforms per pixel. float32
    results are good to about 1e-6 of max|x|.

    Examples
    --------
    >>> round(Sobolev(size=11).gamma, 3)
    0.375
    """

    size: int | None
    gamma: float
    order: float
    boundary: Boundary
    method: Method

    def __init__(
        self,
        size: int | None = None,
        gamma: float | None = None,
        order: float = 1.0,
        boundary: Boundary = "reflect",
        method: Method = "auto",
    ) -> None:
        order = positive(order, "order")
        resolved = resolve(
            None if size is None else odd_size(size),
            None if gamma is None else positive(gamma, "gamma"),
            choice(method, "method", METHODS),
            fitted=functools.partial(fitted_gamma, order=order),
            adequate=functools.partial(_adequate_size, order=order),
        )
        names = ("size", "gamma", "method", "order", "boundary")
        values = (*resolved, order, choice(boundary, "boundary", BOUNDARIES))
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    def _quarter(self, radius: int) -> NDArray[np.float64]:
        return quarter_kernel(self.gamma, self.order, radius)

    def _symbol(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        return _symbol(self.gamma, self.order, y, x)

    def _adequate_size(self) -> int:
        return _adequate_size(self.gamma, self.order)

    def to_dict(self) -> dict[str, Any]:
        """Name and resolved parameters."""
        return {"filter": "Sobolev", **asdict(self)}


@functools.lru_cache(maxsize=64)
def fitted_gamma(size: int, order: float) -> float:
    """The gamma of the support rule for a window of `size` pixels (see `Sobolev`)."""
    radius = size // 2

    def ring(gamma: float) -> float:
        quarter = quarter_kernel(gamma, order, radius)
        return float(quarter[radius, 0] / window_masses(quarter)[radius])

    # sqrt(2 order gamma) is the standard deviation of the kernel
    return fitted_strength(ring, 1e-6, radius**2 / (2 * order), "gamma", size)


def quarter_kernel(gamma: float, order: float, radius: int) -> NDArray[np.float64]:
    """Entries [0..radius, 0..radius] of the Sobolev kernel on the infinite grid, float64.

    The symbol is sampled on a periodic grid so large that what wraps around is below 1e-15, and
    transformed back.

    Raises
    ------
    InputError
        If that grid is wider than 8192 pixels.
    """
    half_period = fft.next_fast_len(max(radius, (radius + tail_radius(gamma, order, _ROUNDING)) // 2) + 1)
    if half_period > _LARGEST_HALF_PERIOD:
        raise InputError(
            f"the kernel of gamma={gamma:g}, order={order:g} reaches over {2 * half_period} pixels. Use the "
            f"exact method, which needs no kernel: Sobolev(gamma={gamma:g}, order={order:g}) without a size."
        )
    omega = np.pi / half_period * np.arange(half_period + 1)
    symbol = _symbol(gamma, order, omega, omega)
    kernel = fft.dctn(symbol, type=1, overwrite_x=True) / (2 * half_period) ** 2
    return np.asarray(kernel[: radius + 1, : radius + 1])


def tail_radius(gamma: float, order: float, mass: float) -> int:
    """A radius beyond which a Sobolev kernel holds less than `mass`, by Chernoff's bound.

    The kernel is a probability density on the grid for every order > 0, and the moment generating function
    of its marginals is (1 - gamma (2 cosh t - 2))^-order for t up to its pole.
    """
    pole = math.acosh(1 + 1 / (2 * gamma))
    t = pole * np.linspace(0.02, 0.999, 256)
    log_moment = -order * np.log1p(-gamma * (2 * np.cosh(t) - 2))
    return math.ceil(np.min((math.log(4 / mass) + log_moment) / t))


def _symbol(
    gamma: float, order: float, y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    # 2 - 2 cos w = 4 sin^2(w / 2), which does not cancel at the low frequencies
    laplacian = 4 * np.add.outer(np.sin(y / 2) ** 2, np.sin(x / 2) ** 2)
    return np.asarray((1 + gamma * laplacian) ** -order)


@functools.lru_cache(maxsize=64)
def _adequate_size(gamma: float, order: float) -> int:
    kept = window_masses(quarter_kernel(gamma, order, tail_radius(gamma, order, LOST_MASS)))
    return 2 * max(1, int(np.argmax(kept >= 1 - LOST_MASS))) + 1


def window_masses(quarter: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the kernel over the windows of radius 0, 1, ..., from its non-negative quarter."""
    copies = np.full(len(quarter), 2.0)
    copies[0] = 1
    return np.diagonal((quarter * np.outer(copies, copies)).cumsum(axis=0).cumsum(axis=1))
