"""What Gaussian and Sobolev filters have in common: a symmetric kernel, truncated or whole."""

from __future__ import annotations

import functools
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from . import spectral
from .algebra import Filter, apply_spectrally
from .dense import correlate
from .parameters import Boundary, Method
from .separable import Terms, convolve_terms, separable_terms

# An adequate window keeps all but this much of the kernel's mass: float32 sees no difference.
LOST_MASS = 1e-6
_MOST_TERMS = 2


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
        return _kernel(self, normalised).copy()

    def response(self, h: int, w: int) -> NDArray[np.float64]:
        """Transfer function (h, w), float64; see `Filter.response` for the layout."""
        if self.method != "exact":
            return spectral.kernel_response(_kernel(self, True), h, w, self.boundary)
        return self._symbol(spectral.frequencies(h, self.boundary), spectral.frequencies(w, self.boundary))

    def _apply(self, x: Array) -> Array:
        if self.method == "dense":
            return correlate(x, _kernel(self, True), self.boundary)
        if self._is_spectral:
            return apply_spectrally(self, x)
        return convolve_terms(x, _terms(self), self.boundary)

    @property
    def _boundaries(self) -> frozenset[Boundary]:
        return frozenset((self.boundary,))

    @property
    def _is_spectral(self) -> bool:
        # On the continued image an even window is a multiplication by its transfer function, so for "fir"
        # both ways are the same operator. A pass costs about 8 ns a pixel, the pair of transforms 15.
        return self.method == "exact" or (self.method == "fir" and len(_terms(self)) > _MOST_TERMS)


def adequate_size(*halves: NDArray[np.float64]) -> int:
    """The smallest size of a window that keeps all but LOST_MASS of a separable kernel.

    Given are its factors along y and x, each as entries 0, 1, ... of an even sequence that sums to 1.
    """
    kept = np.prod([2 * np.cumsum(half) - half[0] for half in halves], axis=0)
    return 2 * max(1, int(np.argmax(kept >= 1 - LOST_MASS))) + 1


@functools.lru_cache(maxsize=64)
def _kernel(f: Convolution, normalised: bool) -> NDArray[np.float64]:
    radius = (f.size or f._adequate_size()) // 2
    mirrored = np.abs(np.arange(-radius, radius + 1))
    kernel = f._quarter(radius)[np.ix_(mirrored, mirrored)]
    return np.asarray(kernel / kernel.sum() if normalised else kernel)


@functools.lru_cache(maxsize=64)
def _terms(f: Convolution) -> Terms:
    return separable_terms(_kernel(f, True))
