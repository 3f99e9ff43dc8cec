"""The bilateral filter of Tomasi and Manduchi (ICCV 1998): a mean of near pixels of a similar value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, namespace
from ..named import Option, named
from .base import PictureMap

_LARGEST_RADIUS = 2048


@named(
    "operator",
    "bilateral",
    Option("size", "window of N x N pixels, odd (default: to twice sigma)", "count"),
    Option("sigma", "standard deviation in pixels (default: 1.5)"),
    Option("sigma_range", "of values in [0, 1] (default: 0.1)"),
    places=("filter", "K_e"),
    strength="sigma",
)
@dataclass(frozen=True)
class Bilateral(PictureMap):
    """Bilateral filter, an operator on images that can stand in the place of K_e.

    Every pixel becomes the mean of the pixels in a window around it, weighted by
    ``exp(-|x - y|^2 / (2 sigma^2)) exp(-|u(x) - u(y)|^2 / (2 sigma_range^2))``. It is no proximal map of a
    convex function; applied once, it is a step of Jacobi's method towards a robust smoothness
    (Elad, IEEE Trans. Image Process. 11, 2002).

    Parameters
    ----------
    sigma : float
        Standard deviation in space, in pixels.
    sigma_range : float
        That of differences of values, in the unit of the image.
    size : int, optional
        Width and height of the window, odd: 2 ceil(2 sigma) + 1 unless given.
    coupled : bool
        Where a call says which axis holds channels, take the difference of two pixels over all of them, so
        that they get the same weights; otherwise each channel is an image of its own.

    Notes
    -----
    Images go on beyond their border by half-sample reflection. float32 values are accurate to 1e-5 of the
    contrast in a window. A call costs about 2 size^2 multiplications and one exponential for each weight; on
    a CUDA device it is made of CuPy's operations, one for each offset.
    """

    sigma: float = 1.5
    sigma_range: float = 0.1
    size: int | None = None
    coupled: bool = True

    def __post_init__(self) -> None:
        checks.in_the_middle(self.sigma, "sigma")
        checks.in_the_middle(self.sigma_range, "sigma_range")
        if self.size is not None and checks.count(self.size, "size") % 2 == 0:
            checks.refuse(self.size, "size", "odd, since a window has a centre pixel")
        if 2 * self.sigma > _LARGEST_RADIUS and self.size is None:
            checks.refuse(
                self.sigma, "sigma", f"at most {_LARGEST_RADIUS // 2}: a pixel takes 32 sigma^2 products"
            )
        if self.size is not None and self.size > 2 * _LARGEST_RADIUS:
            checks.refuse(
                self.size, "size", f"at most {2 * _LARGEST_RADIUS}: a pixel takes 2 size^2 products"
            )

    @property
    def radius(self) -> int:
        """Pixels from the middle of the window to its edge."""
        return math.ceil(2 * self.sigma) if self.size is None else self.size // 2

    def window(self) -> Array:
        """The weights in space (size, size), float64."""
        offsets = np.arange(-self.radius, self.radius + 1)
        along = np.exp(-(offsets**2) / (2 * self.sigma**2))
        return np.outer(along, along)

    def reference(self, images: Array) -> Array:
        """The filter of a stack (N, C, H, W) in NumPy, or in CuPy, a pass over the images for each offset."""
        xp: Any = namespace(images)
        r, (h, w) = self.radius, images.shape[-2:]
        padded = xp.pad(images, ((0, 0), (0, 0), (r, r), (r, r)), mode="symmetric")
        window, factor = self.window(), 1 / (2 * self.sigma_range**2)
        total, weights_total = xp.zeros_like(images), xp.zeros_like(images[:, :1])
        for dy, dx in np.ndindex(window.shape):
            there = padded[..., dy : dy + h, dx : dx + w]
            square = ((there - images) ** 2).sum(axis=1, keepdims=True)
            weights = float(window[dy, dx]) * xp.exp(-factor * square)
            total += weights * there
            weights_total += weights
        result: Array = total / weights_total
        return result

    def _compiled(self, images: Array) -> Array:
        from ..kernels import bilateral as kernel, decay, threads

        r, (count, _, height, width) = self.radius, images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (r, r), (r, r)), mode="symmetric")
        out, dtype = np.empty_like(images), images.dtype
        window, c = self.window().astype(dtype), decay.coefficients(dtype)
        factor = dtype.type(1 / (2 * self.sigma_range**2))

        def rows(start: int, stop: int) -> None:
            work = threads.scratch(2 * width, dtype)[: 2 * width].reshape(2, width)
            for n in range(start // height, -(-stop // height)):
                first, last = max(start - n * height, 0), min(stop - n * height, height)
                kernel.bilateral(padded[n], out[n], window, factor, c, work, first, last)

        threads.share(rows, count * height, least=8)
        return out
