"""Nonlinear diffusion after Perona and Malik (IEEE Trans. Pattern Anal. Mach. Intell. 12, 1990)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .. import checks
from ..arrays import Array, namespace
from ..named import Option, named
from ..total_variation import differences
from .base import PictureMap

_CONDUCTIONS = ("exponential", "rational")

_LONGEST_TIME = 1e5
_LONGEST = 0.2  # of a step; explicit steps of up to 1/4 keep maxima and minima within bounds


@named(
    "operator",
    "perona-malik",
    Option("kappa", "larger steps are edges (default: 0.05)"),
    Option("time", "in pixels squared (default: 2)"),
    Option("conduction", "(default: exponential)", "text", _CONDUCTIONS),
    places=("filter",),
    strength="kappa",
)
@dataclass(frozen=True)
class PeronaMalik(PictureMap):
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
        Where a call says which axis holds channels, take s over all of them, so that their edges coincide;
        otherwise each channel is an image of its own.

    Notes
    -----
    A call takes a pass over each image for each step, images side by side in threads. On a CUDA device it is
    made of CuPy's operations.
    """

    kappa: float = 0.05
    time: float = 2.0
    conduction: Literal["exponential", "rational"] = "exponential"
    coupled: bool = True

    def __post_init__(self) -> None:
        checks.in_the_middle(self.kappa, "kappa")
        if checks.nonnegative(self.time, "time") > _LONGEST_TIME:
            checks.refuse(
                self.time,
                "time",
                f"at most {_LONGEST_TIME:g}: it takes {1 / _LONGEST:g} passes over the image for each",
            )
        checks.one_of(self.conduction, "conduction", _CONDUCTIONS)

    @property
    def steps(self) -> int:
        """Explicit steps that are taken, none longer than 0.2."""
        return math.ceil(self.time / _LONGEST)

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
