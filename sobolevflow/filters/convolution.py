"""What Gaussian and Sobolev filters have in common: a symmetric kernel, truncated or whole."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import Array, is_cupy_array
from . import spectral
from .algebra import Filter, apply_spectrally, multiplication, procedures_for
from .dense import correlate
from .host import LARGEST_RADIUS, Procedure, operations
from .parameters import Boundary, Method
from .plan import Plan, check_sides
from .separable import Terms, convolve_terms, separable_terms

# An adequate window keeps all but this much of the kernel's mass: float32 sees no difference.
LOST_MASS = 1e-6


class Convolution(Filter):
    """A filter given by its quarter kernel on the infinite grid and by the symbol of that kernel.

    The method decides which operator it is: "fir" and "dense" convolve with the kernel cut to size x
    size and divided by its sum, "exact" with the kernel as a whole. Subclasses are frozen dataclasses with
    these fields and one or more for the shape of the kernel.
    """

    size: int | None
    boundary: Boundary
    method: Method

    @abstractmethod
    def _quarter(self, radius: int) -> NDArray[np.float64]:
        """Entries [0..radius, 0..radius] of the kernel on the infinite grid, where its sum is 1."""

    @abstractmethod
    def _symbol(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fourier transform of the infinite kernel at the angular frequencies y (h,) and x (w,)."""

    @abstractmethod
    def _adequate_size(self) -> int:
        """The smallest size that keeps all of the kernel's mass but LOST_MASS."""

    def kernel(self, *, normalised: bool = True) -> NDArray[np.float64]:
        """Impulse response (size, size), float64, without the influence of any border.

        An exact filter without a size is shown in the smallest window that holds all of its mass
        but 1e-6.

        Parameters
        ----------
        normalised
            True: the window is divided by its sum; this is what "fir" and "dense" convolve with. False: the
            entries are those of the infinite grid. Convolving with those under reflection is the
            truncated method-of-images solution, so it differs from the exact operator by no more
            than the mass outside the window times max|x|.
        """
        return _kernel(self, checks.flag(normalised, "normalised")).copy()

    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Transfer function (h, w), float64; see `Filter.response` for the layout."""
        h, w = check_sides(h, w)
        if self.method != "exact":
            return spectral.kernel_response(_kernel(self, True), h, w, self.boundary)
        return self._symbol(spectral.frequencies(h, self.boundary), spectral.frequencies(w, self.boundary))

    def _filter(self, x: Array, out: Array) -> bool:
        return _planned(self, *x.shape[1:], x.dtype, is_cupy_array(x)).apply(x, out)

    def _plan(self, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Plan:
        return Plan.of(
            _planned(self, h, w, dtype, on_device),
            dtype,
            size=None if self.method == "exact" else self.size,
            truncation=self._truncation,
            gain=self._gain,
        )

    def _exact(self, h: int, w: int, dtype: np.dtype[Any]) -> Procedure:
        """The method that applies the kernel as a whole on the host."""
        return multiplication(self, h, w, dtype, False)

    def _apply_reference(self, x: Array) -> Array:
        if self.method == "exact" or self._form == "spectral":
            return apply_spectrally(self, x)
        if self._form == "dense":
            return correlate(x, _kernel(self, True), self.boundary)
        return convolve_terms(x, _terms(self), self.boundary)

    @property
    def _form(self) -> str:
        """How the window of a finite filter is applied; all ways but the sum of terms take it as it is."""
        radius = _radius(self)
        if self.method == "dense":
            return "dense"
        if radius > LARGEST_RADIUS:
            return "spectral"
        rank = len(_terms(self))
        if rank > 1 and operations(radius, None) <= operations(radius, rank):
            return "dense"
        return "low-rank" if rank > 1 else "separable"

    @property
    def _truncation(self) -> float:
        if self.method == "exact":
            return 0.0
        difference, outside = _difference(self)
        return float(np.abs(difference).sum() + outside)

    @property
    def _gain(self) -> float:
        # The kernel as a whole is a probability density.
        return 1.0 if self.method == "exact" else max(1.0, float(np.abs(_applied(self)).sum()))

    @property
    def _is_spectral(self) -> bool:
        return self.method == "exact" or self._form == "spectral"


def adequate_size(*halves: NDArray[np.float64]) -> int:
    """The smallest size of a window that keeps all but LOST_MASS of a separable kernel.

    Given are its factors along y and x, each as entries 0, 1, ... of an even sequence that sums to 1.
    """
    kept = np.prod([2 * np.cumsum(half) - half[0] for half in halves], axis=0)
    return 2 * max(1, int(np.argmax(kept >= 1 - LOST_MASS))) + 1


@functools.lru_cache(maxsize=64)
def _planned(f: Convolution, h: int, w: int, dtype: np.dtype[Any], on_device: bool) -> Procedure:
    """The method that applies `f` to planes h x w."""
    if f.method == "exact" and not on_device:
        return f._exact(h, w, dtype)
    if f._is_spectral:
        return multiplication(f, h, w, dtype, on_device)
    radius, rows = _radius(f), None
    if f._form == "dense":
        columns = _kernel(f, True)[radius:, radius:].T
    else:
        columns, rows = (np.array(taps)[:, radius:] for taps in zip(*_terms(f), strict=True))
    method: Procedure = procedures_for(on_device).Finite(columns, rows, f.boundary, dtype)
    return method


def _radius(f: Convolution) -> int:
    return (f.size or f._adequate_size()) // 2


@functools.lru_cache(maxsize=64)
def _kernel(f: Convolution, normalised: bool) -> NDArray[np.float64]:
    radius = _radius(f)
    mirrored = np.abs(np.arange(-radius, radius + 1))
    kernel = f._quarter(radius)[np.ix_(mirrored, mirrored)]
    return np.asarray(kernel / kernel.sum() if normalised else kernel)


@functools.lru_cache(maxsize=64)
def _terms(f: Convolution) -> Terms:
    return separable_terms(_kernel(f, True))


@functools.lru_cache(maxsize=64)
def _applied(f: Convolution) -> NDArray[np.float64]:
    """The window that a finite `f` convolves with: its kernel, or the sum of its terms."""
    if f._form in ("dense", "spectral"):
        return _kernel(f, True)
    return np.asarray(sum(np.outer(column, row) for column, row in _terms(f)))


def _difference(f: Convolution) -> tuple[NDArray[np.float64], float]:
    """Applied minus whole kernel in the window, and the mass of the whole one, which is positive, outside."""
    whole = _kernel(f, False)
    return _applied(f) - whole, max(0.0, 1 - float(whole.sum()))
