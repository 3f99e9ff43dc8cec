"""Small rotations and changes of size, each with its exact adjoint.

What a network recognises it recognises a little turned and a little larger, while much of what excites it by
accident does not survive interpolation: shown a slightly different view at every step, the descent
settles on the former (Olah, Mordvintsev and Schubert, Distill 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import sparse

from .. import checks
from ..arrays import Array, is_cupy_array, lending
from ..kernels.cuda import numba_stream, seen_by_numba
from .linear import Size, checked_generators, checked_size


@dataclass(frozen=True)
class Turn:
    """Rotate and enlarge every image about its middle, with bilinear interpolation.

    Beyond the border the image is mirrored, half a pixel beyond its last row and column, so that constant
    images stay as they are.

    Parameters
    ----------
    size : (int, int)
        Height and width, in pixels.
    degrees : tuple of float
        One angle for each image, counterclockwise.
    factors : tuple of float
        One factor for each image; above 1 things become larger.

    Notes
    -----
    Each image has a sparse matrix of four weights a pixel, made anew for every draw: at 224 x 224 about as
    much work as a filter. The adjoint is its transpose.
    """

    size: Size
    degrees: tuple[float, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        checked_size(self.size, "size")
        for name, each in (("degrees", self.degrees), ("factors", self.factors)):
            if not isinstance(each, tuple | list) or not all(map(checks.is_number, each)):
                checks.refuse(each, name, "a tuple of a number for each image")
        if len(self.degrees) != len(self.factors) or not all(1e-6 <= z <= 1e6 for z in self.factors):
            checks.refuse(self.factors, "factors", "from 1e-6 to 1e6, one for each angle")

    def first_rows(self) -> list[tuple[float, float]]:
        """For each image (a, b): pixel (y, x) of it comes from (a y + b x, a x - b y), from the middle."""
        return [_first_row(*one) for one in zip(self.degrees, self.factors, strict=True)]

    @cached_property
    def _matrices(self) -> list[Any]:
        return [
            sampling_matrix(self.size, angle, factor)
            for angle, factor in zip(self.degrees, self.factors, strict=True)
        ]

    @lending("u", axes=4)
    def apply(self, u: Array) -> Array:
        """Turn images (N, C, H, W)."""
        return self._on_cuda(u) if is_cupy_array(u) else self._multiplied(u, self._matrices)

    @lending("g", axes=4)
    def adjoint(self, g: Array) -> Array:
        """Carry a gradient on turned images back: <apply(u), g> = <u, adjoint(g)>."""
        if is_cupy_array(g):
            return self._on_cuda(g, backwards=True)
        return self._multiplied(g, [A.T for A in self._matrices])

    def _on_cuda(self, x: Any, backwards: bool = False) -> Array:
        import cupy

        from ..kernels.cuda import view as kernels

        rows = np.zeros((len(self.degrees), kernels.COLUMNS))
        rows[:, [kernels.COSINE, kernels.SINE]] = self.first_rows()
        out = cupy.empty(x.shape, x.dtype)
        with numba_stream(x) as stream:
            arrays = tuple(map(seen_by_numba, (cupy.ascontiguousarray(x), cupy.asarray(rows), out)))
            if backwards:
                periods = periods_reached(self.size, 1 / min(self.factors))
                kernels.launch(kernels.turn_back, (*arrays, periods), out.size, stream)
            else:
                kernels.launch(kernels.turn, arrays, out.size, stream)
        return out  # type: ignore[no-any-return]

    def _multiplied(self, x: Array, matrices: list[Any]) -> Array:
        out = np.empty_like(x)
        for image, A, target in zip(x, matrices, out, strict=True):
            columns = image.reshape(len(image), -1).T
            target[...] = (A.astype(x.dtype, copy=False) @ columns).T.reshape(image.shape)
        return out


@dataclass(frozen=True)
class Warp:
    """Random turns: an angle, uniform, and a factor, uniform in its logarithm.

    Parameters
    ----------
    size : (int, int)
        Height and width of the images, in pixels.
    rotate : float
        The largest angle to either side, in degrees.
    zoom : float
        The largest relative change of size: 0.1 for factors from 1 / 1.1 to 1.1.
    """

    size: Size
    rotate: float = 0.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        checked_size(self.size, "size")
        checks.nonnegative(self.rotate, "rotate")
        if checks.nonnegative(self.zoom, "zoom") > 1e6 - 1:
            checks.refuse(self.zoom, "zoom", "below 1e6")

    def draw(self, rngs: Sequence[Generator]) -> Turn:
        """One turn for the coming step, each image's from its own generator."""
        rngs = checked_generators(rngs)
        reach = math.log1p(self.zoom)
        drawn = [(rng.uniform(-self.rotate, self.rotate), rng.uniform(-reach, reach)) for rng in rngs]
        return Turn(self.size, tuple(a for a, _ in drawn), tuple(math.exp(z) for _, z in drawn))


def sampling_matrix(size: Size, degrees: float, factor: float) -> Any:
    """The (H W, H W) sparse matrix of a turn, float32; its rows sum to one."""
    height, width = size
    cos, sin = _first_row(degrees, factor)
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    # counterclockwise, as seen on a screen whose rows go downwards
    from_y = cos * y[:, None] + sin * x + (height - 1) / 2
    from_x = cos * x - sin * y[:, None] + (width - 1) / 2
    rows, columns = (_neighbours(at, n) for at, n in ((from_y, height), (from_x, width)))
    indices = np.stack([i * width + j for i, _ in rows for j, _ in columns], axis=-1)
    weights = np.stack([v * w for _, v in rows for _, w in columns], axis=-1)
    pointers = np.arange(0, indices.size + 1, 4)
    shape = (height * width, height * width)
    return sparse.csr_array((weights.ravel().astype(np.float32), indices.ravel(), pointers), shape=shape)


def periods_reached(size: Size, stretch: float) -> int:
    """How many mirror images away a pixel can come from that is at most `stretch` times as far out there."""
    furthest = stretch * math.hypot(*size) / 2 + 1.5
    return max(0, *(math.ceil((furthest - n / 2) / n) for n in size))


def _first_row(degrees: float, factor: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)) / factor, math.sin(math.radians(degrees)) / factor


def _neighbours(at: NDArray[np.float64], n: int) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The two pixels beside each coordinate, mirrored into range(n), and their weights."""
    below = np.floor(at)
    share = at - below
    first = below.astype(np.int64)
    return [(_mirrored(first, n), 1 - share), (_mirrored(first + 1, n), share)]


def _mirrored(i: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    i = i % (2 * n)
    return np.minimum(i, 2 * n - 1 - i)
