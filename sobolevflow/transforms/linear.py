"""Linear maps of a batch of images that do not change: roll, window, and several after one another.

A gradient that comes back from a transformed image belongs to the transformed image; the adjoint carries it
home: <T u, g> = <u, T* g>.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.random import Generator

from .. import checks
from ..arrays import Array, lending, namespace
from ..capacity import check_fits
from ..errors import InputError

Size = tuple[int, int]


_MOST_IMAGES = 1 << 20


def checked_size(value: Any, name: str) -> Size:
    """`value`; InputError unless it is the height and width of an image that there can be."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        checks.refuse(value, name, "(height, width) in pixels")
    height, width = (checks.count(side, name) for side in value)
    check_fits(12 * height * width, f"a {name} of {height}x{width} pixels", "use a smaller one")
    return value  # type: ignore[return-value]


def check_sides(x: Array, size: Size, name: str) -> None:
    """InputError unless the last two axes of an array are of that size."""
    if tuple(x.shape[-2:]) != tuple(size):
        raise InputError(f"{name} has shape {tuple(x.shape)}; height and width must be {tuple(size)}.")


def checked_pairs(value: Any, name: str) -> None:
    """InputError unless it is a tuple of a pair of whole numbers for each image."""
    if not isinstance(value, tuple | list) or not all(
        isinstance(pair, tuple | list) and len(pair) == 2 and all(map(checks.is_integer, pair))
        for pair in value
    ):
        checks.refuse(value, name, "a tuple of a pair of whole numbers (y, x) for each image")


def checked_batch(value: Any) -> int:
    """`value`; InputError unless it is a number of images that there can be."""
    if checks.count(value, "batch") > _MOST_IMAGES:
        checks.refuse(value, "batch", f"at most {_MOST_IMAGES} images: a map has something of each")
    return int(value)


def checked_generators(value: Any) -> Sequence[Generator]:
    """`value`; InputError unless it is a sequence of NumPy's random generators, one for each image."""
    if not isinstance(value, tuple | list) or not all(isinstance(rng, Generator) for rng in value):
        checks.refuse(value, "rngs", "a list of numpy.random.Generator, one for each image")
    return value


class LinearMap(Protocol):
    """A linear map between batches of images, with its adjoint."""

    def apply(self, u: Array) -> Array:
        """Map (N, C, H, W) to (N, C, H', W')."""
        ...

    def adjoint(self, g: Array) -> Array:
        """Map (N, C, H', W') back: <apply(u), g> = <u, adjoint(g)>."""
        ...


@dataclass(frozen=True)
class Roll:
    """Cyclic shift, image by image; the adjoint rolls back and is the inverse.

    Parameters
    ----------
    shifts : sequence of (dy, dx)
        One shift in pixels for each image of the batch.
    """

    shifts: tuple[Size, ...]

    def __post_init__(self) -> None:
        checked_pairs(self.shifts, "shifts")

    @lending("u", axes=4)
    def apply(self, u: Array) -> Array:
        """Move every image down by dy and right by dx, around the edges."""
        return self._rolled(u, +1)

    @lending("g", axes=4)
    def adjoint(self, g: Array) -> Array:
        """Move every image back."""
        return self._rolled(g, -1)

    def _rolled(self, x: Array, sign: int) -> Array:
        xp = namespace(x)
        out: Array = xp.empty_like(x)
        for image, (dy, dx), target in zip(x, self.shifts, out, strict=True):
            target[...] = xp.roll(image, (sign * dy, sign * dx), axis=(-2, -1))
        return out


@dataclass(frozen=True)
class Window:
    """Cut a window out of each canvas; the adjoint puts it back into zeros.

    Parameters
    ----------
    canvas, window : (int, int)
        Height and width of the canvas and of the window, in pixels.
    corners : sequence of (y, x)
        The window's upper left corner, one for each image of the batch.
    """

    canvas: Size
    window: Size
    corners: tuple[Size, ...]

    def __post_init__(self) -> None:
        checked_size(self.canvas, "canvas")
        checked_size(self.window, "window")
        checked_pairs(self.corners, "corners")

    @lending("u", axes=4)
    def apply(self, u: Array) -> Array:
        """Return the windows, (N, C, h, w)."""
        check_sides(u, self.canvas, "u")
        windows = [image[self._cut(at)] for image, at in zip(u, self.corners, strict=True)]
        stacked: Array = namespace(u).stack(windows)
        return stacked

    @lending("g", axes=4)
    def adjoint(self, g: Array) -> Array:
        """Return canvases, (N, C, H, W), that are zero outside the windows."""
        check_sides(g, self.window, "g")
        out: Array = namespace(g).zeros((*g.shape[:2], *self.canvas), g.dtype)
        for image, at, target in zip(g, self.corners, out, strict=True):
            target[self._cut(at)] = image
        return out

    def _cut(self, corner: Size) -> tuple[Any, ...]:
        (y, x), (h, w) = corner, self.window
        return (..., slice(y, y + h), slice(x, x + w))


@dataclass(frozen=True)
class Chain:
    """Linear maps one after the other; the adjoint runs through them backwards. Empty: the identity."""

    maps: tuple[LinearMap, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.maps, tuple | list) or not all(hasattr(K, "adjoint") for K in self.maps):
            checks.refuse(self.maps, "maps of Chain", "a tuple of linear maps")

    @lending("u", axes=4)
    def apply(self, u: Array) -> Array:
        """Apply the first map first."""
        for one in self.maps:
            u = one.apply(u)
        return u

    @lending("g", axes=4)
    def adjoint(self, g: Array) -> Array:
        """Apply the adjoints, the last map's first."""
        for one in reversed(self.maps):
            g = one.adjoint(g)
        return g
