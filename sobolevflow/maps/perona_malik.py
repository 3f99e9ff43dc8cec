"""Nonlinear diffusion after Perona and Malik (IEEE Trans. Pattern Anal. Mach. Intell. 12, 1990)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..arrays import AnyArray, Array, as_images, borrow_images, coupled_axis, from_images, lend, namespace
from ..errors import InputError, UnknownNameError, did_you_mean
from ..total_variation import differences

_CONDUCTIONS = ("exponential", "rational")

_LONGEST = 0.2  # of a step; explicit steps of up to 1/4 keep maxima and minima within bounds


@dataclass(frozen=True)
class PeronaMalik:
    """Diffusion that stops at edges, an operator on images that can stand in the place of K_e.

    d u / d t = div(g(|grad u|) grad u), where the flow between two neighbours depends on their own difference
    s, as in the original scheme: g = exp(-(s / kappa)^2) ("exponential") or 1 / (1 + (s / kappa)^2)
    ("rational"). No flow crosses the border. As kappa grows it becomes the heat equation, which is the
    Gaussian filter with sigma = sqrt(2 time).

    Parameters
    ----------
    kappa : float
        Differences of neighbours above it are kept as edges, in the unit of the image.
    time : float
        How long to diffuse, in pixels squared; 0 changes nothing.
    conduction : {"exponential", "rational"}
        The function g.
    coupled : bool
        Take s over all channels, the axis before (H, W), so that their edges coincide; otherwise each channel
        is an image of its own.
    """

    kappa: float = 0.05
    time: float = 2.0
    conduction: Literal["exponential", "rational"] = "exponential"
    coupled: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.kappa) and self.kappa > 0):
            raise InputError(f"PeronaMalik needs a finite kappa above zero, got {self.kappa!r}.")
        if not (math.isfinite(self.time) and self.time >= 0):
            raise InputError(f"PeronaMalik needs a finite time that is not negative, got {self.time!r}.")
        if self.conduction not in _CONDUCTIONS:
            raise UnknownNameError(
                f"conduction is {self.conduction!r}; known are 'exponential' and 'rational'."
                f"{did_you_mean(str(self.conduction), _CONDUCTIONS)}"
            )

    @property
    def steps(self) -> int:
        """Explicit steps that are taken, none longer than 0.2."""
        return math.ceil(self.time / _LONGEST)

    def __call__(self, x: AnyArray) -> AnyArray:
        """Diffuse the images of `x`.

        Parameters
        ----------
        x
            float32 or float64, shape (..., H, W) or, coupled, (..., C, H, W), finite, of any array library
            as for filters.

        Returns
        -------
        array
            Library, device, shape and dtype of `x`.

        Notes
        -----
        A pass over each image for each step, images side by side in threads. On a CUDA device it is made of
        CuPy's operations.
        """
        memory = borrow_images(x)
        axis = coupled_axis(memory.shape, self.coupled)
        images, leading = as_images(memory, axis)
        diffused = self._compiled(images) if isinstance(images, np.ndarray) else self.reference(images)
        return lend(from_images(diffused, leading, axis), x)

    def reference(self, images: Array) -> Array:
        """The diffusion of a stack (N, C, H, W) in NumPy, or in CuPy."""
        xp: Any = namespace(images)
        for _ in range(self.steps):
            slopes = differences.gradient(images)
            square = (slopes * slopes).sum(axis=2, keepdims=True) / self.kappa**2
            g = xp.exp(-square) if self.conduction == "exponential" else 1 / (1 + square)
            images = images + (self.time / self.steps) * differences.divergence(g * slopes)
        return images

    def _compiled(self, images: Array) -> Array:
        from ..kernels import decay, diffusion as kernel, threads

        u, dtype, (_, channels, _, width) = images.copy(), images.dtype, images.shape
        numbers = np.array((1 / self.kappa**2, self.time / max(self.steps, 1), 1), dtype)
        c = decay.coefficients(dtype)

        def some(start: int, stop: int) -> None:
            work = np.empty((4 + channels, width + 1), dtype)
            for n in range(start, stop):
                kernel.diffuse(u[n], self.steps, numbers, _CONDUCTIONS.index(self.conduction), c, work)

        threads.share(some, len(u))
        return u
